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
from harness.verdict.calibration import Calibration
from harness.verdict.compare import Measurement
from harness.verdict.outcome import Outcome

_BUSY_SECONDS = 20.0

#: The schema as the steps that led to it. A file's ``user_version`` says how many it has seen; the others are
#: made when it is opened. Never change a step: add one.
_MIGRATIONS = (
    """
    CREATE TABLE run (id INTEGER PRIMARY KEY, started REAL, finished REAL DEFAULT 0, command TEXT);
    CREATE TABLE board (
        run INTEGER REFERENCES run(id), id TEXT, position INTEGER, chip TEXT, firmware_name TEXT,
        firmware_version TEXT, firmware_sha256 TEXT, problem TEXT DEFAULT '', facts TEXT DEFAULT '{}',
        PRIMARY KEY (run, id));
    CREATE TABLE scenario (
        id INTEGER PRIMARY KEY, run INTEGER, board TEXT, suite TEXT, name TEXT, outcome TEXT, reason TEXT,
        started REAL, seconds REAL);
    CREATE TABLE measurement (
        scenario INTEGER REFERENCES scenario(id), position INTEGER, name TEXT, kind TEXT, unit TEXT, measured TEXT,
        reference TEXT, "limit" TEXT, verdict TEXT, rule TEXT, samples TEXT);
    CREATE INDEX scenario_of_board ON scenario (run, board);
    CREATE INDEX measurement_of_scenario ON measurement (scenario);
    """,
    """
    CREATE TABLE calibration (
        board TEXT, firmware_sha256 TEXT, taken REAL, fit TEXT, PRIMARY KEY (board, firmware_sha256));
    """,
)


class Store:
    """``path`` is made when it is not there. Raises UsageError when it cannot be used or is something else.

    Writing raises BenchFault when the file cannot take it (disk full, locked for longer than 20 s). An object is
    for one thread; open another one elsewhere.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        except (sqlite3.Error, OSError) as problem:
            raise self._unusable(problem) from None
        try:
            self._db.execute("PRAGMA synchronous=FULL")  # before any answer: what is recorded survives a power cut
            with self._transaction():
                self._migrate()
            # Not in a transaction, and not for a database of something else: the mode stays in the file.
            if self._db.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                self._db.execute("PRAGMA journal_mode=WAL")
        except (sqlite3.Error, UsageError) as problem:
            self._db.close()
            raise problem if isinstance(problem, UsageError) else self._unusable(problem) from None

    def _migrate(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        if (version == 0 and tables) or (version > 0 and not {"run", "board", "scenario"} <= tables):
            raise UsageError(f"{self.path} is a database of something else", hint="name another file with --store")
        if version > len(_MIGRATIONS):
            raise UsageError(
                f"{self.path} has version {version}, this harness knows versions up to {len(_MIGRATIONS)}",
                hint="use the harness that wrote it, or name another file with --store",
            )
        for step in _MIGRATIONS[version:]:
            for statement in filter(str.strip, step.split(";\n")):
                self._db.execute(statement)
        if version < len(_MIGRATIONS):
            self._db.execute(f"PRAGMA user_version={len(_MIGRATIONS)}")

    def _unusable(self, problem: Exception) -> UsageError:
        return UsageError(
            f"{self.path} cannot be used as results store: {problem}",
            hint="name a file on a local disk that you may write with --store, or move this one away",
        )

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
                f"{self.path}: the result could not be stored: {problem}",
                hint="is the disk full, or does another program hold the file?",
            ) from None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, ValueError, TypeError) as problem:
            raise BenchFault(
                f"{self.path}: results cannot be read, the file is damaged: {problem}",
                hint="move it away; 'sqlite3 FILE .recover' may save what is in it",
            ) from None

    def close(self) -> None:
        self._db.close()

    # -- writing ---------------------------------------------------------------------------------

    def start_run(self, command: str) -> int:
        """Begin a run; the number that comes back names it from here on."""
        with self._writing():
            cursor = self._db.execute("INSERT INTO run (started, command) VALUES (?, ?)", (time.time(), command))
        return int(cursor.lastrowid or 0)

    def finish_run(self, run: int) -> None:
        """The run has come to its end. One for which this is never called counts as interrupted."""
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
        """Keep a finished scenario with its measurements; on disk when this returns."""
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

    def save_calibration(self, board: str, firmware_sha256: str, calibration: Calibration) -> None:
        """Keep ``calibration`` as the newest of this board with this firmware."""
        with self._writing():
            self._db.execute(
                "INSERT OR REPLACE INTO calibration VALUES (?, ?, ?, ?)",
                (board, firmware_sha256, time.time(), calibration.to_json()),
            )

    # -- reading ---------------------------------------------------------------------------------

    def runs(self, limit: int = 20) -> list[int]:
        """Ids of the newest runs, newest first."""
        with self._reading():
            return [row[0] for row in self._db.execute("SELECT id FROM run ORDER BY id DESC LIMIT ?", (limit,))]

    def latest(self) -> RunRecord:
        """The newest run. Raises UsageError when there is none yet."""
        newest = self.runs(1)
        if not newest:
            raise UsageError(f"{self.path} holds no run yet", hint="make one with 'harness run'")
        return self.load_run(newest[0])

    def load_run(self, run: int) -> RunRecord:
        """Also a run that goes on or was killed, as far as it came. Raises UsageError when there is no such run."""
        with self._reading():
            return self._load_run(run)

    def _load_run(self, run: int) -> RunRecord:
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

    def load_calibration(self, board: str, firmware_sha256: str) -> Calibration | None:
        """The newest calibration of this board with this firmware; None when there is none."""
        with self._reading():
            row = self._db.execute(
                "SELECT fit FROM calibration WHERE board=? AND firmware_sha256=?", (board, firmware_sha256)
            ).fetchone()
        return Calibration.from_json(row[0]) if row else None

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
