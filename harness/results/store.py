"""The results store: written as each scenario ends, read by reports and by the history.

Several processes write at once (one a board). What has been recorded is on disk; a killed run is loaded as
far as it came.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, func, select, update

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import UsageError
from harness.judging.calibration import Calibration
from harness.judging.compare import Measurement
from harness.judging.limits import Bounds
from harness.judging.outcome import Outcome
from harness.kinds import Value
from harness.no_secrets import without_secrets
from harness.results.database import Database, Location, insert_new, upsert
from harness.results.environment import this_environment
from harness.results.run_record import BoardRecord, Event, RunRecord, ScenarioResult
from harness.results.store_schema import (
    BOARD,
    CALIBRATION,
    EVENT,
    LIMIT,
    MEASUREMENT,
    RUN,
    SCENARIO,
    SERIES,
    limit_row,
    series_row,
)

#: No run has a higher number: its column is an Integer, of 32 bits on a server.
_HIGHEST_RUN = 2**31 - 1


class Store:
    """``where`` is a file, made when it is not there, or the URL of a PostgreSQL database.

    Raises UsageError when it cannot be used or is something else. Writing raises BenchFault when the store cannot
    take it (disk full, locked for longer than 20 s, server gone).
    """

    def __init__(self, where: Location) -> None:
        self.database = Database(where)
        self.name = self.database.name

    def close(self) -> None:
        self.database.close()

    # -- writing ---------------------------------------------------------------------------------

    def start_run(self, command: str, *, environment: Mapping[str, str] | None = None) -> int:
        """Begin a run; the number that comes back names it from here on. ``environment``: default, this host's."""
        values = {
            "uid": uuid.uuid4().hex,
            "started": time.time(),
            "finished": 0.0,
            "command": without_secrets(command),
            "environment": dict(this_environment() if environment is None else environment),
        }
        with self.database.writing() as connection:
            return int(connection.execute(RUN.insert().values(values).returning(RUN.c.id)).scalar_one())

    def finish_run(self, run: int) -> None:
        """The run has come to its end. One for which this is never called counts as interrupted."""
        with self.database.writing() as connection:
            connection.execute(update(RUN).where(RUN.c.id == run).values(finished=time.time()))

    def record_board(self, run: int, board: BoardRecord, *, position: int = 0) -> None:
        """Write or replace what is known of a board, without its scenarios and events."""
        with self.database.writing() as connection:
            write_board(connection, run, board, position)

    def record_problem(self, run: int, board: str, problem: str) -> None:
        """Why a board could not be made ready, or did not get to its end."""
        with self.database.writing() as connection:
            connection.execute(update(BOARD).where(BOARD.c.run == run, BOARD.c.id == board).values(problem=problem))

    def record_scenario(self, run: int, board: str, result: ScenarioResult) -> None:
        """Keep a finished scenario with its measurements; on disk when this returns."""
        with self.database.writing() as connection:
            place = _next_position(connection, SCENARIO, run, board)
            write_scenario(connection, run, board, place, result)

    def record_event(self, run: int, board: str, event: Event) -> None:
        """Keep a reset, a retry or a recovery; on disk when this returns."""
        with self.database.writing() as connection:
            write_event(connection, run, board, _next_position(connection, EVENT, run, board), event)

    def save_calibration(self, board: str, firmware_sha256: str, calibration: Calibration) -> None:
        """Keep ``calibration`` as the newest of this board with this firmware."""
        values = {"board": board, "firmware_sha256": firmware_sha256, "taken": time.time()}
        with self.database.writing() as connection:
            connection.execute(upsert(connection, CALIBRATION).values({**values, "fit": calibration.to_json()}))

    # -- reading ---------------------------------------------------------------------------------

    def runs(self, limit: int = 20) -> list[int]:
        """Ids of the newest runs, newest first."""
        newest = select(RUN.c.id).order_by(RUN.c.started.desc(), RUN.c.id.desc()).limit(limit)
        with self.database.reading() as connection:
            return list(connection.execute(newest).scalars())

    def latest(self) -> RunRecord:
        """The newest run. Raises UsageError when there is none yet."""
        newest = self.runs(1)
        if not newest:
            raise UsageError(f"{self.name} holds no run yet", hint="make one with 'harness run'")
        return self.load_run(newest[0])

    def load_run(self, run: int, *, figures: bool = True) -> RunRecord:
        """Also a run that goes on or was killed, as far as it came. Raises UsageError when there is no such run.

        Without ``figures`` its scenarios have none: for who asks for outcomes alone.
        """
        if 0 < run <= _HIGHEST_RUN:
            with self.database.reading() as connection:
                row = connection.execute(select(RUN).where(RUN.c.id == run)).one_or_none()
                if row is not None:
                    return read_run(connection, row, figures=figures)
        known = ", ".join(map(str, self.runs(5))) or "none"
        raise UsageError(f"{self.name} has no run {run}", hint=f"newest runs: {known}")

    def load_runs(self, limit: int, *, board: str = "") -> list[RunRecord]:
        """The newest runs (``board``: that had it), newest first, without figures."""
        newest = select(RUN).order_by(RUN.c.started.desc(), RUN.c.id.desc()).limit(limit)
        if board:
            newest = newest.where(RUN.c.id.in_(select(BOARD.c.run).where(BOARD.c.id == board)))
        with self.database.reading() as connection:
            return read_runs(connection, connection.execute(newest).all(), figures=False)

    def load_calibration(self, board: str, firmware_sha256: str) -> Calibration | None:
        """The newest calibration of this board with this firmware; None when there is none."""
        wanted = (CALIBRATION.c.board == board, CALIBRATION.c.firmware_sha256 == firmware_sha256)
        with self.database.reading() as connection:
            fit = connection.execute(select(CALIBRATION.c.fit).where(*wanted)).scalar()
        return Calibration.from_json(fit) if fit else None


# -- rows ----------------------------------------------------------------------------------------


def _next_position(connection: Connection, table: Any, run: int, board: str) -> int:
    """Where the next scenario or event of a board goes: with its run and board, its name in every store."""
    # The board's row is held meanwhile (SQLite has one writer anyway), so that two processes get two positions.
    connection.execute(select(BOARD.c.id).where(BOARD.c.run == run, BOARD.c.id == board).with_for_update())
    highest = select(func.max(table.c.position)).where(table.c.run == run, table.c.board == board)
    last = connection.execute(highest).scalar()
    return 0 if last is None else int(last) + 1


def write_board(connection: Connection, run: int, board: BoardRecord, position: int) -> None:
    firmware = board.firmware
    values = {
        "run": run,
        "id": board.id,
        "position": position,
        "chip": board.chip,
        "firmware_name": firmware.name,
        "firmware_version": firmware.version,
        "firmware_sha256": firmware.sha256,
        "firmware_line": firmware.line,
        "problem": board.problem,
        "facts": board.facts,
    }
    connection.execute(upsert(connection, BOARD).values(values))


def write_scenario(connection: Connection, run: int, board: str, position: int, result: ScenarioResult) -> None:
    values = {
        "run": run,
        "board": board,
        "position": position,
        "suite": result.suite,
        "name": result.name,
        "outcome": result.outcome.value,
        "reason": result.reason,
        "started": result.started,
        "seconds": result.seconds,
        "transcript": result.transcript,
    }
    key = connection.execute(SCENARIO.insert().values(values).returning(SCENARIO.c.id)).scalar_one()
    series, limits, rows = {}, {}, []
    for place, m in enumerate(result.measurements):
        row = series_row(board, result.suite, result.name, m.name, m.kind, m.unit)
        limit = limit_row(m.limit, m.rule, m.bounds.to_json() if m.bounds else None)
        # In the order of their keys: two processes that add the same ones wait for each other, and never in a circle.
        series[row["id"]], limits[limit["id"]] = row, limit
        rows.append(
            {
                "series": row["id"],
                "scenario": key,
                "position": place,
                "measured": m.measured,
                "reference": m.reference,
                "limit_applied": limit["id"],
                "verdict": m.verdict.value,
                "samples": list(m.samples),
                "reason": m.reason,
            }
        )
    if rows:
        connection.execute(insert_new(connection, SERIES), [series[key] for key in sorted(series)])
        connection.execute(insert_new(connection, LIMIT), [limits[key] for key in sorted(limits)])
        connection.execute(MEASUREMENT.insert(), rows)


def write_event(connection: Connection, run: int, board: str, position: int, event: Event) -> None:
    values = {"run": run, "board": board, "position": position, **vars(event)}
    connection.execute(EVENT.insert().values(values))


def read_run(connection: Connection, row: Row[Any], *, figures: bool = True) -> RunRecord:
    return read_runs(connection, [row], figures=figures)[0]


def read_runs(connection: Connection, rows: Sequence[Row[Any]], *, figures: bool = True) -> list[RunRecord]:
    """In the order of ``rows``; a few questions for all of them together."""
    runs = [row.id for row in rows]
    boards: dict[int, list[Row[Any]]] = {}
    for board in connection.execute(
        select(BOARD).where(BOARD.c.run.in_(runs)).order_by(BOARD.c.position, BOARD.c.id)
    ).all():  # fmt: skip
        boards.setdefault(board.run, []).append(board)
    events: dict[tuple[int, str], list[Event]] = {}
    for e in connection.execute(select(EVENT).where(EVENT.c.run.in_(runs)).order_by(EVENT.c.position)):
        events.setdefault((e.run, e.board), []).append(Event(e.kind, e.text, e.at, e.scenario))
    scenarios = _scenarios(connection, runs, figures)
    return [
        RunRecord(
            row.id,
            row.started,
            row.finished,
            without_secrets(row.command),  # a version before kept it as it was typed
            tuple(
                BoardRecord(
                    id=board.id,
                    chip=board.chip,
                    firmware=FirmwareRecord(board.firmware_name, board.firmware_version, board.firmware_sha256),
                    scenarios=tuple(scenarios.get((row.id, board.id), ())),
                    problem=board.problem,
                    facts=board.facts,
                    events=tuple(events.get((row.id, board.id), ())),
                )
                for board in boards.get(row.id, ())
            ),
            row.uid,
            row.environment,
        )
        for row in rows
    ]


def value_of(kept: object) -> Value | None:
    """A figure as it is kept, None for what is none: versions before took whatever a suite gave, None and lists too."""
    return kept if isinstance(kept, int | float | str) else None


def samples_of(kept: object) -> tuple[float, ...]:
    """Those of a figure's samples that are numbers."""
    return tuple([one for one in kept if isinstance(one, int | float)]) if isinstance(kept, list | tuple) else ()


def _scenarios(
    connection: Connection, runs: Sequence[int], figures: bool
) -> dict[tuple[int, str], list[ScenarioResult]]:
    """By run and board."""
    query = select(SCENARIO).where(SCENARIO.c.run.in_(runs)).order_by(SCENARIO.c.position)
    taken = _figures(connection, runs) if figures else {}
    found: dict[tuple[int, str], list[ScenarioResult]] = {}
    for row in connection.execute(query).all():
        found.setdefault((row.run, row.board), []).append(
            ScenarioResult(
                row.suite,
                row.name,
                Outcome(row.outcome),
                row.reason,
                tuple(taken.get(row.id, ())),
                row.seconds,
                row.started,
                row.transcript,
            )
        )
    return found


def _figures(connection: Connection, runs: Sequence[int]) -> dict[int, list[Measurement]]:
    """By the key of their scenario."""
    taken: dict[int, list[Measurement]] = {}
    measured = (
        select(MEASUREMENT, SERIES.c.name, SERIES.c.kind, SERIES.c.unit, LIMIT.c.words, LIMIT.c.rule, LIMIT.c.bounds)
        .join(SCENARIO, SCENARIO.c.id == MEASUREMENT.c.scenario)
        .join(SERIES, SERIES.c.id == MEASUREMENT.c.series)
        .join(LIMIT, LIMIT.c.id == MEASUREMENT.c.limit_applied)
        .where(SCENARIO.c.run.in_(runs))
        .order_by(MEASUREMENT.c.scenario, MEASUREMENT.c.position)
    )
    for m in connection.execute(measured):
        taken.setdefault(m.scenario, []).append(
            Measurement(
                name=m.name,
                kind=m.kind,
                unit=m.unit,
                measured=value_of(m.measured),
                reference=value_of(m.reference),
                limit=m.words,
                verdict=Outcome(m.verdict),
                rule=m.rule,
                samples=samples_of(m.samples),
                bounds=Bounds.from_json(m.bounds),
                reason=m.reason,
            )
        )
    return taken
