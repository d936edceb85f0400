"""Histories out of the store: one figure of one board with one firmware line, run after run."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Select, and_, select

from harness.errors import UsageError
from harness.judging.outcome import Outcome
from harness.kinds import Kind, Value, stored
from harness.results.change import Point, Step, Verdict, find_steps
from harness.results.store import Store, samples_of, value_of
from harness.results.store_schema import BOARD, MEASUREMENT, RUN, SCENARIO, SERIES
from harness.results.suite_editions import edition_of

#: No run begins later, in Unix seconds; a database takes no infinity.
_FAR = 1e12


@dataclass(frozen=True)
class Entry:
    """A figure in one run. ``started`` is the run's Unix time; ``version`` and ``sha256`` are the firmware's."""

    run: int
    started: float
    measured: Value
    samples: tuple[float, ...]
    verdict: Outcome
    version: str
    sha256: str
    #: Of the suite (:mod:`harness.results.suite_editions`); empty when it was not kept.
    edition: str = ""


@dataclass(frozen=True)
class History:
    """All entries in the order of their time, at most one a run: the last, when a scenario was tried again.

    Runs in which the figure was skipped, or has no value, have none. ``kind`` is the newest one, when the figure's kind
    was divided.
    """

    board: str
    line: str
    suite: str
    scenario: str
    name: str
    kind: str
    unit: str
    entries: tuple[Entry, ...]

    @property
    def label(self) -> str:
        return f"{self.suite}: {self.scenario}: {self.name}"

    def judge(self) -> Verdict:
        """Its steps, by the method of :mod:`harness.results.change`; a step's indexes are those of ``entries``."""
        effect = self.measured_as.history
        if effect is None:
            return Verdict((), None)
        return find_steps([point_of(entry) for entry in self.entries], effect)

    @property
    def measured_as(self) -> Kind:
        """The kind by which it is judged and shown."""
        return stored(self.kind)


def changed_with(history: History, step: Step) -> str:
    """What else changed with the first run of a step, in words; empty when the suite was the same, or nobody knows."""
    if not step.first:
        return ""
    before, after = history.entries[step.first - 1], history.entries[step.first]
    if not before.edition or not after.edition or before.edition == after.edition:
        return ""
    firmware = "and so did the firmware" if before.sha256 != after.sha256 else "and the firmware did not"
    return f"the suite changed with it, {firmware}"


def point_of(entry: Entry) -> Point:
    samples = entry.samples
    return Point(entry.measured, standard_error(samples) if len(samples) > 1 else 0.0)


def standard_error(samples: Sequence[float]) -> float:
    """Of their mean. In floats: ``statistics.stdev`` is exact by fractions, which took most of a history's time."""
    count = len(samples)
    mean = math.fsum(samples) / count
    return math.sqrt(math.fsum((one - mean) ** 2 for one in samples) / (count - 1) / count)


def boards(store: Store) -> list[str]:
    """All boards of which the store has a figure."""
    with store.database.reading() as connection:
        return list(connection.execute(select(SERIES.c.board).distinct().order_by(SERIES.c.board)).scalars())


def figure_names(store: Store, board: str) -> list[str]:
    """The names of all figures that ``board`` has in the store."""
    with store.database.reading() as connection:
        return list(connection.execute(select(SERIES.c.name).distinct().where(SERIES.c.board == board)).scalars())


def histories(store: Store, board: str, wanted: str = "*", *, line: str = "", last: int = 0) -> list[History]:
    """The histories of ``board`` whose figure's name, or whole label, matches the pattern ``wanted``.

    ``line``: only this firmware line; ``last``: only so many newest entries of each, 0 for all. Raises UsageError
    when the store has none.
    """
    with store.database.reading() as connection:
        series = connection.execute(select(SERIES).where(SERIES.c.board == board)).all()
        if not series:
            known = ", ".join(boards(store)) or "none"
            raise UsageError(f"{store.name} has no figure of a board {board!r}", hint=f"its boards: {known}")
        chosen = [row for row in series if _matches(row, wanted)]
        if not chosen:
            names = sorted({row.name for row in series})
            shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
            raise UsageError(f"{board} has no figure {wanted!r}", hint=f"patterns are possible; it has: {shown}")
        found: list[History] = []
        made_with = {row.id: row.environment for row in connection.execute(select(RUN.c.id, RUN.c.environment))}
        for rows in _by_figure(chosen):
            lines: dict[str, dict[int, Entry]] = {}
            row = rows[-1]
            for entry_line, entry in _entries(connection.execute(_query([one.id for one in rows], board))):
                edition = edition_of(made_with.get(entry.run, {}), row.suite)
                lines.setdefault(entry_line, {})[entry.run] = replace(entry, edition=edition)
            for name, entries in lines.items():
                if not line or name == line:
                    kept = tuple(entries.values())[-last:]
                    words = (board, name, row.suite, row.scenario, row.name, row.kind, row.unit)
                    found.append(History(*words, kept))
    if not found and not line:
        raise UsageError(f"the figure {wanted!r} of {board} was skipped in every run")
    if not found:
        raise UsageError(f"{board} has no run with firmware line {line!r}", hint="leave --line away to see its lines")
    return found


def recent_histories(store: Store, board: str, runs: int, *, until: float = math.inf, line: str = "") -> list[History]:
    """All figures of ``board`` over its last ``runs`` runs that began by ``until`` (Unix seconds), in one reading.

    As :func:`histories` without the suites' editions; empty when there is nothing.
    """
    newest = (
        select(BOARD.c.run)
        .join(RUN, RUN.c.id == BOARD.c.run)
        .where(BOARD.c.id == board, RUN.c.started <= min(until, _FAR))
        .order_by(RUN.c.started.desc(), RUN.c.id.desc())
        .limit(runs)
    )
    with store.database.reading() as connection:
        chosen = list(connection.execute(newest).scalars())
        rows = connection.execute(_recent(SCENARIO.c.board == board, SCENARIO.c.run.in_(chosen))).all()
        series = connection.execute(select(SERIES).where(SERIES.c.board == board)).all()
    return [history for history in _histories(series, rows) if not line or history.line == line]


def figure_histories(store: Store, suite: str, scenario: str, name: str, *, since: float = 0.0) -> list[History]:
    """One figure on all boards that have it, over the runs that began after ``since`` (Unix seconds).

    As :func:`recent_histories`, board by board.
    """
    wanted = select(SERIES).where(SERIES.c.suite == suite, SERIES.c.scenario == scenario, SERIES.c.name == name)
    with store.database.reading() as connection:
        series = connection.execute(wanted.order_by(SERIES.c.board)).all()
        keys = [row.id for row in series]
        rows = connection.execute(_recent(MEASUREMENT.c.series.in_(keys), RUN.c.started > since)).all()
    return _histories(series, rows)


def _recent(*where: Any) -> Select[Any]:
    return (
        select(MEASUREMENT.c.series, *_COLUMNS)
        .select_from(MEASUREMENT)
        .join(SCENARIO, SCENARIO.c.id == MEASUREMENT.c.scenario)
        .join(RUN, RUN.c.id == SCENARIO.c.run)
        .join(BOARD, and_(BOARD.c.run == SCENARIO.c.run, BOARD.c.id == SCENARIO.c.board))
        .where(*where, MEASUREMENT.c.verdict != Outcome.SKIPPED.value)
        .order_by(RUN.c.started, RUN.c.id, SCENARIO.c.position, MEASUREMENT.c.position)
    )


def _histories(series: Sequence[Any], rows: Sequence[Any]) -> list[History]:
    """What ``rows`` (key of the series, then an entry's columns) hold of ``series``, board by board."""
    values: dict[int, list[Any]] = {}
    for key, *entry in rows:
        values.setdefault(key, []).append(entry)
    boards: dict[str, list[Any]] = {}
    for row in series:
        if row.id in values:
            boards.setdefault(row.board, []).append(row)
    found = []
    for several in (figure for rows_of_board in boards.values() for figure in _by_figure(rows_of_board)):
        merged = sorted((entry for one in several for entry in values[one.id]), key=lambda entry: (entry[1], entry[0]))
        lines: dict[str, dict[int, Entry]] = {}
        for line, made in _entries(merged):
            lines.setdefault(line, {})[made.run] = made
        row = several[-1]
        for line, entries in lines.items():
            words = (row.board, line, row.suite, row.scenario, row.name, row.kind, row.unit)
            found.append(History(*words, tuple(entries.values())))
    return found


def _by_figure(chosen: list[Any]) -> list[list[Any]]:
    """The series of one figure together: its kind may have been divided since (:attr:`Kind.continues`); newest last."""
    figures: dict[tuple[str, ...], list[Any]] = {}
    for row in sorted(chosen, key=lambda r: (r.suite, r.scenario, r.name, bool(stored(r.kind).continues))):
        family = stored(row.kind).continues or row.kind
        figures.setdefault((row.suite, row.scenario, row.name, family, row.unit), []).append(row)
    return list(figures.values())


def _matches(row: Any, wanted: str) -> bool:
    label = f"{row.suite}: {row.scenario}: {row.name}"
    return row.name == wanted or fnmatch.fnmatchcase(row.name, wanted) or fnmatch.fnmatchcase(label, wanted)


#: Of an entry, in the order in which :func:`_entries` takes them.
_COLUMNS = (
    RUN.c.id, RUN.c.started, MEASUREMENT.c.measured, MEASUREMENT.c.samples, MEASUREMENT.c.verdict,
    BOARD.c.firmware_version, BOARD.c.firmware_sha256, BOARD.c.firmware_line,
)  # fmt: skip


def _query(series: list[int], board: str) -> Select[Any]:
    """One range of the table of measurements for each series, and a look at scenario, run and board for each."""
    return (
        select(*_COLUMNS)
        .select_from(MEASUREMENT)
        .join(SCENARIO, SCENARIO.c.id == MEASUREMENT.c.scenario)
        .join(RUN, RUN.c.id == SCENARIO.c.run)
        .join(BOARD, and_(BOARD.c.run == SCENARIO.c.run, BOARD.c.id == board))
        .where(MEASUREMENT.c.series.in_(series), MEASUREMENT.c.verdict != Outcome.SKIPPED.value)
        .order_by(RUN.c.started, RUN.c.id, SCENARIO.c.position, MEASUREMENT.c.position)
    )  # fmt: skip


def _entries(rows: Any) -> Any:
    for run, started, measured, samples, verdict, version, sha256, line in rows:
        if (figure := value_of(measured)) is None:
            continue
        yield line, Entry(run, started, figure, samples_of(samples), Outcome(verdict), version, sha256)
