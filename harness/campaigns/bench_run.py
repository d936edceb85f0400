"""One run over the boards of a bench: a process for each board, all watched from here.

Each board's process (:mod:`harness.campaigns.board_process`) writes its results to the store itself; what arrives here
is only to be shown.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.campaigns.board_process import STORE, BoardProcess
from harness.campaigns.plan import Found, collect, require_some
from harness.campaigns.work import HandedOver, Listed, Task, Work, finished_in, unknown_board
from harness.errors import BenchFault, Interrupted, UsageError
from harness.inventory.model import Board
from harness.judging.keywords import Keywords
from harness.judging.run_events import parse
from harness.paths import made, suites_dir
from harness.results.database import Location
from harness.results.environment import this_environment
from harness.results.store import Store
from harness.results.suite_editions import editions

#: A board of which nothing is heard for this long is given up, in seconds.
SILENCE_LIMIT = 600.0
_GRACE = 10.0

Watcher = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class RunRequest:
    """``suites`` are paths or names of suites; ``jobs`` boards run at the same time.

    ``board_seconds`` and ``total_seconds`` end a board, and the run, that takes longer. ``resume`` is a run in the
    store that did not come to its end: what had finished then is not done again. A board that another process holds
    is waited for, ``wait`` seconds. ``keywords`` select scenarios (:mod:`harness.judging.keywords`), ``only`` names
    them (board, suite, name). ``look_again``: a board in quarantine is looked at, and taken back when it is well.
    """

    bench_file: Path
    boards: list[Board]
    state: Path
    store: Location
    suites: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    only: frozenset[tuple[str, str, str]] | None = None
    look_again: bool = False
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
    #: A person watches, and can press a board's buttons.
    attended: bool = False
    #: The night that is shared with other hosts, through the store; empty: the boards are ours alone.
    night: str = ""


class RunInterrupted(Interrupted):
    """Ctrl-C in the middle of ``run``, which stays in the store ``kept`` as one that did not come to its end."""

    def __init__(self, run: int, kept: Location) -> None:
        super().__init__(f"what had finished is in the store, as run {run}")
        self.run = run
        self.kept = kept


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
    handed_over: HandedOver | None = None

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
        if not (path.is_dir() or path.suffix == ".py"):
            raise UsageError(f"{name!a} is no suite", hint="a suite is a folder of test_*.py files, or one of them")
        paths.append(str(path))
    return paths


def run_bench(request: RunRequest, watch: Watcher) -> int:
    """Run, and return the run's id in the store. Raises RunInterrupted after Ctrl-C: what has finished is kept.

    A night that is shared needs its server from the start: BenchFault when it is not there.

    Results for a server's store go into the local one first, so a server that goes away ends no run; NotSent when it
    has not come back at the end. ``request.resume`` is a run of the local store then.
    """
    if isinstance(request.store, Path):
        return _run(request, watch)
    from harness.results.sending import PATIENCE, SHORT_PATIENCE, NotSent, Sending, kept_in

    kept = kept_in(request.store, request.state)
    sending = Sending(kept, request.store, request.state)
    away = sending.begin(board.id for board in request.boards)
    if away and request.night:
        sending.stop()
        raise BenchFault(away, hint="a night that hosts share needs its store: who has which board stands there")
    if away:
        watch({"event": "told", "board": "", "text": f"{away}; results are kept in {kept} until it is back"})

    def watching(event: dict[str, Any]) -> None:
        if event["event"] in ("result", "end"):
            sending.news()
        watch(event)

    try:
        number = _run(replace(request, store=kept), watching, sending.begun, sending.now, request.store)
    except RunInterrupted as stopped:
        with contextlib.suppress(NotSent):
            sending.end(stopped.run, SHORT_PATIENCE)
        raise
    except BaseException:
        sending.stop()
        raise
    return sending.end(number, PATIENCE)


def _run(
    request: RunRequest,
    watch: Watcher,
    begun: Callable[[str], None] = lambda _uid: None,
    send: Callable[[], None] = lambda: None,
    shared: Location = "",
) -> int:
    """``shared`` is the store that other hosts have in common with us, and ``send`` brings there what has come."""
    found = planned(request)
    store = Store(request.store)
    run = request.resume or _new_run(store, request)
    begun(store.load_run(run, figures=False).uid)
    asked = [board for board in request.boards if found.boards.get(board.id)]
    work: Work
    if request.night:
        from harness.campaigns.lab_night import LabWork
        from harness.labgrid.client import own_name
        from harness.results.night import Night

        host, _, user = own_name().partition("/")
        uid = store.load_run(run, figures=False).uid
        night = Night(Store(shared or request.store), request.night, f"{user} on {host}", uid)
        work = LabWork(night, asked, found, store, run, send=send, watch=watch)
    else:
        work = _listed(request, asked, found, store, run)
    for board in request.boards:
        if board not in asked:
            watch({"event": "end", "board": board.id, "problem": "", "not_asked": True})
    end = time.monotonic() + request.total_seconds
    active: dict[int, _Child] = {}
    interrupted = False
    with selectors.DefaultSelector() as selector:
        try:
            while active or work.goes_on:
                while len(active) < max(1, request.jobs) and (task := work.next()) is not None:
                    child = _start(request, task, run)
                    active[child.events] = child
                    selector.register(child.events, selectors.EVENT_READ)
                for key, _ in selector.select(timeout=0.2):
                    child = active[int(key.fd)]
                    if not _read(child, watch):
                        selector.unregister(child.events)
                        del active[child.events]
                        _finish(child, store, run, watch, work)
                _end_overdue(active, request)
                if time.monotonic() > end:
                    work.over("the time of the whole run was over before its turn")
                    for child in active.values():
                        _stop(child, f"the time of the whole run, {_minutes(request.total_seconds)}, was over")
                for child in active.values():
                    if why := work.gone(child.board.id):
                        _stop(child, why)
                watch({"event": "tick", "board": ""})
        except KeyboardInterrupt:
            interrupted = True
            work.over("interrupted before its turn")
            for child in active.values():
                _stop(child, "interrupted")
            for child in active.values():
                _finish(child, store, run, watch, work)
    if not interrupted:
        _hold_against(work.planned, store, run)
        store.finish_run(run)
    work.close()
    store.close()
    if interrupted:
        raise RunInterrupted(run, request.store)
    return run


def _listed(request: RunRequest, asked: list[Board], found: Found, store: Store, run: int) -> Listed:
    done = finished_in(store, run)
    left = found.without(done)
    for position, board in enumerate(asked):
        if board.id in done:
            store.record_problem(run, board.id, "")
        else:
            store.record_board(run, unknown_board(board), position=position)
    return Listed([board for board in asked if left.boards[board.id]], found, store, run)


def _new_run(store: Store, request: RunRequest) -> int:
    night = {"night": request.night} if request.night else {}
    return store.start_run(
        request.command, environment=this_environment() | editions(suite_paths(request.suites)) | night
    )


def planned(request: RunRequest) -> Found:
    """What ``request`` would run on which board. Raises UsageError for suites that cannot be run, and for none."""
    Keywords(request.keywords)  # what is none is told before anything is started
    logs = _logs(request)
    if request.only is not None:
        _only_file(logs).write_text(json.dumps(sorted(request.only)), "utf-8")
    boards = ",".join(board.id for board in request.boards)
    found = collect([*_selecting(request, logs), "--boards", boards, "--harness-run", "-1"], logs)
    require_some(found, request.keywords)
    return found


def _logs(request: RunRequest) -> Path:
    return made(request.state / "logs")


def _only_file(logs: Path) -> Path:
    """Written with the plan, once: a board's process may be reading it when the next one starts."""
    return logs / "only.json"


def _selecting(request: RunRequest, logs: Path) -> list[str]:
    """What pytest is given to find the scenarios: the same for the plan and for each board."""
    return [
        # hypothesis's own plugin imports all of hypothesis at the end of every session, whether it was used or not
        *(*suite_paths(request.suites), "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "--color=no", "-ra"),
        *("--strict-markers", "--bench", str(request.bench_file)),
        *(part for text in request.keywords for part in ("--harness-select", text)),
        *(["--harness-only", str(_only_file(logs))] if request.only is not None else []),
    ]


def _start(request: RunRequest, task: Task, run: int) -> _Child:
    logs, board = _logs(request), task.board
    log = logs / f"{board.id}.log"
    selecting = _selecting(request, logs)
    if task.only is not None:
        only = logs / f"only-{board.id}.json"
        only.write_text(json.dumps(sorted((board.id, place.suite, place.name) for place in task.only)), "utf-8")
        selecting += ["--harness-only", str(only)]
    wait = request.wait if task.wait is None else task.wait
    arguments = [
        *(*selecting, "--boards", board.id, "--wait", f"{wait:g}", "--harness-run", str(run)),
        *(["--harness-hand-over"] if task.hand_over else []),
        *(["--harness-place", task.place] if task.place else []),
        *(["--no-flash"] if not request.flash else []),
        *(["--set-aside"] if request.set_aside else []),
        *(["--harness-attended"] if request.attended else []),
        *(["--variant", request.variant] if request.variant and board.virtual else []),
        *(["--harness-resume"] if request.resume else []),
        *(["--harness-look-again"] if request.look_again else []),
    ]
    now = time.monotonic()
    return _Child(
        board, BoardProcess(arguments, log, environment={STORE: str(request.store)}), log, heard=now, started=now
    )


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
            elif event["event"] == "handed_over":
                child.handed_over = HandedOver(str(event.get("kind", "")), str(event.get("text", "")))
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


def _hold_against(found: Found, store: Store, run: int) -> None:
    """What was planned and has no result did not happen: the board has a problem, whatever its process said."""
    left = found.without(finished_in(store, run)).boards
    for board in store.load_run(run, figures=False).boards:
        if missing := left.get(board.id):
            count = f"{len(missing)} of {len(found.boards[board.id])} scenarios have no result"
            first = f"{count}, the first is {missing[0].printed} ({missing[0].where})"
            store.record_problem(run, board.id, f"{board.problem}; {count}" if board.problem else first)


def _finish(child: _Child, store: Store, run: int, watch: Watcher, work: Work) -> None:
    code = child.process.wait(_GRACE)
    if code is None:
        child.process.kill()
        code = child.process.wait(_GRACE)
    child.process.close()
    problem = child.problem
    if child.stopped_by:
        problem = child.stopped_by
    elif child.handed_over:
        problem = child.handed_over.text
    elif not problem and code not in (0, 1):
        tail = child.log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        problem = f"its process ended with code {code}: {' / '.join(tail)[:400]} (see {child.log})"
    if problem:
        store.record_problem(run, child.board.id, problem)
    work.ended(child.board, problem, child.handed_over)
    watch({"event": "end", "board": child.board.id, "problem": problem})
