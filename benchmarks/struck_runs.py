"""Whole suites on virtual boards while faults strike: is a healthy firmware ever blamed, or a wrong figure passed?

Each pair of boards runs the suites once with no fault; then again and again, with a strike in most scenarios
(``_strikes.py``), until there are so many results (``struck_runs=1500``; default 300). Each is held against that of
the run without faults. ``STRUCK_SEED`` (environment, default 1) draws the strikes, ``STRUCK_BOARDS`` takes some
of the boards.
"""

from __future__ import annotations

import collections
import contextlib
import os
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._strikes import Strike, drawn
from benchmarks.run_kills import running_on
from harness.bench.virtual_device import virtual_spec
from harness.campaigns.bench_run import RunRequest, run_bench
from harness.chips import STM32_FLASH_BASE
from harness.errors import HarnessError
from harness.formats.virtual_image import layout
from harness.inventory.load import load_bench
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.kinds import RATIO, TIME
from harness.paths import shipped_bench
from harness.results.run_record import ScenarioResult
from harness.results.store import Store
from harness.virtual.bench import RunningBoard, start
from harness.virtual.flash_files import FlashFiles
from harness.virtual.nodemcu.nodemcu_firmware import partition_layout
from harness.virtual.nor_flash import Flash

_SEED = int(os.environ.get("STRUCK_SEED", "1"))
_ONLY = os.environ.get("STRUCK_BOARDS", "")
_SUITES = ("calibration", "reload", "interrupt", "flash_execution", "deep_sleep")
_JOBS = 2
#: A scenario that takes longer hangs, in seconds: a whole recovery may take 120, and a program has 60.
_HANG = 240.0
#: Which of a few values these have is chance, also without a fault: a stale word on the stack keeps an object, or none.
_CHANCE = ("load.heap_lost", "reload.growth", "reload.largest_free_run.loss")
#: And a board's whole run.
_BOARD_SECONDS = 1200.0
#: Power stays away for so long, in seconds.
_OFF = 0.2
#: After so many errors in a row the next scenario is left alone: the harness gives a board up after three.
_IN_A_ROW = 2
_NOT_ASKED = ("was given up", "is quarantined", "in quarantine")

Place = tuple[str, str]  # suite, name


@dataclass
class Tally:
    """Counted over all struck runs. ``complaints`` say what should not have been."""

    results: int = 0
    struck: int = 0
    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    by_strike: dict[str, collections.Counter[str]] = field(default_factory=dict)
    not_asked: int = 0
    wrong: int = 0
    blamed: int = 0
    unasked_skips: int = 0
    unwell: int = 0
    hangs: int = 0
    leftovers: int = 0
    kept: int = 0
    complaints: list[str] = field(default_factory=list)

    def complain(self, text: str) -> None:
        self.complaints.append(text)
        print(text, file=sys.stderr, flush=True)


class _Board:
    """One virtual board, up for as long as it is struck, and what it did without faults."""

    def __init__(self, board: Board, state: Path) -> None:
        self.board = board
        self._spec = virtual_spec(board, state)
        self._running: RunningBoard | None = None
        self.clean: dict[Place, ScenarioResult] = {}
        self.files: dict[str, bytes] = {}
        #: Of the run that goes on.
        self.strikes: dict[Place, Strike] = {}
        self.struck: dict[Place, Strike] = {}
        self.seconds: dict[Place, float] = {}
        self._live: Strike | None = None
        self._began = 0.0
        self._errors = 0
        self._before: dict[str, int] = {}
        self._cut = threading.Event()
        self._timer: threading.Timer | None = None

    def up(self) -> None:
        self._running = start(self._spec)

    def down(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    def begin(self, strikes: dict[Place, Strike]) -> None:
        self.strikes, self.struck, self.seconds, self._errors = strikes, {}, {}, 0

    def scenario(self, place: Place) -> None:
        """It begins: strike."""
        self._began = time.monotonic()
        self._cut.clear()
        self._timer = None
        board, strike = self._running, self.strikes.get(place)
        self._live = None
        if board is None or not self.strikes:
            return
        board.mend()  # an earlier strike whose moment did not come
        if strike is None or self._errors >= _IN_A_ROW:
            return
        self._live, self._before = strike, board.faults
        if strike.fault is not None:
            board.fault(**vars(strike.fault))
        else:
            self._timer = threading.Timer(strike.seconds, self._cut_power, (board,))
            self._timer.daemon = True
            self._timer.start()

    def _cut_power(self, board: RunningBoard) -> None:
        with contextlib.suppress(HarnessError):
            board.power(on=False)
            self._cut.set()
            time.sleep(_OFF)
            board.power(on=True)

    def result(self, place: Place, outcome: str) -> None:
        """It has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self.seconds[place] = time.monotonic() - self._began
        if outcome not in ("skipped", "broken"):
            self._errors = self._errors + 1 if outcome == "error" else 0
        strike = self._live
        if self._running is not None and strike is not None:
            kind = strike.fault.kind if strike.fault else ""
            hit = self._running.faults.get(kind, 0) > self._before.get(kind, 0) if kind else self._cut.is_set()
            if hit:
                self.struck[place] = strike

    def stored_files(self) -> dict[str, bytes]:
        """What its filesystem holds, read from its flash while it is down."""
        if self.board.runtime == "nodemcu":
            offset, size = partition_layout(self._spec.flash_size).files
        else:
            offset, size = layout(self.board.chip, self._spec.flash_size)["vfs"]
            offset -= STM32_FLASH_BASE if self.board.chip.startswith("stm32") else 0
        content = self._spec.flash_file.read_bytes()
        flash = Flash(len(content))
        flash.program(0, content)
        return _files(FlashFiles(flash, offset, size), "/")


def _files(files: FlashFiles, folder: str) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with contextlib.suppress(OSError):
        for name, is_folder in files.listdir(folder):
            path = f"{folder.rstrip('/')}/{name}"
            if name in (".", ".."):
                continue
            found[path] = b"" if is_folder else files._fs.open(path, "rb").read()
            if is_folder:
                found |= _files(files, path)
    return found


class _Bench:
    def __init__(self, folder: Path) -> None:
        self.state = folder / ".harness"
        self.file = folder / "boards.yaml"
        shipped = shipped_bench().read_text().replace("      pty: true\n", "      pty: true\n      pace: fast\n")
        self.file.write_text(shipped)
        self.tally = Tally()
        chosen = _ONLY.split(",") if _ONLY else []
        found = [
            board for board in load_bench(self.file).boards if board.virtual and (not chosen or board.id in chosen)
        ]
        self.boards = {board.id: _Board(board, self.state) for board in found}

    def run(self, names: list[str]) -> dict[str, dict[Place, ScenarioResult]]:
        """One run over these boards; results by board."""
        boards = [self.boards[name].board for name in names]
        (self.state / "health.json").unlink(missing_ok=True)
        for name in names:
            self.boards[name].up()
        store = self.state / "results.sqlite"
        self.state.mkdir(exist_ok=True)
        request = RunRequest(
            bench_file=self.file, boards=boards, state=self.state, store=store, suites=_SUITES, jobs=_JOBS,
            board_seconds=_BOARD_SECONDS,
        )  # fmt: skip
        number = run_bench(request, self._watch)
        with contextlib.closing(Store(store)) as opened:
            record = opened.load_run(number)
        for board in record.boards:
            if board.problem:
                self.tally.complain(f"{board.id}: {board.problem}")
        return {board.id: {(s.suite, s.name): s for s in board.scenarios} for board in record.boards}

    def _watch(self, event: dict[str, Any]) -> None:
        board = self.boards.get(str(event["board"]))
        if board is None or event["event"] not in ("scenario", "result"):
            return
        place = (str(event["suite"]), str(event["name"]))
        try:
            if event["event"] == "scenario":
                board.scenario(place)
            else:
                board.result(place, str(event["outcome"]))
        except HarnessError as problem:
            self.tally.complain(f"{board.board.id}: {place}: cannot be struck: {problem.message}")

    def without_faults(self, names: list[str]) -> None:
        for name in names:
            self.boards[name].begin({})
        for name, results in self.run(names).items():
            well = (Outcome.PASS, Outcome.MARGINAL, Outcome.SKIPPED)
            self.boards[name].clean = {place: s for place, s in results.items() if s.outcome in well}
            for s in results.values():
                if s.outcome not in well:
                    self.tally.unwell += 1
                    self.tally.complain(f"left out, for it did so unstruck: {name}, {s.suite}: {s.name}: {s.reason}")
        for name in names:
            board = self.boards[name]
            board.down()
            board.files = board.stored_files()

    def struck(self, names: list[str], round_: int) -> None:
        for name in names:
            board = self.boards[name]
            seed = f"{_SEED}/{round_}/{name}"
            board.begin(drawn(seed, board.board.runtime, list(board.clean)))
        results = self.run(names)
        self._given_up: set[str] = set()
        for name in names:
            board = self.boards[name]
            for place, result in results[name].items():
                self._class(board, place, result, f"seed {_SEED}/{round_}/{name}, {place[0]}: {place[1]}")
            board.down()
            self._left(board, f"seed {_SEED}/{round_}/{name}")

    def _class(self, board: _Board, place: Place, result: ScenarioResult, what: str) -> None:
        tally, clean, strike = self.tally, board.clean.get(place), board.struck.get(place)
        if any(words in result.reason for words in _NOT_ASKED):
            tally.not_asked += 1
            if board.board.id not in self._given_up:
                self._given_up.add(board.board.id)
                print(f"given up: {what}: {result.reason[:400]}", file=sys.stderr, flush=True)
            return
        if clean is None or clean.outcome is Outcome.SKIPPED:
            return
        tally.results += 1
        tally.struck += strike is not None
        what = f"{what}, struck by {strike}" if strike else f"{what}, not struck"
        verdict = result.outcome.value
        if result.outcome in (Outcome.FAIL, Outcome.BROKEN):
            tally.blamed += 1
            verdict = "blamed"
            tally.complain(f"BLAMED ({result.outcome.value}): {what}: {result.reason[:1500]}")
        elif result.outcome is Outcome.SKIPPED:
            tally.unasked_skips += 1
            tally.complain(f"SKIPPED: {what}: {result.reason[:500]}")
        elif result.outcome in (Outcome.PASS, Outcome.MARGINAL):
            verdict = "pass"
            if differences := _differences(clean, result):
                tally.wrong += 1
                verdict = "wrong"
                tally.complain(f"WRONG FIGURE: {what}: {'; '.join(differences)}")
        if board.seconds.get(place, 0.0) > _HANG:
            tally.hangs += 1
            tally.complain(f"HANG: {what}: {board.seconds[place]:.0f} s")
        tally.outcomes[verdict] += 1
        if os.environ.get("STRUCK_TOLD"):
            print(f"{verdict:8} {board.seconds.get(place, 0):5.1f} s {what}: {result.reason[:200]}", file=sys.stderr)
        if strike:
            tally.by_strike.setdefault(strike.name, collections.Counter())[verdict] += 1

    def _left(self, board: _Board, what: str) -> None:
        files = board.stored_files()
        for path in sorted(files.keys() | board.files.keys()):
            if files.get(path) != board.files.get(path):
                self.tally.leftovers += 1
                said = "gone" if path not in files else "new" if path not in board.files else "changed"
                self.tally.complain(f"LEFT: {what}: {path} is {said}")

    def kept(self, names: list[str]) -> None:
        """Locks and processes, once all boards are down."""
        for pid in running_on(self.file.parent):
            self.tally.kept += 1
            self.tally.complain(f"KEPT: process {pid} runs on")
        for name in names:
            try:
                with board_lock(self.boards[name].board, self.state):
                    pass
            except HarnessError as problem:
                self.tally.kept += 1
                self.tally.complain(f"KEPT: {problem.message}")


def _differences(clean: ScenarioResult, struck: ScenarioResult) -> list[str]:
    """Figures of a pass that are not those of the run without faults."""
    before = {m.name: m for m in clean.measurements}
    after = {m.name: m for m in struck.measurements}
    found = [f"{name} is {'missing' if name in before else 'new'}" for name in before.keys() ^ after.keys()]
    for name in before.keys() & after.keys():
        one, other = before[name], after[name]
        if not _alike(one, other):
            found.append(f"{name} ({one.kind}): {one.measured} without faults, {other.measured} now ({other.limit})")
    return sorted(found)


def _alike(clean: Measurement, struck: Measurement) -> bool:
    if clean.measured is None or clean.measured == struck.measured:
        return True  # what was skipped, such as a look back at an earlier run, can be there now
    chance = clean.kind in (TIME.name, RATIO.name) or clean.name in _CHANCE
    if not chance or struck.measured is None:
        return False
    # The limit of the run without faults is what it may be.
    return clean.bounds is None or clean.bounds.judge(struck.measured) is not Outcome.FAIL


def measure(count: int) -> tuple[Tally, float]:
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as name:
        bench = _Bench(Path(name).resolve())
        names = list(bench.boards)
        seconds, tally = 0.0, bench.tally
        round_ = 0
        try:
            while tally.results < count:
                pair = sorted({names[(round_ * _JOBS + at) % len(names)] for at in range(_JOBS)})
                if new := [name for name in pair if not bench.boards[name].clean]:
                    bench.without_faults(new)
                began = time.monotonic()
                bench.struck(pair, round_)
                bench.kept(pair)
                seconds += time.monotonic() - began
                round_ += 1
                print(f"{tally.results}/{count} ({', '.join(pair)}), {seconds:.0f} s", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            print("interrupted: what was measured until then", file=sys.stderr)
        finally:
            for board in bench.boards.values():
                board.down()
        return tally, seconds


def main(count: int = 300) -> dict[str, float]:
    tally, seconds = measure(count)
    for strike, outcomes in sorted(tally.by_strike.items()):
        print(f"{strike:20}", ", ".join(f"{n} {what}" for what, n in sorted(outcomes.items())), file=sys.stderr)
    return {
        "seed": _SEED,
        "scenario results in struck runs": tally.results,
        "of those struck": tally.struck,
        "passes with right figures": tally.outcomes["pass"],
        "errors of the bench": tally.outcomes["error"],
        "passes with a wrong figure": tally.wrong,
        "failures blamed on firmware or suite": tally.blamed,
        "skipped, and not when unstruck": tally.unasked_skips,
        f"hangs (more than {_HANG:g} s)": tally.hangs,
        "files left, gone or changed on a board": tally.leftovers,
        "processes or locks left": tally.kept,
        "not asked: the board was given up": tally.not_asked,
        "left out: no pass without faults": tally.unwell,
        "seconds of the struck runs": seconds,
    }
