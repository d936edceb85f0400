"""Histories out of the store: one figure of one board with one firmware line, run after run."""

from __future__ import annotations

import fnmatch
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, Text, and_, cast, func, literal, select, type_coerce

from harness.errors import UsageError
from harness.judging.outcome import Outcome
from harness.kinds import Kind, Value, stored
from harness.results.change import Point, Step, Verdict, find_steps
from harness.results.store import Store, samples_of, value_of
from harness.results.store_schema import BOARD, MEASUREMENT, RUN, SCENARIO, SERIES
from harness.results.suite_editions import edition_of

#: No run begins later, in Unix seconds; a database takes no infinity.
_FAR = 1e12


_OUTCOMES = {outcome.value: outcome for outcome in Outcome}


class Entry(NamedTuple):
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


def is_known(store: Store, board: str) -> bool:
    """Whether the store has a figure of ``board``."""
    with store.database.reading() as connection:
        return connection.execute(select(SERIES.c.id).where(SERIES.c.board == board).limit(1)).first() is not None


def boards_with(store: Store, suite: str, scenario: str, name: str) -> int:
    """How many boards have a figure."""
    where = (SERIES.c.suite == suite, SERIES.c.scenario == scenario, SERIES.c.name == name)
    with store.database.reading() as connection:
        return int(connection.execute(select(func.count(SERIES.c.board.distinct())).where(*where)).scalar_one())


def newest_run(store: Store) -> float:
    """When the newest run began (Unix seconds); 0 in a store without any."""
    with store.database.reading() as connection:
        return float(connection.execute(select(func.max(RUN.c.started))).scalar() or 0.0)


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
        tested = _tested(connection, BOARD.c.id == board)
        for several in _by_figure(chosen):
            # Follows from the series, and lets the server take the scenarios out of their index.
            newest = several[-1]
            own = and_(SCENARIO.c.board == board, SCENARIO.c.suite == newest.suite, SCENARIO.c.name == newest.scenario)
            rows = connection.execute(_measured(MEASUREMENT.c.series.in_([row.id for row in several]), own))
            found += [history for history in _made(several, rows, tested, last) if not line or history.line == line]
    if not found and not line:
        raise UsageError(f"the figure {wanted!r} of {board} was skipped in every run")
    if not found:
        raise UsageError(f"{board} has no run with firmware line {line!r}", hint="leave --line away to see its lines")
    return found


def recent_histories(store: Store, board: str, runs: int, *, until: float = math.inf, line: str = "") -> list[History]:
    """All figures of ``board`` over its last ``runs`` runs that began by ``until`` (Unix seconds), in one reading.

    As :func:`histories`, without samples; empty when there is nothing.
    """
    with store.database.reading() as connection:
        chosen = list(connection.execute(_newest(board, runs, until)).scalars())
        tested = _tested(connection, BOARD.c.id == board, BOARD.c.run.in_(chosen))
        where = (SCENARIO.c.board == board, SCENARIO.c.run.in_(chosen))
        rows = connection.execute(_measured(*where, samples=False)).all()
        series = connection.execute(select(SERIES).where(SERIES.c.board == board)).all()
    return [history for history in _histories(series, rows, tested) if not line or history.line == line]


def recent_values(
    store: Store, board: str, runs: int, *, until: float, line: str
) -> dict[tuple[str, str, str], list[Value]]:
    """What :func:`recent_histories` has of one line, as values alone, oldest first, by suite, scenario and figure.

    The database makes one text of each figure: for a page that shows thousands of them.
    """
    newest = _newest(board, runs, until).where(BOARD.c.firmware_line == line)
    with store.database.reading() as connection:
        chosen = list(connection.execute(newest).scalars())
        numbers = (SCENARIO.c.run, SCENARIO.c.position, MEASUREMENT.c.position)
        value: ColumnElement[str] = type_coerce(MEASUREMENT.c.measured, Text)
        for number in reversed(numbers):
            value = cast(number, Text) + " " + value
        joined = (
            select(MEASUREMENT.c.series, func.aggregate_strings(value, "\n").label("joined"))
            .join(SCENARIO, SCENARIO.c.id == MEASUREMENT.c.scenario)
            .where(SCENARIO.c.board == board, SCENARIO.c.run.in_(chosen))
            .where(MEASUREMENT.c.verdict != Outcome.SKIPPED.value)
            .group_by(MEASUREMENT.c.series)
            .subquery()
        )
        rows = connection.execute(select(*SERIES.c, joined.c.joined).join(joined, joined.c.series == SERIES.c.id)).all()
    order = [str(run) for run in reversed(chosen)]
    found: dict[tuple[str, str, str], list[Value]] = {}
    for several in _by_figure(list(rows)):
        last: dict[str, str] = {}
        for run, _, rest in (text.partition(" ") for row in several for text in row.joined.split("\n")):
            if run not in last or _places(rest) > _places(last[run]):  # tried again
                last[run] = rest
        texts = [last[run].split(" ", 2)[2] for run in order if run in last]
        values = map(value_of, json.loads(f"[{','.join(texts)}]"))
        if kept := [value for value in values if value is not None]:
            found[several[-1].suite, several[-1].scenario, several[-1].name] = kept
    return found


def _places(rest: str) -> tuple[int, int]:
    scenario, position, _ = rest.split(" ", 2)
    return int(scenario), int(position)


def _newest(board: str, runs: int, until: float) -> Select[Any]:
    return (
        select(BOARD.c.run)
        .join(RUN, RUN.c.id == BOARD.c.run)
        .where(BOARD.c.id == board, RUN.c.started <= min(until, _FAR))
        .order_by(RUN.c.started.desc(), RUN.c.id.desc())
        .limit(runs)
    )


def figure_histories(store: Store, suite: str, scenario: str, name: str, *, since: float = 0.0) -> list[History]:
    """One figure on all boards that have it, over the runs that began after ``since`` (Unix seconds).

    As :func:`recent_histories`, board by board.
    """
    wanted = select(SERIES).where(SERIES.c.suite == suite, SERIES.c.scenario == scenario, SERIES.c.name == name)
    with store.database.reading() as connection:
        series = connection.execute(wanted.order_by(SERIES.c.board)).all()
        names, keys = {row.board for row in series}, [row.id for row in series]
        tested = _tested(connection, BOARD.c.id.in_(names), RUN.c.started > since)
        # Numbers of scenarios grow: none of these runs has one below its boards' first. So the server takes a piece of
        # each figure out of the index, and not all of it.
        runs = {run for _, run in tested}
        begins = select(func.min(SCENARIO.c.id)).where(SCENARIO.c.run.in_(runs), SCENARIO.c.position == 0)
        first = min(connection.execute(begins.group_by(SCENARIO.c.run)).scalars(), default=0)
        where = (MEASUREMENT.c.series.in_(keys), MEASUREMENT.c.scenario >= first)
        rows = connection.execute(_measured(*where)).all()
    return _histories(series, rows, tested)


class _Tested(NamedTuple):
    """A run as one board had it."""

    started: float
    version: str
    sha256: str
    line: str
    environment: Mapping[str, str]


def _tested(connection: Connection, *where: Any) -> dict[tuple[str, int], _Tested]:
    """By board and run."""
    query = (
        select(BOARD.c.id, BOARD.c.run, RUN.c.started, BOARD.c.firmware_version, BOARD.c.firmware_sha256,
               BOARD.c.firmware_line, type_coerce(RUN.c.environment, Text))
        .join(RUN, RUN.c.id == BOARD.c.run)
        .where(*where)
    )  # fmt: skip
    parsed: dict[str, Mapping[str, str]] = {}  # most nights are made with what the night before was made with
    found = {}
    for board, run, started, version, sha256, line, environment in connection.execute(query):
        if environment not in parsed:
            parsed[environment] = json.loads(environment)
        found[board, run] = _Tested(started, version, sha256, line, parsed[environment])
    return found


def _measured(*where: Any, samples: bool = True) -> Select[Any]:
    """Series, run, measured, samples (both as JSON) and verdict, so that the last try of a run comes last."""
    return (
        select(
            MEASUREMENT.c.series,
            SCENARIO.c.run,
            type_coerce(MEASUREMENT.c.measured, Text),
            type_coerce(MEASUREMENT.c.samples, Text) if samples else literal("[]", Text),
            MEASUREMENT.c.verdict,
        )
        .select_from(MEASUREMENT)
        .join(SCENARIO, SCENARIO.c.id == MEASUREMENT.c.scenario)
        .where(*where, MEASUREMENT.c.verdict != Outcome.SKIPPED.value)
        .order_by(SCENARIO.c.position, MEASUREMENT.c.position)
    )


def _histories(series: Sequence[Any], rows: Sequence[Any], tested: Mapping[tuple[str, int], _Tested]) -> list[History]:
    """What ``rows`` (as :func:`_measured` asks for) hold of ``series``, board by board."""
    boards: dict[str, list[Any]] = {}
    for row in series:
        boards.setdefault(row.board, []).append(row)
    figures = [several for rows_of_board in boards.values() for several in _by_figure(rows_of_board)]
    place = {row.id: number for number, several in enumerate(figures) for row in several}
    values: list[list[Any]] = [[] for _ in figures]
    for row in rows:
        values[place[row[0]]].append(row)
    return [history for several, own in zip(figures, values, strict=True) for history in _made(several, own, tested)]


def _made(
    series: Sequence[Any], rows: Iterable[Any], tested: Mapping[tuple[str, int], _Tested], last: int = 0
) -> list[History]:
    """The histories of one figure, a firmware line each, out of its ``rows``."""
    newest = series[-1]
    board, suite = newest.board, newest.suite
    by_run: dict[int, tuple[str, Entry]] = {}
    rows = list(rows)
    measured = json.loads(f"[{','.join([row[2] for row in rows])}]")  # all at once: a call for each took most of it
    samples = json.loads(f"[{','.join([row[3] for row in rows])}]")
    for (_, run, _, _, verdict), kept, several in zip(rows, measured, samples, strict=True):
        figure = value_of(kept)
        made = tested.get((board, run))
        if figure is None or made is None:
            continue
        edition = edition_of(made.environment, suite)
        taken = samples_of(several)
        entry = Entry(run, made.started, figure, taken, _OUTCOMES[verdict], made.version, made.sha256, edition)
        by_run[run] = made.line, entry
    lines: dict[str, list[Entry]] = {}
    for line, entry in sorted(by_run.values(), key=lambda one: (one[1].started, one[1].run)):
        lines.setdefault(line, []).append(entry)
    words = (suite, newest.scenario, newest.name, newest.kind, newest.unit)
    return [History(board, line, *words, tuple(entries[-last:])) for line, entries in lines.items()]


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
