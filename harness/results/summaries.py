"""Runs as lists of them show them: their outcomes counted, by the database where they come from a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, and_, func, select

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.outcome import Outcome
from harness.no_secrets import without_secrets
from harness.results.run_record import RunRecord, board_outcome, run_outcome
from harness.results.store import Store
from harness.results.store_schema import BOARD, EVENT, RUN, SCENARIO

#: Suite, outcome and how many scenarios of it had that outcome, suites in the order in which they ran.
Counts = Mapping[str, Mapping[Outcome, int]]


@dataclass(frozen=True)
class BoardSummary:
    """``last`` is the scenario that ended last; empty in a run that has its end, where nobody asks for it."""

    id: str
    firmware: FirmwareRecord
    problem: str
    suites: Counts
    last: str = ""

    @property
    def counts(self) -> Counter[Outcome]:
        """Of all its suites."""
        total: Counter[Outcome] = Counter()
        for counts in self.suites.values():
            total.update(counts)
        return total

    @property
    def outcome(self) -> Outcome:
        return board_outcome(self.problem, self.counts)


@dataclass(frozen=True)
class RunSummary:
    """As :class:`RunRecord`. ``heard`` is when something came of it last, in Unix seconds; its beginning for a run that
    has its end."""

    id: int
    started: float
    finished: float
    command: str
    boards: tuple[BoardSummary, ...]
    heard: float
    #: The night that it is a host's part of; empty when it is whole by itself.
    night: str = ""

    @property
    def interrupted(self) -> bool:
        return not self.finished

    @property
    def outcome(self) -> Outcome:
        return run_outcome((board.outcome for board in self.boards), interrupted=self.interrupted)

    @property
    def counts(self) -> Counter[Outcome]:
        return sum((board.counts for board in self.boards), Counter())


def summary_of(run: RunRecord) -> RunSummary:
    boards = []
    for board in run.boards:
        suites: dict[str, Counter[Outcome]] = {}
        for scenario in board.scenarios:
            suites.setdefault(scenario.suite, Counter())[scenario.outcome] += 1
        last = board.scenarios[-1].name if run.interrupted and board.scenarios else ""
        boards.append(BoardSummary(board.id, board.firmware, board.problem, suites, last))
    heard = max([run.started, *_times(run)]) if run.interrupted else run.started
    night = run.environment.get("night", "")
    return RunSummary(run.id, run.started, run.finished, run.command, tuple(boards), heard, night)


def whole_night(runs: Sequence[RunSummary]) -> RunSummary:
    """The newest of ``runs`` (newest first), with the boards of the other hosts when they shared its night."""
    newest = runs[0]
    parts = [run for run in runs if newest.night and run.night == newest.night]
    if len(parts) < 2:
        return newest
    boards: dict[str, BoardSummary] = {}
    for board in (board for run in reversed(parts) for board in run.boards):
        before = boards.get(board.id)
        suites = {suite: Counter(counts) for suite, counts in before.suites.items()} if before else {}
        for suite, counts in board.suites.items():
            suites.setdefault(suite, Counter()).update(counts)
        boards[board.id] = replace(board, suites=suites)
    return replace(newest, boards=tuple(boards.values()), started=min(run.started for run in parts))


def _times(run: RunRecord) -> Iterator[float]:
    for board in run.boards:
        yield from (scenario.started + scenario.seconds for scenario in board.scenarios)
        yield from (event.at for event in board.events)


def run_summaries(store: Store, limit: int, *, board: str = "") -> list[RunSummary]:
    """The newest runs (``board``: that had it, and of it alone), newest first."""
    newest = select(RUN).order_by(RUN.c.started.desc(), RUN.c.id.desc()).limit(limit)
    if board:
        newest = newest.where(RUN.c.id.in_(select(BOARD.c.run).where(BOARD.c.id == board)))
    with store.database.reading() as connection:
        runs = connection.execute(newest).all()
        return _summaries(connection, runs, board)


def _summaries(connection: Connection, runs: Sequence[Any], board: str) -> list[RunSummary]:
    ids = [run.id for run in runs]
    going = [run.id for run in runs if not run.finished]
    counts = _counts(connection, ids, board)
    ended = _ended_last(connection, going)
    heard = _heard(connection, going)
    of_board = select(BOARD).where(BOARD.c.run.in_(ids)).order_by(BOARD.c.position, BOARD.c.id)
    boards: dict[int, list[BoardSummary]] = {}
    for row in connection.execute(of_board.where(BOARD.c.id == board) if board else of_board):
        key = (row.run, row.id)
        firmware = FirmwareRecord(row.firmware_name, row.firmware_version, row.firmware_sha256)
        summary = BoardSummary(row.id, firmware, row.problem, counts.get(key, {}), ended.get(key, ""))
        boards.setdefault(row.run, []).append(summary)
    return [
        RunSummary(
            run.id,
            run.started,
            run.finished,
            without_secrets(run.command),
            tuple(boards.get(run.id, ())),
            max(run.started, heard.get(run.id, 0.0)),
            run.environment.get("night", ""),
        )
        for run in runs
    ]


def _counts(connection: Connection, runs: Sequence[int], board: str) -> dict[tuple[int, str], dict[str, Any]]:
    """By run and board."""
    where = SCENARIO.c.run.in_(runs)
    groups = (SCENARIO.c.run, SCENARIO.c.board, SCENARIO.c.suite, SCENARIO.c.outcome)
    query = (
        select(*groups, func.count())
        .where(and_(where, SCENARIO.c.board == board) if board else where)
        .group_by(*groups)
        .order_by(func.min(SCENARIO.c.position))
    )
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for run, name, suite, outcome, count in connection.execute(query):
        found.setdefault((run, name), {}).setdefault(suite, Counter())[Outcome(outcome)] = count
    return found


def _ended_last(connection: Connection, runs: Sequence[int]) -> dict[tuple[int, str], str]:
    """The name of each board's last scenario, by run and board."""
    last = (
        select(SCENARIO.c.run, SCENARIO.c.board, func.max(SCENARIO.c.position).label("position"))
        .where(SCENARIO.c.run.in_(runs))
        .group_by(SCENARIO.c.run, SCENARIO.c.board)
        .subquery()
    )
    same = and_(SCENARIO.c.run == last.c.run, SCENARIO.c.board == last.c.board, SCENARIO.c.position == last.c.position)
    query = select(SCENARIO.c.run, SCENARIO.c.board, SCENARIO.c.name).join(last, same)
    return {(run, board): name for run, board, name in connection.execute(query)}


def _heard(connection: Connection, runs: Sequence[int]) -> dict[int, float]:
    """When a run's last scenario ended, or its last event was."""
    heard: dict[int, float] = {}
    for table, at in ((SCENARIO, SCENARIO.c.started + SCENARIO.c.seconds), (EVENT, EVENT.c.at)):
        query = select(table.c.run, func.max(at)).where(table.c.run.in_(runs)).group_by(table.c.run)
        for run, when in connection.execute(query):
            heard[run] = max(heard.get(run, 0.0), when)
    return heard
