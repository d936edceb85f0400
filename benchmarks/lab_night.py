"""A night over a lab on loopback: labgrid's coordinator, two exporters, PostgreSQL, eight virtual boards, two hosts.

``python -m benchmarks lab_night`` runs the suite ``reload`` once over all boards by two hosts that share the night,
and says how long it took and how often each scenario of each board has a result. ``lab_night=100`` then kills so many
times, at seeded random moments (``LAB_NIGHT_SEED``, default 1): a host's whole tree of processes, its first process
alone, or an exporter and then the host. After each kill every place is to be free within a minute and no process left;
after ten of them both hosts go on with the night to its end, and what the terminals had told is to be in the store.
Ctrl-C ends the kills before; what was measured until then is told.

Boards keep the chip's pace. The host and both exporters are one computer; only the names differ.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.run_kills import RESULT_LINE, process_tree
from harness.results.store import Store
from harness.virtual.virtual_firmware import build_firmware
from tests.labgrid.real_lab import RealLab, serial_resource
from tests.results.postgresql_server import running_server
from tests.running_boards import programmed_board

_SEED = int(os.environ.get("LAB_NIGHT_SEED", "1"))
_EXPORTERS, _EACH = ("north", "south"), 4
#: Seconds: what a place may stay acquired for, and what a night may take.
_FREE_WITHIN, _NIGHT = 60.0, 900.0
#: Between a host's start and its kill, in seconds.
_KILLED_AFTER = (6.0, 40.0)
#: So many kills of a night, which is then run to its end.
_OF_A_NIGHT = 10
_KILLS_SUITE = ("reload", "interrupt")


class _Lab:
    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        names = [f"{exporter}-{number}" for exporter in _EXPORTERS for number in range(_EACH)]
        places = {name: (f"{name.replace('-', '/b', 1)}/*", {"chip": "esp32"}) for name in names}
        self.places = list(places)
        lab_folder = folder / "lab"
        lab_folder.mkdir()
        self.lab = RealLab(lab_folder, places)
        stack.callback(self.lab.close)
        self.lab.start_coordinator()
        self.resources = dict.fromkeys(_EXPORTERS, "")
        entries = []
        firmware = folder / "esp32.bin"
        firmware.write_bytes(build_firmware("esp32"))
        for name in names:
            exporter, number = name.split("-")
            board = stack.enter_context(programmed_board("esp32", folder / name, firmware))
            self.resources[exporter] += f"b{number}:\n{serial_resource(board.url)}"
            entry = f"id: {name}, chip: esp32, runtime: micropython, identity: {{labgrid: {{place: {name}}}}}"
            entries.append(f"  - {{{entry}}}")
        self.bench = "name: lab\nboards:\n" + "\n".join(entries) + "\n"
        for exporter in _EXPORTERS:
            self.start_exporter(exporter)

    def start_exporter(self, name: str) -> None:
        self.lab.start_exporter(name, self.resources[name])
        self.lab.wait_for_exporter(name)

    def host(self, name: str, store: str, night: str, suites: tuple[str, ...]) -> tuple[subprocess.Popen[bytes], Path]:
        """The process of a host's nightly, and what it prints."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        (folder / "boards.yaml").write_text(self.bench)
        out = folder / f"out-{time.monotonic_ns()}"
        with out.open("wb") as printed:
            process = subprocess.Popen(
                [sys.executable, "-m", "harness", "nightly", *suites, "--lab", "--night", night, "--store", store],
                cwd=folder,
                env={**self.lab.environment, "LG_HOSTNAME": name},
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return process, out

    def held(self) -> list[str]:
        return [place for place in self.places if self.lab.acquired(place)]


def main(kills: int = 0) -> dict[str, float]:
    figures: dict[str, float] = {}
    with running_server() as server, contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as folder:
        lab = _Lab(Path(folder), stack)
        store = server.database("night")
        Store(store).close()
        _one_night(lab, store, figures)
        with contextlib.suppress(KeyboardInterrupt):
            _kills(lab, store, kills, figures)
    return figures


def _one_night(lab: _Lab, store: str, figures: dict[str, float]) -> None:
    begun = time.monotonic()
    hosts = [lab.host(f"desk-{number}", store, "whole", ("reload",)) for number in range(2)]
    codes = [process.wait(_NIGHT) for process, _ in hosts]
    figures["two hosts, eight boards, suite reload, s"] = time.monotonic() - begun
    counts = _results(store, "whole")
    figures["worst exit code of the two hosts"] = max(codes)
    figures["boards with results"] = len({board for board, _ in counts})
    figures["scenarios with a result"] = len(counts)
    figures["scenarios with more than one"] = sum(count > 1 for count in counts.values())
    figures["places held at the end"] = len(lab.held())
    closing = [_closing(out) for _, out in hosts]
    figures["hosts that told the same"] = 2 if closing[0] == closing[1] else 1
    shares = Counter(run for run, _ in _boards_of(store, "whole"))
    figures["boards of the host that had fewer"] = min(shares.values(), default=0)


def _closing(out: Path) -> str:
    """What the last line counts, without its time."""
    lines = [line for line in out.read_text("utf-8", "replace").splitlines() if " boards: " in line]
    return re.sub(r" in [0-9.]+ .*", "", lines[-1]) if lines else str(out)


def _runs(store: Store, night: str) -> list[int]:
    return [run for run in store.runs(10_000) if store.load_run(run, figures=False).environment.get("night") == night]


def _results(where: str, night: str) -> Counter[tuple[str, tuple[str, str]]]:
    store = Store(where)
    try:
        return Counter(
            (board.id, (scenario.suite, scenario.name))
            for run in _runs(store, night)
            for board in store.load_run(run, figures=False).boards
            for scenario in board.scenarios
        )
    finally:
        store.close()


def _boards_of(where: str, night: str) -> list[tuple[int, str]]:
    store = Store(where)
    try:
        runs = [store.load_run(run, figures=False) for run in _runs(store, night)]
        return [(run.id, board.id) for run in runs for board in run.boards if board.scenarios]
    finally:
        store.close()


def _kills(lab: _Lab, store: str, kills: int, figures: dict[str, float]) -> None:
    draw = random.Random(_SEED)
    told = lost = late = left = 0
    longest = lingered = 0.0
    done = 0
    by_kind: Counter[str] = Counter()
    night, said = "", set[tuple[str, str, str]]()
    try:
        for number in range(kills):
            if number % _OF_A_NIGHT == 0:
                if night:
                    lost += _finish(lab, store, night, said, figures)
                night, said = f"killed-{number}", set()
            what = draw.choice(("tree", "parent", "exporter"))
            process, out = lab.host(f"desk-{draw.randrange(2)}", store, night, _KILLS_SUITE)
            _wait(process, draw.uniform(*_KILLED_AFTER))
            if what == "exporter":
                exporter = draw.choice(_EXPORTERS)
                lab.lab.stop_exporter(exporter)
                _wait(process, draw.uniform(1.0, 10.0))
                lab.start_exporter(exporter)
            tree = process_tree(process.pid)
            for pid in tree if what == "tree" else [process.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()
            begun = time.monotonic()
            while lab.held() and time.monotonic() < begun + 2 * _FREE_WITHIN:
                time.sleep(0.1)
            took = time.monotonic() - begun
            longest = max(longest, took)
            late += took > _FREE_WITHIN
            for line in out.read_text("utf-8", "replace").splitlines():
                if match := RESULT_LINE.fullmatch(line.rstrip()):
                    said.add((match[1], match[3], match[4]))
                    told += 1
            while (alive := sum(map(_alive, tree))) and time.monotonic() < begun + _FREE_WITHIN:
                time.sleep(0.1)
            lingered = max(lingered, time.monotonic() - begun)
            left += alive
            done += 1
            by_kind[what] += 1
        if night:
            lost += _finish(lab, store, night, said, figures)
    finally:
        figures["kills"] = done
        for kind, count in sorted(by_kind.items()):
            figures[f"kills: {kind}"] = count
        figures["results that the terminal had told"] = told
        figures["of them not in the common store at the end of the night"] = lost
        figures["longest that a place stayed acquired after a kill, s"] = longest
        figures["kills after which a place was held for more than a minute"] = late
        figures["longest that a process went on after a kill, s"] = lingered
        figures["processes left after a minute"] = left


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def _finish(lab: _Lab, store: str, night: str, said: set[tuple[str, str, str]], figures: dict[str, float]) -> int:
    """Both hosts go on with the night to its end: how many results that were told are in no run of the store."""
    hosts = [lab.host(f"desk-{number}", store, night, _KILLS_SUITE) for number in range(2)]
    codes = [process.wait(_NIGHT) for process, _ in hosts]
    name = "nights of kills that did not end with 0"
    figures[name] = figures.get(name, 0.0) + (max(codes) != 0)
    found = {(board, suite, name.replace("_", " ")) for board, (suite, name) in _results(store, night)}
    missing = said - found
    for one in sorted(missing)[:5]:
        print("told and not there:", *one)
    doubled = "scenarios of the nights of kills with more than one result"
    counts = _results(store, night)
    figures[doubled] = figures.get(doubled, 0.0) + sum(count > 1 for count in counts.values())
    return len(missing)
