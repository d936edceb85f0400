"""Stores as JSON Lines: exported, imported, merged.

The first line says what the file is; each other line is one run, one board of it, one scenario with its
measurements, one event or one calibration. A run is named by its ``uid``, scenarios and events by run, board and
position: so what a store has already is known, and importing twice changes nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, func, select, update

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import BenchFault, UsageError
from harness.judging.calibration import Calibration
from harness.judging.compare import Measurement
from harness.judging.limits import Bounds
from harness.judging.outcome import Outcome
from harness.kinds import Value, named
from harness.no_secrets import without_secrets
from harness.results.database import insert_new, upsert
from harness.results.run_record import BoardRecord, Event, RunRecord, ScenarioResult
from harness.results.store import Store, read_run, write_board, write_event, write_scenario
from harness.results.store_schema import BOARD, CALIBRATION, MEASUREMENT, RUN, SCENARIO, SERIES, is_sqlite

FORMAT = "vm-harness results"
FORMAT_VERSION = 1
#: A longer line is refused, in characters; a scenario with ten thousand figures stays below.
LONGEST_LINE = 16 * 1024 * 1024
_CONFLICTS_NAMED = 10
#: The records after the first line; each is a method of :class:`_Target`.
_KINDS = ("run", "board", "scenario", "event", "calibration")


@dataclass
class Imported:
    """What came new into a store. ``conflicts`` are records that it had already, with another content: its own stay."""

    runs: int = 0
    scenarios: int = 0
    events: int = 0
    calibrations: int = 0
    conflicts: int = 0
    named: list[str] = field(default_factory=list)

    def conflict(self, what: str) -> None:
        self.conflicts += 1
        if len(self.named) < _CONFLICTS_NAMED:
            self.named.append(what)


# -- export --------------------------------------------------------------------------------------


def export_lines(store: Store, runs: Iterable[int] | None = None) -> Iterator[str]:
    """The store, or some ``runs`` of it with no calibrations, oldest first. Raises what reading a store raises."""
    yield _line("store", {"format": FORMAT, "version": FORMAT_VERSION})
    with store.database.reading() as connection:
        wanted = list(connection.execute(select(RUN.c.id).order_by(RUN.c.started, RUN.c.uid)).scalars())
    chosen = None if runs is None else set(runs)
    for run in wanted:
        if chosen is None or run in chosen:
            yield from _run_lines(store.load_run(run))
    if chosen is None:
        yield from calibration_lines(store)


def calibration_lines(store: Store, boards: Iterable[str] | None = None) -> Iterator[str]:
    """The calibrations of all boards, or of some; they may follow the lines of :func:`export_lines`."""
    query = select(CALIBRATION).order_by(CALIBRATION.c.board, CALIBRATION.c.taken)
    if boards is not None:
        query = query.where(CALIBRATION.c.board.in_(list(boards)))
    with store.database.reading() as connection:
        rows = connection.execute(query).all()
    for row in rows:
        yield _line("calibration", dict(row._mapping))


def _line(kind: str, fields: Mapping[str, Any]) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=True) + "\n"


def _run_lines(run: RunRecord) -> Iterator[str]:
    fields = {"uid": run.uid, "started": run.started, "finished": run.finished, "command": run.command}
    yield _line("run", {**fields, "environment": run.environment})
    for position, board in enumerate(run.boards):
        yield _line("board", {"position": position, **_board_fields(board)})
        for place, scenario in enumerate(board.scenarios):
            yield _line("scenario", {"board": board.id, "position": place, **_scenario_fields(scenario)})
        for place, event in enumerate(board.events):
            yield _line("event", {"board": board.id, "position": place, **vars(event)})


def _board_fields(board: BoardRecord) -> dict[str, Any]:
    firmware = vars(board.firmware)
    return {"id": board.id, "chip": board.chip, "firmware": firmware, "problem": board.problem, "facts": board.facts}


def _scenario_fields(scenario: ScenarioResult) -> dict[str, Any]:
    fields = {**vars(scenario), "outcome": scenario.outcome.value}
    fields["measurements"] = [
        {
            **vars(m),
            "verdict": m.verdict.value,
            "samples": list(m.samples),
            "bounds": m.bounds.to_json() if m.bounds else None,
        }
        for m in scenario.measurements
    ]
    return fields


# -- import --------------------------------------------------------------------------------------


def import_lines(
    store: Store,
    lines: Iterable[str],
    *,
    source: str = "import",
    origin: bool = False,
) -> Imported:
    """Add what ``store`` has not. Each run is one transaction; ``source`` names the lines in messages.

    ``origin``: the lines come from where the runs are made, so what they say of a board replaces what is there.
    Raises UsageError for a line that is none of an export, with its number: the runs before that line's run have
    been added.
    """
    report = Imported()
    pending: list[tuple[int, dict[str, Any]]] = []
    head = False
    number = 0
    for number, line in enumerate(lines, 1):
        fields = _parse(line, source, number)
        kind = fields["type"]
        if kind == "store":
            if fields.get("format") != FORMAT or fields.get("version") != FORMAT_VERSION:
                raise _bad(source, number, f"is version {fields.get('version')!r} of {fields.get('format')!r}")
            head = True
            continue
        if not head:
            raise _bad(source, number, "comes before the line that says what the file is")
        if kind in ("run", "calibration") and pending:
            _import_group(store, pending, source, report, origin)
            pending = []
        if kind not in ("run", "calibration") and (not pending or pending[0][1]["type"] != "run"):
            raise _bad(source, number, f"is a {kind} of no run")
        pending.append((number, fields))
    if not head:
        raise _bad(source, number or 1, "is missing: the file is empty")
    if pending:
        _import_group(store, pending, source, report, origin)
    return report


def merge(store: Store, other: Store) -> Imported:
    """Add the runs and calibrations of ``other`` that ``store`` has not; a run that both have is completed."""
    return import_lines(store, export_lines(other), source=other.name)


def _bad(source: str, number: int, what: str) -> UsageError:
    return UsageError(
        f"{source}, line {number}: {what}",
        hint="expected is what 'harness store export' writes; the runs before that of this line have been added",
    )


def _parse(line: str, source: str, number: int) -> dict[str, Any]:
    if len(line) > LONGEST_LINE:
        raise _bad(source, number, f"is longer than {LONGEST_LINE} characters")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as problem:
        raise _bad(source, number, f"is no JSON: {problem}") from None
    if not isinstance(fields, dict) or fields.get("type") not in ("store", *_KINDS):
        raise _bad(source, number, "is no record of a store")
    return fields


def _import_group(
    store: Store, group: list[tuple[int, dict[str, Any]]], source: str, report: Imported, origin: bool
) -> None:
    """One run with all that belongs to it, or calibrations."""
    number = group[0][0]
    try:
        with store.database.writing() as connection:
            target = _Target(connection, report, origin)
            for entry in group:
                number, fields = entry
                getattr(target, fields["type"])(fields)
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError, _Wrong) as problem:
        what = f"has no {problem}" if isinstance(problem, KeyError) else str(problem)
        raise _bad(source, number, what) from None


class _Wrong(Exception):
    """A record with a content that cannot be."""


class _Target:
    """A store in the transaction that takes one run."""

    def __init__(self, connection: Connection, report: Imported, origin: bool) -> None:
        self._connection = connection
        self._report = report
        self._origin = origin
        self._run = 0
        self._known: dict[str, BoardRecord] = {}
        self._next: dict[tuple[str, str], int] = {}
        self._ahead = True

    def run(self, fields: dict[str, Any]) -> None:
        uid, finished = _text(fields, "uid"), _number(fields, "finished")
        if not is_sqlite(self._connection):  # two that send one run follow one another
            self._connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(uid))))
        row = self._connection.execute(select(RUN).where(RUN.c.uid == uid)).one_or_none()
        if row is None:
            environment = {str(k): str(v) for k, v in _mapping(fields, "environment").items()}
            values = {"uid": uid, "started": _number(fields, "started"), "finished": finished}
            values |= {"command": without_secrets(_text(fields, "command")), "environment": environment}
            statement = RUN.insert().values(values).returning(RUN.c.id)
            self._run = int(self._connection.execute(statement).scalar_one())
            self._report.runs += 1
            return
        self._run = row.id
        self._known = {board.id: board for board in read_run(self._connection, row).boards}
        self._ahead = bool(finished) and not row.finished
        if self._ahead:
            self._connection.execute(update(RUN).where(RUN.c.id == row.id).values(finished=finished))

    def board(self, fields: dict[str, Any]) -> None:
        firmware = FirmwareRecord(
            *(_text(_mapping(fields, "firmware"), name) for name in ("name", "version", "sha256"))
        )
        facts = _mapping(fields, "facts")
        texts = (_text(fields, "id"), _text(fields, "chip"))
        board = BoardRecord(*texts, firmware, problem=_text(fields, "problem"), facts=facts)
        known = self._known.get(board.id)
        blank = known is not None and not known.firmware.name and not known.problem
        if known is None or self._ahead or blank or self._origin:
            write_board(self._connection, self._run, board, _whole(fields, "position"))
        elif _line("board", _board_fields(board)) != _line("board", _board_fields(known)):
            self._report.conflict(f"board {board.id} of run {self._run}")
        self._known.setdefault(board.id, board)

    def scenario(self, fields: dict[str, Any]) -> None:
        board = self._board(fields)
        result = _scenario(fields)
        place = self._place("scenario", fields)
        if place < len(board.scenarios):
            if _line("", _scenario_fields(result)) != _line("", _scenario_fields(board.scenarios[place])):
                self._report.conflict(
                    f"scenario {place} ({result.suite}: {result.name}) of {board.id}, run {self._run}"
                )
            return
        write_scenario(self._connection, self._run, board.id, place, result)
        self._report.scenarios += 1

    def event(self, fields: dict[str, Any]) -> None:
        board = self._board(fields)
        event = Event(_text(fields, "kind"), _text(fields, "text"), _number(fields, "at"), _text(fields, "scenario"))
        place = self._place("event", fields)
        if place < len(board.events):
            if event != board.events[place]:
                self._report.conflict(f"event {place} of {board.id}, run {self._run}")
            return
        write_event(self._connection, self._run, board.id, place, event)
        self._report.events += 1

    def calibration(self, fields: dict[str, Any]) -> None:
        values = {name: _text(fields, name) for name in ("board", "firmware_sha256", "fit")}
        try:
            Calibration.from_json(values["fit"])
        except BenchFault as problem:
            raise _Wrong(problem.message) from None
        taken = _number(fields, "taken")
        known = select(CALIBRATION.c.taken).where(
            CALIBRATION.c.board == values["board"], CALIBRATION.c.firmware_sha256 == values["firmware_sha256"]
        )
        newest = self._connection.execute(known).scalar()
        if newest is None or newest < taken:
            statement = (insert_new if newest is None else upsert)(self._connection, CALIBRATION)
            self._connection.execute(statement.values({**values, "taken": taken}))
            self._report.calibrations += 1

    def _board(self, fields: dict[str, Any]) -> BoardRecord:
        board = self._known.get(_text(fields, "board"))
        if board is None:
            raise _Wrong(f"belongs to board {fields['board']!r}, of which there is no line before")
        return board

    def _place(self, kind: str, fields: dict[str, Any]) -> int:
        """Positions go up by one: a record that is missing in the middle would shift the names of the others."""
        key = (kind, _text(fields, "board"))
        expected = self._next.get(key, 0)
        if _whole(fields, "position") != expected:
            raise _Wrong(f"is {kind} {fields['position']} of its board, expected is {expected}")
        self._next[key] = expected + 1
        return expected


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields[name]
    if not isinstance(value, str):
        raise _Wrong(f"{name} is no text")
    return value


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong(f"{name} is no number")
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    if not finite:
        raise _Wrong(f"{name} is no time that there can be")
    return float(value)


def _mapping(fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = fields[name]
    if not isinstance(value, dict):
        raise _Wrong(f"{name} is no object")
    return value


def _whole(fields: Mapping[str, Any], name: str) -> int:
    value = fields[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 31:
        raise _Wrong(f"{name} is no position")
    return value


def _outcome(fields: Mapping[str, Any], name: str) -> Outcome:
    try:
        return Outcome(fields[name])
    except ValueError:
        raise _Wrong(f"{name} is {str(fields[name])[:40]!r}, which is no outcome") from None


def _scenario(fields: Mapping[str, Any]) -> ScenarioResult:
    return ScenarioResult(
        _text(fields, "suite"),
        _text(fields, "name"),
        _outcome(fields, "outcome"),
        _text(fields, "reason"),
        tuple(_measurement(m) for m in fields["measurements"]),
        _number(fields, "seconds"),
        _number(fields, "started"),
        _text(fields, "transcript"),
    )


def _measurement(fields: Mapping[str, Any]) -> Measurement:
    try:
        kind = named(_text(fields, "kind")).name
    except UsageError as problem:
        raise _Wrong(f"{str(fields['name'])[:80]!r}: {problem.message} ({problem.hint})") from None
    verdict = _outcome(fields, "verdict")
    if (missing := fields["measured"] is None) != (verdict is Outcome.SKIPPED):
        raise _Wrong(f"{str(fields['name'])[:80]!r} is called {verdict.value} and has {'no' if missing else 'a'} value")
    return Measurement(
        _text(fields, "name"),
        kind,
        _text(fields, "unit"),
        None if missing else _figure(fields["measured"]),
        None if fields["reference"] is None else _figure(fields["reference"]),
        _text(fields, "limit"),
        verdict,
        _text(fields, "rule"),
        tuple(_sample(sample) for sample in fields["samples"]),
        _bounds(fields.get("bounds")),
        _text(fields, "reason") if "reason" in fields else "",  # versions before 5 skipped no single figures
    )


def _bounds(value: object) -> Bounds | None:
    try:
        return Bounds.from_json(value)
    except ValueError as problem:
        raise _Wrong(str(problem)) from None


def _figure(value: object) -> Value:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _Wrong("a figure is neither number nor text")
    return value


def _sample(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _Wrong("a sample is no number")
    return value


# -- info ----------------------------------------------------------------------------------------


def counts(store: Store) -> dict[str, Any]:
    """How much is in a store: rows by table, boards, and the times of its first and last run (Unix, or None)."""
    with store.database.reading() as connection:
        result: dict[str, Any] = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (RUN, SCENARIO, MEASUREMENT, SERIES, CALIBRATION)
        }
        result["boards"] = list(connection.execute(select(BOARD.c.id).distinct().order_by(BOARD.c.id)).scalars())
        result["first"], result["last"] = connection.execute(
            select(func.min(RUN.c.started), func.max(RUN.c.started))
        ).one()
    return result
