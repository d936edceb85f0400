"""One run over the boards of a bench: a process for each board, all watched from here.

Each board's process (:mod:`harness.campaigns.board_process`) writes its results to the store itself; what arrives here
is only to be shown.
"""

from __future__ import annotations

import math
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.bench.firmware_record import FirmwareRecord
from harness.campaigns.board_process import BoardProcess
from harness.errors import UsageError
from harness.inventory.model import Board
from harness.judging.run_events import parse
from harness.paths import suites_dir
from harness.results.database import Location
from harness.results.run_record import BoardRecord
from harness.results.store import Store

#: A board of which nothing is heard for this long is given up, in seconds.
SILENCE_LIMIT = 600.0
_GRACE = 10.0

Watcher = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RunRequest:
    """``suites`` are paths or names of suites; ``jobs`` boards run at the same time.

    ``board_seconds`` and ``total_seconds`` end a board, and the run, that takes longer. ``resume`` is a run in the
    store that did not come to its end: what had finished then is not done again. A board that another process holds
    is waited for, ``wait`` seconds.
    """

    bench_file: Path
    boards: list[Board]
    state: Path
    store: Location
    suites: tuple[str, ...] = ()
    keyword: str = ""
    flash: bool = True
    #: What the boards run by themselves is set aside, whatever the bench file says.
    set_aside: bool = False
    variant: str = ""
    jobs: int = 8
    wait: float = 300.0
    command: str = "harness run"
    board_seconds: float = math.inf
    total_seconds: float = math.inf
    resume: int = 0


@dataclass
class _Child:
    board: Board
    process: BoardProcess
    log: Path
    heard: float
    started: float
    rest: bytes = b""
    problem: str = ""
    stopped_by: str = ""

    @property
    def events(self) -> int:
        return self.process.events


def suite_paths(names: tuple[str, ...]) -> list[str]:
    """Folders of the named suites, or all. Raises UsageError for a name that is not there."""
    root = suites_dir()
    if not names:
        return [str(root)]
    paths = []
    for name in names:
        path = Path(name) if Path(name).exists() else root / name
        if not path.exists():
            known = ", ".join(sorted(p.name for p in root.iterdir() if p.is_dir() and p.name[0] not in "_."))
            raise UsageError(f"there is no suite {name!r}", hint=f"suites: {known}, or the path of one of your own")
        paths.append(str(path))
    return paths


def run_bench(request: RunRequest, watch: Watcher) -> int:
    """Run, and return the run's id in the store. Ctrl-C ends it cleanly: what has finished is kept."""
    paths = suite_paths(request.suites)
    store = Store(request.store)
    run = request.resume or store.start_run(request.command)
    known = {board.id for board in store.load_run(run).boards}
    for position, board in enumerate(request.boards):
        if board.id in known:
            store.record_problem(run, board.id, "")
        else:
            store.record_board(run, BoardRecord(board.id, board.chip, FirmwareRecord("", "", "")), position=position)
    end = time.monotonic() + request.total_seconds
    waiting = list(request.boards)
    active: dict[int, _Child] = {}
    interrupted = False
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or active:
                while waiting and len(active) < max(1, request.jobs):
                    child = _start(request, waiting.pop(0), run, paths)
                    active[child.events] = child
                    selector.register(child.events, selectors.EVENT_READ)
                for key, _ in selector.select(timeout=0.2):
                    child = active[int(key.fd)]
                    if not _read(child, watch):
                        selector.unregister(child.events)
                        del active[child.events]
                        _finish(child, store, run, watch, request)
                _end_overdue(active, request)
                if time.monotonic() > end:
                    for board in waiting:
                        store.record_problem(run, board.id, "the time of the whole run was over before its turn")
                    waiting.clear()
                    for child in active.values():
                        _stop(child, f"the time of the whole run, {_minutes(request.total_seconds)}, was over")
                watch({"event": "tick", "board": ""})
        except KeyboardInterrupt:
            interrupted = True
            for child in active.values():
                _stop(child, "interrupted")
            for child in active.values():
                _finish(child, store, run, watch, request)
    for board in waiting if interrupted else []:
        store.record_problem(run, board.id, "interrupted before its turn")
    store.finish_run(run)
    store.close()
    if interrupted:
        raise KeyboardInterrupt
    return run


def _start(request: RunRequest, board: Board, run: int, paths: list[str]) -> _Child:
    logs = request.state / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"{board.id}.log"
    arguments = [
        # hypothesis's own plugin imports all of hypothesis at the end of every session, whether it was used or not
        *(*paths, "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--color=no", "-ra"),
        *("--bench", str(request.bench_file), "--boards", board.id, "--store", str(request.store)),
        *("--wait", f"{request.wait:g}", "--harness-run", str(run)),
        *(["--no-flash"] if not request.flash else []),
        *(["--set-aside"] if request.set_aside else []),
        *(["--variant", request.variant] if request.variant and board.virtual else []),
        *(["-k", request.keyword] if request.keyword else []),
        *(["--harness-resume"] if request.resume else []),
    ]
    now = time.monotonic()
    return _Child(board, BoardProcess(arguments, log), log, heard=now, started=now)


def _read(child: _Child, watch: Watcher) -> bool:
    """Take what a board's process sent; False when it has ended."""
    try:
        data = os.read(child.events, 65536)
    except BlockingIOError:
        return True
    if not data:
        return False
    child.heard = time.monotonic()
    *lines, child.rest = (child.rest + data).split(b"\n")
    for line in lines:
        event = parse(line)
        if event is not None and event["board"] == child.board.id:
            if event["event"] == "problem":
                child.problem = str(event.get("text", ""))
            watch(event)
    return True


def _end_overdue(active: dict[int, _Child], request: RunRequest) -> None:
    now = time.monotonic()
    for child in active.values():
        if child.stopped_by:
            continue
        if now - child.heard > SILENCE_LIMIT:
            _stop(child, f"given up: nothing was heard of it for {SILENCE_LIMIT:g} s")
        elif now - child.started > request.board_seconds:
            _stop(child, f"given up: its time of {_minutes(request.board_seconds)} was over")


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.3g} min"


def _stop(child: _Child, why: str) -> None:
    if child.stopped_by:
        return
    child.stopped_by = why
    child.process.interrupt()
    if child.process.wait(_GRACE) is None:
        child.process.kill()


def _finish(child: _Child, store: Store, run: int, watch: Watcher, request: RunRequest) -> None:
    code = child.process.wait(_GRACE)
    if code is None:
        child.process.kill()
        code = child.process.wait(_GRACE)
    child.process.close()
    problem = child.problem
    if child.stopped_by:
        problem = child.stopped_by
    elif not problem and code == 5:
        problem = "" if request.resume else "no scenario was selected"
    elif not problem and code not in (0, 1):
        tail = child.log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        problem = f"its process ended with code {code}: {' / '.join(tail)[:400]} (see {child.log})"
    if problem:
        store.record_problem(run, child.board.id, problem)
    watch({"event": "end", "board": child.board.id, "problem": problem})
