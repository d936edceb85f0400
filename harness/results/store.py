"""The results store: one SQLite file, written as each scenario ends.

Several processes write at once (one a board). What has been recorded is on disk; a killed run is loaded as
far as it came.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.errors import BenchFault, UsageError
from harness.results.record import BoardRecord, FirmwareRecord, RunRecord, ScenarioResult
from harness.verdict.compare import Measurement
from harness.verdict.outcome import Outcome

_VERSION = 1
_BUSY_SECONDS = 20.0

_SCHEMA = """
CREATE TABLE run (id INTEGER PRIMARY KEY, started REAL, finished REAL DEFAULT 0, command TEXT);
CREATE TABLE board (
    run INTEGER REFERENCES run(id), id TEXT, position INTEGER, chip TEXT, firmware_name TEXT, firmware_version TEXT,
    firmware_sha256 TEXT, problem TEXT DEFAULT '', facts TEXT DEFAULT '{}', PRIMARY KEY (run, id));
CREATE TABLE scenario (
    id INTEGER PRIMARY KEY, run INTEGER, board TEXT, suite TEXT, name TEXT, outcome TEXT, reason TEXT,
    started REAL, seconds REAL);
CREATE TABLE measurement (
    scenario INTEGER REFERENCES scenario(id), position INTEGER, name TEXT, kind TEXT, unit TEXT, measured TEXT,
    reference TEXT, "limit" TEXT, verdict TEXT, rule TEXT, samples TEXT);
CREATE INDEX scenario_of_board ON scenario (run, board);
CREATE INDEX measurement_of_scenario ON measurement (scenario);
"""


class Store:
    """``path`` is made when it is not there. Raises UsageError when it is something else."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            with self._transaction():
                version = self._db.execute("PRAGMA user_version").fetchone()[0]
                if version == 0:
                    if self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                        raise UsageError(
                            f"{path} is a database of something else", hint="name another file with --store"
                        )
                    for statement in _SCHEMA.split(";\n"):
                        if statement.strip():
                            self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version={_VERSION}")
                elif version != _VERSION:
                    raise UsageError(
                        f"{path} has version {version}, this harness writes version {_VERSION}",
                        hint="use the harness that wrote it, or name another file with --store",
                    )
        except (sqlite3.Error, OSError) as problem:
            raise UsageError(
                f"{path} cannot be used as results store: {problem}",
                hint="name a file on a local disk that you may write with --store, or move this one away",
            ) from None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._transaction():
                yield
        except sqlite3.Error as problem:
            raise BenchFault(
                f"{self.path}: the result could not be stored: {problem}", hint="is the disk full?"
            ) from None

    def close(self) -> None:
        self._db.close()

    # -- writing ---------------------------------------------------------------------------------

    def start_run(self, command: str) -> int:
        with self._writing():
            cursor = self._db.execute("INSERT INTO run (started, command) VALUES (?, ?)", (time.time(), command))
        return int(cursor.lastrowid or 0)

    def finish_run(self, run: int) -> None:
        with self._writing():
            self._db.execute("UPDATE run SET finished=? WHERE id=?", (time.time(), run))

    def record_board(self, run: int, board: BoardRecord, *, position: int = 0) -> None:
        """Write or replace what is known of a board, without its scenarios."""
        firmware = board.firmware
        with self._writing():
            self._db.execute(
                "INSERT OR REPLACE INTO board VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run,
                    board.id,
                    position,
                    board.chip,
                    firmware.name,
                    firmware.version,
                    firmware.sha256,
                    board.problem,
                    json.dumps(board.facts),
                ),
            )

    def record_problem(self, run: int, board: str, problem: str) -> None:
        """Why a board could not be made ready, or did not get to its end."""
        with self._writing():
            self._db.execute("UPDATE board SET problem=? WHERE run=? AND id=?", (problem, run, board))

    def record_scenario(self, run: int, board: str, result: ScenarioResult) -> None:
        with self._writing():
            cursor = self._db.execute(
                "INSERT INTO scenario (run, board, suite, name, outcome, reason, started, seconds) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    run,
                    board,
                    result.suite,
                    result.name,
                    result.outcome.value,
                    result.reason,
                    result.started,
                    result.seconds,
                ),
            )
            self._db.executemany(
                "INSERT INTO measurement VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        cursor.lastrowid,
                        position,
                        m.name,
                        m.kind,
                        m.unit,
                        json.dumps(m.measured),
                        json.dumps(m.reference),
                        m.limit,
                        m.verdict.value,
                        m.rule,
                        json.dumps(m.samples),
                    )
                    for position, m in enumerate(result.measurements)
                ],
            )

    # -- reading ---------------------------------------------------------------------------------

    def runs(self, limit: int = 20) -> list[int]:
        """Ids of the newest runs, newest first."""
        return [row[0] for row in self._db.execute("SELECT id FROM run ORDER BY id DESC LIMIT ?", (limit,))]

    def load_run(self, run: int) -> RunRecord:
        """Raises UsageError when there is no such run."""
        row = self._db.execute("SELECT started, finished, command FROM run WHERE id=?", (run,)).fetchone()
        if row is None:
            known = ", ".join(map(str, self.runs(5))) or "none"
            raise UsageError(f"{self.path} has no run {run}", hint=f"newest runs: {known}")
        boards = tuple(
            BoardRecord(
                id=board[0],
                chip=board[1],
                firmware=FirmwareRecord(board[2], board[3], board[4]),
                problem=board[5],
                facts=json.loads(board[6]),
                scenarios=tuple(self._scenarios(run, board[0])),
            )
            for board in self._db.execute(
                "SELECT id, chip, firmware_name, firmware_version, firmware_sha256, problem, facts "
                "FROM board WHERE run=? ORDER BY position, id",
                (run,),
            ).fetchall()
        )
        return RunRecord(run, row[0], row[1], row[2], boards)

    def _scenarios(self, run: int, board: str) -> Iterator[ScenarioResult]:
        rows = self._db.execute(
            "SELECT id, suite, name, outcome, reason, started, seconds FROM scenario "
            "WHERE run=? AND board=? ORDER BY id",
            (run, board),
        ).fetchall()
        for key, suite, name, outcome, reason, started, seconds in rows:
            measurements = tuple(
                Measurement(
                    name=m[0],
                    kind=m[1],
                    unit=m[2],
                    measured=json.loads(m[3]),
                    reference=json.loads(m[4]),
                    limit=m[5],
                    verdict=Outcome(m[6]),
                    rule=m[7],
                    samples=tuple(json.loads(m[8])),
                )
                for m in self._db.execute(
                    'SELECT name, kind, unit, measured, reference, "limit", verdict, rule, samples '
                    "FROM measurement WHERE scenario=? ORDER BY position",
                    (key,),
                )
            )
            yield ScenarioResult(suite, name, Outcome(outcome), reason, measurements, seconds, started)
