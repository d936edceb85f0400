"""A pytest session with boards: each made ready once, its scenarios run, each result stored as it ends.

Boards come from ``boards.yaml``; when one cannot be made ready all its scenarios get the same error at once. This is a
pytest plugin, registered by :mod:`harness.plugin` when the first test asks for a board.
"""

from __future__ import annotations

import os
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import pytest

from harness.bench.attach import AttachedBoard, Options, attach
from harness.bench.health import HealthBook, Quarantined, State
from harness.campaigns.assert_words import assert_words
from harness.campaigns.asserts import asserts
from harness.campaigns.board_process import STORE
from harness.campaigns.collected import declared_by, line_of, place_in_suite, sort_out, told
from harness.campaigns.handing_over import GivenUp, HandingOver, at_place
from harness.campaigns.work import unknown_board
from harness.errors import (
    BenchFault,
    FinalFault,
    FirmwareFailure,
    HarnessError,
    ProgramFailed,
    Refused,
    Unsuitable,
    UsageError,
)
from harness.inventory.load import load_bench
from harness.inventory.selection import bench_file, chosen_boards
from harness.judging.board_bench import BoardBench
from harness.judging.calibration import Calibration
from harness.judging.outcome import Outcome
from harness.judging.references import reference_for
from harness.judging.run_events import Events
from harness.judging.scenario import MeasurementFailed, Scenario
from harness.judging.scenario_names import board_of, name_of, place_of
from harness.judging.second_look import judged_again
from harness.link.transcript_files import forget_old, place_since, run_folder, size_of
from harness.paths import state_dir
from harness.reference.vm import ReferenceVm
from harness.results.database import location
from harness.results.environment import this_environment
from harness.results.last_good import last_good
from harness.results.run_record import BoardRecord, Event, ScenarioResult
from harness.results.store import Store
from harness.results.suite_editions import editions
from harness.shown import plain

_SESSION = pytest.StashKey["_Session"]()
_SCENARIO = pytest.StashKey[Scenario]()
_DONE = pytest.StashKey[bool]()
_SECONDS = pytest.StashKey[float]()
_ERROR = pytest.StashKey[BaseException]()
#: After this many errors of the bench in a row a board is given up for the rest of the run.
_GIVE_UP_AFTER = 3
#: Of what is kept of a reason, in characters: a board can have a say in it.
_REASON_LIMIT = 8_000


class _Session:
    """What one pytest session knows: the bench, the store, and the boards that are ready."""

    def __init__(self, config: pytest.Config) -> None:
        option = config.getoption
        file = bench_file(option("--bench"))
        self.bench = load_bench(file)
        if place := option("--harness-place"):
            self.bench = at_place(self.bench, option("--boards"), place)
        self.boards = chosen_boards(self.bench, option("--boards") or None)
        self.handing_over = HandingOver(option("--harness-hand-over"), spare=bool(place))
        state = state_dir(file)
        self.options = Options(
            state,
            flash=not option("--no-flash"),
            set_aside=option("--set-aside"),
            attended=option("--harness-attended"),
            variant=option("--variant") or None,
            wait=option("--wait"),
        )
        self._where = location(os.environ.pop(STORE, "") or option("--store"), state / "results.sqlite")
        self._given_run = option("--harness-run")
        self.run = self._given_run or self._new_run(config)
        descriptor = option("--harness-events")
        self._descriptor = descriptor if descriptor >= 0 else None
        #: Troubles in a row of each board, and the last one.
        self.troubles: dict[str, int] = {}
        #: Those of them that are evidence against the board or its line.
        self.faults: dict[str, int] = {}
        self.trouble: dict[str, BaseException] = {}
        self.given_up: dict[str, str] = {}
        #: Those of them that nothing has brought back.
        self.lost: set[str] = set()
        self.attached: dict[str, AttachedBoard] = {}
        self.health = HealthBook(state)
        self._events: dict[str, Events] = {}
        #: The scenario that each board is in.
        self.places: dict[str, str] = {}

    def _new_run(self, config: pytest.Config) -> int:
        environment = this_environment() | editions(arg.partition("::")[0] for arg in config.args)
        return self.store.start_run("pytest " + " ".join(config.invocation_params.args), environment=environment)

    @cached_property
    def store(self) -> Store:
        """Opened when something is kept: to say what would run, none is made."""
        return Store(self._where)

    @cached_property
    def board_options(self) -> Options:
        """For the boards of this run: its transcripts are kept apart from those of other runs."""
        forget_old(self.options.state)
        folder = run_folder(self.run, self.store.load_run(self.run, figures=False).uid)
        return replace(self.options, run_folder=folder)

    def happened(self, board: str, kind: str, text: str) -> None:
        """An event of ``board``, in the scenario that goes on."""
        self.store.record_event(self.run, board, Event(kind, text, time.time(), self.places.get(board, "")))

    def keep(self, board: str, result: ScenarioResult) -> None:
        """A scenario has ended."""
        self.store.record_scenario(self.run, board, result)
        told = {"outcome": result.outcome.value, "reason": result.reason}
        self.events(board).send("result", suite=result.suite, name=result.name, **told)

    def events(self, board: str) -> Events:
        return self._events.setdefault(board, Events(board, self._descriptor))

    def finish(self) -> None:
        for result in self.handing_over.rest():
            self.keep(self.boards[0].id, result)
        if not self._given_run:
            self.store.finish_run(self.run)
        if "store" in vars(self):
            self.store.close()


def session_of(config: pytest.Config) -> _Session:
    if _SESSION not in config.stash:
        try:
            config.stash[_SESSION] = _Session(config)
        except UsageError as problem:
            raise pytest.UsageError(str(problem)) from None
    return config.stash[_SESSION]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each board gets the scenarios of its runtime: board by board, and calibration first, for later scenarios
    predict with it."""
    done = _done_before(config)
    try:
        chosen = {item for item in sort_out(config, items, session_of(config).boards) if place_of(item) not in done}
    except UsageError as problem:
        raise pytest.UsageError(str(problem)) from None
    if others := [item for item in items if item not in chosen]:
        config.hook.pytest_deselected(items=others)
        items[:] = [item for item in items if item in chosen]

    def order(item: pytest.Item) -> tuple[str, bool, str]:
        parameters = getattr(item, "callspec", None)
        board = parameters.params.get("board_id", "") if parameters else ""
        return (board, "calibration" not in item.path.parts, str(item.path)) if board else ("", True, "")

    items.sort(key=order)


def pytest_collection_finish(session: pytest.Session) -> None:
    if _SESSION not in session.config.stash or session.config.getoption("--harness-plan"):
        return
    state = session.config.stash[_SESSION]
    for position, board in enumerate(state.boards):
        count = sum(board_of(item) == board.id for item in session.items)
        state.events(board.id).send("planned", count=count)
        if not state._given_run and count:
            state.store.record_board(state.run, unknown_board(board), position=position)


def _done_before(config: pytest.Config) -> set[tuple[str, str, str]]:
    """Board, suite and name of each scenario that the run to be resumed has finished."""
    if not config.getoption("--harness-resume"):
        return set()
    session = session_of(config)
    boards = session.store.load_run(session.run, figures=False).boards
    return {(board.id, scenario.suite, scenario.name) for board in boards for scenario in board.scenarios}


# -- fixtures ------------------------------------------------------------------------------------


def _keep_nothing(_calibration: Calibration) -> None: ...


def board_made_ready(config: pytest.Config, board_id: str) -> Iterator[BoardBench]:
    """The board made ready, and a reference VM of its size; given back after the ``yield``."""
    session = session_of(config)
    board = session.bench.board(board_id)
    assert board is not None
    events = session.events(board_id)

    def report(step: str, done: int, total: int) -> None:
        events.send("step", text=step, done=done, total=total)

    options = session.board_options
    out = session.health.of(board_id).state is State.QUARANTINED and config.getoption("--harness-look-again")
    try:
        tell = partial(session.happened, board_id)
        attached = attach(board, replace(options, check=True) if out else options, report, tell)
    except HarnessError as problem:
        session.store.record_problem(session.run, board_id, str(problem))
        events.send("problem", text=str(problem))
        raise
    session.attached[board_id] = attached
    if out:
        session.happened(board_id, "quarantine", "taken back: it could be made ready")
    flashed_now = attached.flashed is not None and attached.flashed.written > 0
    if out or (flashed_now and session.health.of(board_id).state in (State.SUSPECT, State.RECOVERING)):
        session.health.release(board_id, "it was made ready" if out else "it was written, and its VM answers")
    try:
        record = BoardRecord(
            board.id,
            board.chip,
            attached.firmware,
            facts={
                "version": attached.facts.version,
                "machine": attached.facts.machine,
                "heap_total": attached.facts.heap_total,
                "flashed_bytes": attached.flashed.written if attached.flashed else 0,
                "unchanged_bytes": attached.flashed.unchanged if attached.flashed else 0,
                "flash_seconds": round(attached.flashed.seconds, 3) if attached.flashed else 0.0,
            },
        )
        session.store.record_board(session.run, record, position=session.boards.index(board))
        flashed = attached.flashed
        for warning in flashed.warnings if flashed else ():
            session.happened(board_id, "flash", warning)
        events.send(
            "ready",
            firmware=attached.firmware.name,
            version=attached.firmware.version,
            written=flashed.written if flashed else 0,
            unchanged=flashed.unchanged if flashed else 0,
            seconds=flashed.seconds if flashed else 0.0,
        )
        with reference_for(attached, lambda text: report(text, 0, 0)) as reference:
            if isinstance(reference, ReferenceVm):
                record = replace(record, facts={**record.facts, "reference": reference.build})
                session.store.record_board(session.run, record, position=session.boards.index(board))
            # Of firmware that nobody named nothing can be kept: the next one on this board would be taken for it.
            known = attached.firmware.sha256
            keep = partial(session.store.save_calibration, board.id, known) if known else _keep_nothing
            earlier = partial(
                last_good, session.store, session.run, board.id,
                machine=attached.facts.machine, firmware=(known, attached.facts.version),
            )  # fmt: skip
            bench = BoardBench(attached, reference, lambda text: report(text, 0, 0), keep=keep, earlier=earlier)
            yield bench
            if board_id not in session.lost and attached.device.why_gone() is None:
                bench.clean_up(attached.recover)
    finally:
        attached.close()


def new_scenario(request: pytest.FixtureRequest, board_bench: BoardBench) -> Scenario:
    """What the fixture ``scenario`` gives. Skips what the board cannot do, and brings back a board in trouble."""
    board = board_bench.attached.board
    session = session_of(request.config)
    attached = session.attached[board.id]
    for marker in request.node.iter_markers("needs"):
        missing = [n for n in marker.args if n not in board.capabilities and not board_bench.has_by_itself(n)]
        if missing:
            pytest.skip(f"{board.id} has no {', '.join(missing)} (capabilities in boards.yaml)")
    troubles, faults = session.troubles.get(board.id, 0), session.faults.get(board.id, 0)
    if faults >= _GIVE_UP_AFTER:
        session.given_up.setdefault(board.id, f"after {faults} errors in a row")
    if board.id in session.given_up:
        raise GivenUp(f"{board.id} was given up {session.given_up[board.id]}")
    if (gone := attached.device.why_gone()) is not None:
        session.given_up[board.id] = f"as it is not ours any more: {gone.message}"
        session.lost.add(board.id)
        raise gone
    if troubles:
        last = session.trouble[board.id]
        try:
            attached.recover(str(last), gentle=isinstance(last, BenchFault))
        except BenchFault as problem:
            session.given_up[board.id] = f"as it could not be recovered: {problem.message}"
            session.lost.add(board.id)
            raise
    elif board_bench.unknown:
        attached.runtime.soft_reset()  # it can be so small that the last scenario's leftovers fill it
    # Asked again now that the board is ours: the run that is gone on with may have ended this one on its last breath.
    if place_of(request.node) in _done_before(request.config):
        request.node.stash[_DONE] = True
        pytest.skip("the run that is gone on with had finished it")
    made = Scenario(board_bench, declared_by(request.node))
    request.node.stash[_SCENARIO] = made
    return made


# -- outcomes ------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    try:
        try:
            yield
            if _SCENARIO in item.stash:
                item.stash[_SCENARIO].settle()
                _all_skipped(item)
            _has_judged(item)
            _was_ours(item)
        except BenchFault:
            _was_ours(item, after_trouble=True)
            raise
        except (FirmwareFailure, AssertionError, pytest.fail.Exception) as failure:
            if _SCENARIO not in item.stash:
                raise
            _was_ours(item, after_trouble=True)
            attached = item.config.stash[_SESSION].attached[board_of(item)]
            judged_again(attached, item.stash[_SCENARIO], failure, lambda fresh: _once_more(item, fresh))
    except Unsuitable as reason:
        pytest.skip(str(reason))


def _was_ours(item: pytest.Item, *, after_trouble: bool = False) -> None:
    """Raises FinalFault for what was measured on a board that somebody else may have had."""
    if (session := item.config.stash.get(_SESSION, None)) and (attached := session.attached.get(board_of(item))):
        if after_trouble:
            attached.require()
        elif (gone := attached.device.why_gone()) is not None:
            raise gone


def _all_skipped(item: pytest.Item) -> None:
    """A scenario that could take none of its figures is skipped, with their reasons."""
    if reason := item.stash[_SCENARIO].skipped:
        pytest.skip(reason)


def _has_judged(item: pytest.Item) -> None:
    """Raises UsageError for a scenario that took no figure and asserts nothing: it would pass whatever happens."""
    made = item.stash.get(_SCENARIO, None)
    if not board_of(item) or (made and made.measurements):
        return
    if not (isinstance(item, pytest.Function) and asserts(item.function)):
        raise UsageError(
            f"{item.name} judged nothing: it took no figure and asserts nothing",
            hint="take a figure (docs/suites.md), or assert what should be so",
        )


def _once_more(item: pytest.Item, fresh: Scenario) -> None:
    assert isinstance(item, pytest.Function)
    item.stash[_SCENARIO] = item.funcargs["scenario"] = fresh
    item.runtest()
    fresh.settle()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[Any]) -> Generator[None, Any, Any]:
    report: Any = yield
    if call.when == "call":
        item.stash[_SECONDS] = call.duration
    if call.excinfo is not None:
        error = call.excinfo.value
        before = item.stash.get(_ERROR, None)
        if before is None or isinstance(before, pytest.skip.Exception):  # what a fixture adds at its end comes second
            item.stash[_ERROR] = error
        if hasattr(report, "wasxfail") and report.skipped:
            item.stash[_ERROR] = pytest.skip.Exception(f"expected to fail: {report.wasxfail or 'no reason given'}")
        if isinstance(error, HarnessError | MeasurementFailed):
            # A traceback through the harness says nothing about the board; the message does. It holds the board's text.
            of_suite = isinstance(error, UsageError) and board_of(item)
            report.longrepr = plain(told(error, item.path, line_of(item)) if of_suite else str(error))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    board = board_of(item)
    if not board:
        return (yield)
    session = item.config.stash[_SESSION]
    suite, name = item.path.parent.name, name_of(item)
    session.events(board).send("scenario", suite=suite, name=name)
    session.places[board] = f"{suite}: {name}"
    transcript = session.board_options.transcript_of(board)
    begin = size_of(session.options.state / transcript)
    started = time.time()
    outcome = yield
    if item.stash.get(_DONE, False):
        return outcome
    made = item.stash.get(_SCENARIO, None)
    verdict, reason = _outcome(item, item.stash.get(_ERROR, None), made)
    result = ScenarioResult(
        suite,
        name,
        verdict,
        reason[:_REASON_LIMIT],
        measurements=tuple(made.measurements) if made else (),
        seconds=item.stash.get(_SECONDS, 0.0),
        started=started,
        transcript=place_since(session.options.state, transcript, begin),
    )
    error = item.stash.get(_ERROR, None)
    _count(session, board, result, error)
    events = session.events(board)
    if kind := session.handing_over.kind_of(error, attached=board in session.attached):
        events.send("handed_over", kind=kind, text=error.message if isinstance(error, HarnessError) else str(error))
        item.session.shouldstop = "what is left is run elsewhere"
        return outcome
    for kept in session.handing_over.sure(result):
        session.keep(board, kept)
    if events.orphaned:
        item.session.shouldstop = "the run that started this process is gone"
    return outcome


def _count(session: _Session, board: str, result: ScenarioResult, error: BaseException | None) -> None:
    """What the end of a scenario says about the board's health."""
    if result.outcome in (Outcome.SKIPPED, Outcome.BROKEN) or isinstance(error, (GivenUp, Quarantined, UsageError)):
        return
    if isinstance(error, (Refused, ProgramFailed)):
        return  # the VM answered: nothing that could be held against the board or its line
    if result.outcome is Outcome.ERROR or isinstance(error, FirmwareFailure):
        session.troubles[board] = session.troubles.get(board, 0) + 1
        session.trouble[board] = error or BenchFault(result.reason)
    else:
        session.troubles[board] = 0
    # Firmware that crashes or hangs wherever it is asked has been told so each time, and its board is well.
    session.faults[board] = session.faults.get(board, 0) + 1 if result.outcome is Outcome.ERROR else 0
    if board not in session.attached:
        return  # counted once, when it could not be made ready
    if isinstance(error, FinalFault):
        return  # busy, swapped: no sign of a sick board
    if isinstance(error, BenchFault):
        session.attached[board].fault(error.message)
    elif result.outcome is not Outcome.ERROR:
        session.health.went_well(board)


def _outcome(item: pytest.Item, error: BaseException | None, made: Scenario | None) -> tuple[Outcome, str]:
    if error is None:
        outcome = made.outcome if made and made.measurements else Outcome.PASS  # by its asserts
        return outcome, _marginal_words(made) if outcome is Outcome.MARGINAL and made else ""
    if isinstance(error, pytest.skip.Exception):
        return Outcome.SKIPPED, str(error)
    place = place_in_suite(error, item.path)
    if isinstance(error, (FirmwareFailure, MeasurementFailed)):
        return Outcome.FAIL, str(error)
    # pytest.fail, and pytest.raises in vain; pytest's own words about a suite come out of none of its lines.
    if isinstance(error, AssertionError) or (isinstance(error, pytest.fail.Exception) and place):
        return Outcome.FAIL, f"{place or line_of(item)}: {assert_words(str(error)) or type(error).__name__}"
    if isinstance(error, pytest.fail.Exception):
        return Outcome.BROKEN, f"{line_of(item)}: {' '.join(str(error).split())}"
    if isinstance(error, UsageError) and (made or place):
        return Outcome.BROKEN, told(error, item.path, line_of(item))
    if isinstance(error, HarnessError):
        return Outcome.ERROR, str(error)
    if place:
        return Outcome.BROKEN, told(error, item.path)
    return Outcome.ERROR, f"{type(error).__name__}: {error}"


def _marginal_words(made: Scenario) -> str:
    from harness.judging.scenario import described

    return "; ".join(described(m) for m in made.measurements if m.verdict is Outcome.MARGINAL)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if _SESSION in session.config.stash:
        session.config.stash[_SESSION].finish()
