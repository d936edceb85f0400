"""``harness run`` killed by SIGKILL at seeded random moments, and what it leaves behind.

By a seeded draw the whole tree of processes is killed, boards and all, or the parent alone. After each: what the
terminal had said of a scenario stands in the store, the store is whole, no process stays, no lock is held, and
the same command works again. ``RUN_KILLS`` (environment): how many, default 10; Ctrl-C ends them before, and what was
measured until then is told. ``RUN_KILLS_SEED`` (default 1) draws the moments.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from harness.errors import HarnessError
from harness.inventory.load import load_bench
from harness.inventory.locks import board_lock
from harness.paths import shipped_bench
from harness.results.store import Store

_KILLS = int(os.environ.get("RUN_KILLS", "10"))
_SEED = int(os.environ.get("RUN_KILLS_SEED", "1"))
#: Pairs of boards: which two the run is over comes in turn, so that each of the five is killed as often.
_PAIRS = ("vesp32,vnodemcu", "vesp8266,vfeather", "vstm32,vesp32", "vfeather,vnodemcu", "vstm32,vesp8266")
_KEYWORD = "files or restarts or leak or outlive"
#: Seconds that what was left running may take to end by itself.
_PATIENCE = 60.0
RESULT_LINE = re.compile(r" *[0-9.]+ s  (\S+) +(pass|marginal|fail|error|skipped) +(\S+): (.+)")


@dataclass
class _Tally:
    """What was found after all kills. ``complaints`` say what should not have been."""

    kills: int = 0
    reported: int = 0
    while_ready: int = 0
    gone_after: list[float] = field(default_factory=list)
    lost: int = 0
    damaged: int = 0
    left: int = 0
    locked: int = 0
    next_failed: int = 0
    complaints: list[str] = field(default_factory=list)


def _command(boards: str, keyword: str) -> list[str]:
    return [sys.executable, "-m", "harness", "run", "reload", "-k", keyword, "--boards", boards, "--jobs", "2"]


def process_tree(root: int) -> list[int]:
    """The process and all below it, its own children last (Linux ``/proc``)."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError, ValueError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def running_on(folder: Path) -> list[int]:
    """Processes that have the bench's folder in their command line or as their working directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            here = (entry / "cwd").readlink() == folder
            if here or str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


class _Run:
    """``harness run`` in ``folder``, its lines read as they come."""

    def __init__(self, folder: Path, boards: str, keyword: str = _KEYWORD) -> None:
        self.process = subprocess.Popen(_command(boards, keyword), cwd=folder, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with contextlib.suppress(ValueError):
            # What is cut off at the end of a killed process's output is no line.
            self.lines += [line for line in self.process.stdout if line.endswith("\n")]

    def ended(self) -> int:
        code = self.process.wait(300)
        self._reader.join(10)
        return code

    @property
    def results(self) -> list[tuple[str, str, str, str]]:
        """Board, outcome, suite and name of each scenario that was reported as finished."""
        return [found.groups() for line in self.lines if (found := RESULT_LINE.match(line))]  # type: ignore[misc]


def _in_store(path: Path) -> set[tuple[str, str, str, str]]:
    """The same of the newest run in the store; raises when it cannot be read."""
    with contextlib.closing(Store(path)) as store:
        run = store.latest()
        assert run is not None
        return {
            (board.id, one.outcome.value, one.suite, one.name.replace("_", " "))
            for board in run.boards
            for one in board.scenarios
        }


def _kill_one(number: int, folder: Path, chance: random.Random, length: float, tally: _Tally) -> bool:
    """False when the run had ended before its moment came: that counts for nothing."""
    boards = _PAIRS[number % len(_PAIRS)]
    whole = chance.random() < 0.5
    run = _Run(folder, boards)
    moment = chance.uniform(0.2, length)
    started = time.monotonic()
    with contextlib.suppress(subprocess.TimeoutExpired):
        run.process.wait(moment)
    if run.process.poll() is not None:
        run.ended()
        return False
    for pid in process_tree(run.process.pid) if whole else [run.process.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    run.ended()
    _look(f"kill {number} ({'tree' if whole else 'parent'}, {killed - started:.2f} s, {boards})", folder, run, tally)
    after = _Run(folder, boards, "files")
    code = after.ended()
    if code != 0 or not after.results:
        tally.next_failed += 1
        tally.complaints.append(f"after kill {number} the next run ended with {code}: {''.join(after.lines[-12:])}")
    return True


def _look(what: str, folder: Path, run: _Run, tally: _Tally) -> None:
    """Store, processes and locks after a kill."""
    started = time.monotonic()
    store = folder / ".harness" / "results.sqlite"
    results = run.results
    tally.reported += len(results)
    tally.while_ready += any("ready:" in line for line in run.lines)
    if store.exists():
        try:
            with contextlib.closing(sqlite3.connect(store, timeout=5)) as db:
                whole = db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            missing = set(results) - _in_store(store) if results else set()
        except (sqlite3.Error, HarnessError) as problem:
            whole, missing = False, set(results)
            tally.complaints.append(f"{what}: the store: {problem}")
        tally.damaged += not whole
        tally.lost += len(missing)
        tally.complaints += [f"{what}: reported and not in the store: {one}" for one in missing]
    while (left := running_on(folder)) and time.monotonic() - started < _PATIENCE:
        time.sleep(0.05)
    tally.gone_after.append(time.monotonic() - started)
    tally.left += bool(left)
    tally.complaints += [f"{what}: process {pid} runs on" for pid in left]
    for board in load_bench(folder / "boards.yaml").boards:
        try:
            with board_lock(board, folder / ".harness"):
                pass
        except HarnessError as problem:
            tally.locked += 1
            tally.complaints.append(f"{what}: {problem.message}")


def measure(kills: int, seed: int) -> _Tally:
    """Kill so many runs."""
    chance = random.Random(seed)
    tally = _Tally()
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as name:
        folder = Path(name).resolve()
        bench = shipped_bench().read_text().replace("      pty: true\n", "      pty: true\n      pace: fast\n")
        (folder / "boards.yaml").write_text(bench)
        length: dict[str, float] = {}
        for boards in ("", *_PAIRS):  # all flashed once, then how long a whole run over each pair takes
            started = time.monotonic()
            run = _Run(folder, boards)
            assert run.ended() == 0, "".join(run.lines)
            length[boards] = time.monotonic() - started
        number = 0
        while tally.kills < kills:
            boards = _PAIRS[number % len(_PAIRS)]
            if number % 4 == 0:  # now and then it has to write a board anew, and is killed in that too
                (folder / ".harness" / "virtual" / f"{boards.partition(',')[0]}.flash").unlink(missing_ok=True)
            try:
                hit = _kill_one(number, folder, chance, length[boards], tally)
            except KeyboardInterrupt:
                break
            tally.kills += hit
            if not hit:
                length[boards] *= 0.9  # the machine has less to do than when it was measured
            number += 1
            print(f"{tally.kills}/{kills}", *tally.complaints[-3:], sep="  ", file=sys.stderr, flush=True)
    return tally


def main() -> dict[str, float]:
    tally = measure(_KILLS, _SEED)
    for complaint in tally.complaints:
        print(complaint, file=sys.stderr)
    return {
        "runs killed by SIGKILL": tally.kills,
        "of those with a board made ready": tally.while_ready,
        "scenarios that they had reported as finished": tally.reported,
        "of those not in the store": tally.lost,
        "stores damaged": tally.damaged,
        "kills with a process left after 60 s": tally.left,
        "locks still held": tally.locked,
        "next runs that did not work": tally.next_failed,
        "until the last process had ended, median: seconds": sorted(tally.gone_after)[len(tally.gone_after) // 2],
        "until the last process had ended, most: seconds": max(tally.gone_after),
    }
