"""The tables of a store, and the steps by which an older store becomes a present one.

The tables are described twice on purpose: :data:`METADATA` is what the code queries now, the steps are what was
once written into files and never changes. A test holds the result of the steps against :data:`METADATA`.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect

from harness.bench.firmware_record import FirmwareRecord

#: The version that this code reads and writes.
VERSION = 6

_ESCAPE = "\x01json:"


def escape(words: str) -> str:
    """``words`` in a form that every database keeps.

    PostgreSQL takes no NUL, no encoding takes a lone surrogate, and a board can print either.
    """
    unsafe = "\x00" in words or words.startswith(_ESCAPE) or any("\ud800" <= c <= "\udfff" for c in words)
    return _ESCAPE + json.dumps(words) if unsafe else words


def unescape(stored: str) -> str:
    return str(json.loads(stored[len(_ESCAPE) :])) if stored.startswith(_ESCAPE) else stored


class Words(TypeDecorator[str]):
    """Text that may hold whatever a board printed."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else escape(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else unescape(value)


class Json(TypeDecorator[Any]):
    """A value as JSON text: a figure of any size and type comes back as it was, NaN included."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


METADATA = MetaData()

RUN = Table(
    "run",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("uid", Text, unique=True, nullable=False),
    Column("started", Double, nullable=False),
    Column("finished", Double, nullable=False),
    Column("command", Words, nullable=False),
    Column("environment", Json, nullable=False),
)

BOARD = Table(
    "board",
    METADATA,
    Column("run", Integer, primary_key=True),
    Column("id", Words, primary_key=True),
    Column("position", Integer, nullable=False),
    Column("chip", Words, nullable=False),
    Column("firmware_name", Words, nullable=False),
    Column("firmware_version", Words, nullable=False),
    Column("firmware_sha256", Words, nullable=False),
    Column("firmware_line", Words, nullable=False),
    Column("problem", Words, nullable=False),
    Column("facts", Json, nullable=False),
)

SCENARIO = Table(
    "scenario",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run", Integer, nullable=False),
    Column("board", Words, nullable=False),
    Column("position", Integer, nullable=False),
    Column("suite", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reason", Words, nullable=False),
    Column("started", Double, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("transcript", Words, nullable=False),
    UniqueConstraint("run", "board", "position"),
)

#: One figure of one board over all runs. Its key is made of what it names, so that stores agree about it.
SERIES = Table(
    "series",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("board", Words, nullable=False),
    Column("suite", Words, nullable=False),
    Column("scenario", Words, nullable=False),
    Column("name", Words, nullable=False),
    Column("kind", Text, nullable=False),
    Column("unit", Words, nullable=False),
)

#: A limit as it was applied, and the rule behind it. The same few sentences stand behind millions of figures.
LIMIT = Table(
    "limit_applied",
    METADATA,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("words", Words, nullable=False),
    Column("rule", Words, nullable=False),
    Column("bounds", Json, nullable=False),
)

MEASUREMENT = Table(
    "measurement",
    METADATA,
    Column("series", BigInteger, nullable=False),
    Column("scenario", Integer, nullable=False),
    Column("position", Integer, nullable=False),
    Column("measured", Json, nullable=False),
    Column("reference", Json, nullable=False),
    Column("limit_applied", BigInteger, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("samples", Json, nullable=False),
    Column("reason", Words, nullable=False),
    PrimaryKeyConstraint("series", "scenario", "position"),
)

EVENT = Table(
    "event",
    METADATA,
    Column("run", Integer, primary_key=True),
    Column("board", Words, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("kind", Words, nullable=False),
    Column("text", Words, nullable=False),
    Column("at", Double, nullable=False),
    Column("scenario", Words, nullable=False),
)

CALIBRATION = Table(
    "calibration",
    METADATA,
    Column("board", Words, primary_key=True),
    Column("firmware_sha256", Words, primary_key=True),
    Column("taken", Double, nullable=False),
    Column("fit", Text, nullable=False),
)

#: Which runs a night is made of, that several hosts share.
NIGHT_RUN = Table(
    "night_run",
    METADATA,
    Column("night", Text, primary_key=True),
    Column("uid", Text, primary_key=True),
)

#: Who has which board of a night: ``state`` is open, taken or done, ``uid`` the run of the one that has or had it,
#: ``beat`` when it was last heard of, by the database's clock, ``problem`` why a board that is done is an error.
NIGHT_BOARD = Table(
    "night_board",
    METADATA,
    Column("night", Text, primary_key=True),
    Column("board", Words, primary_key=True),
    Column("state", Text, nullable=False),
    Column("holder", Words, nullable=False),
    Column("uid", Text, nullable=False),
    Column("beat", Double, nullable=False),
    Column("problem", Words, nullable=False),
)

Index("run_by_time", RUN.c.started)
Index("scenario_by_name", SCENARIO.c.board, SCENARIO.c.suite, SCENARIO.c.name)
Index("series_of_board", SERIES.c.board)
Index("measurement_of_scenario", MEASUREMENT.c.scenario, MEASUREMENT.c.position)


def key_of(*words: str) -> int:
    """A key of 63 bits made of ``words``; among a million of them two are alike with a chance of 1 in 10 million."""
    digest = hashlib.sha256(json.dumps(words).encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


# -- the steps -----------------------------------------------------------------------------------

#: Versions 1 and 2 were SQLite's alone; new stores begin with version 3. Never change a step: add one.
_STEP_2 = """
    CREATE TABLE calibration (
        board TEXT, firmware_sha256 TEXT, taken REAL, fit TEXT, PRIMARY KEY (board, firmware_sha256))
"""
_STEP_3 = """
    CREATE TABLE run (
        id {serial}, uid TEXT NOT NULL UNIQUE, started DOUBLE PRECISION NOT NULL, finished DOUBLE PRECISION NOT NULL,
        command TEXT NOT NULL, environment TEXT NOT NULL);
    CREATE TABLE board (
        run INTEGER NOT NULL REFERENCES run (id), id TEXT NOT NULL, position INTEGER NOT NULL, chip TEXT NOT NULL,
        firmware_name TEXT NOT NULL, firmware_version TEXT NOT NULL, firmware_sha256 TEXT NOT NULL,
        firmware_line TEXT NOT NULL, problem TEXT NOT NULL, facts TEXT NOT NULL, PRIMARY KEY (run, id));
    CREATE TABLE scenario (
        id {serial}, run INTEGER NOT NULL REFERENCES run (id), board TEXT NOT NULL, position INTEGER NOT NULL,
        suite TEXT NOT NULL, name TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
        started DOUBLE PRECISION NOT NULL, seconds DOUBLE PRECISION NOT NULL, transcript TEXT NOT NULL,
        UNIQUE (run, board, position));
    CREATE TABLE series (
        id BIGINT NOT NULL PRIMARY KEY, board TEXT NOT NULL, suite TEXT NOT NULL, scenario TEXT NOT NULL,
        name TEXT NOT NULL, kind TEXT NOT NULL, unit TEXT NOT NULL);
    CREATE TABLE limit_applied (id BIGINT NOT NULL PRIMARY KEY, words TEXT NOT NULL, rule TEXT NOT NULL);
    CREATE TABLE measurement (
        series BIGINT NOT NULL REFERENCES series (id), scenario INTEGER NOT NULL REFERENCES scenario (id),
        position INTEGER NOT NULL, measured TEXT NOT NULL, reference TEXT NOT NULL,
        limit_applied BIGINT NOT NULL REFERENCES limit_applied (id), verdict TEXT NOT NULL, samples TEXT NOT NULL,
        PRIMARY KEY (series, scenario, position)){clustered};
    CREATE TABLE event (
        run INTEGER NOT NULL REFERENCES run (id), board TEXT NOT NULL, position INTEGER NOT NULL, kind TEXT NOT NULL,
        text TEXT NOT NULL, at DOUBLE PRECISION NOT NULL, scenario TEXT NOT NULL, PRIMARY KEY (run, board, position));
    CREATE TABLE calibration (
        board TEXT NOT NULL, firmware_sha256 TEXT NOT NULL, taken DOUBLE PRECISION NOT NULL, fit TEXT NOT NULL,
        PRIMARY KEY (board, firmware_sha256));
    CREATE INDEX run_by_time ON run (started);
    CREATE INDEX scenario_by_name ON scenario (board, suite, name);
    CREATE INDEX series_of_board ON series (board);
    CREATE INDEX measurement_of_scenario ON measurement (scenario, position)
"""
_STEP_4 = """
    ALTER TABLE limit_applied ADD COLUMN bounds TEXT NOT NULL DEFAULT 'null'
"""
#: Figures that were skipped have no value (JSON null) and a reason; older harnesses would fail over them.
_STEP_5 = """
    ALTER TABLE measurement ADD COLUMN reason TEXT NOT NULL DEFAULT ''
"""
_STEP_6 = """
    CREATE TABLE night_run (night TEXT NOT NULL, uid TEXT NOT NULL, PRIMARY KEY (night, uid));
    CREATE TABLE night_board (
        night TEXT NOT NULL, board TEXT NOT NULL, state TEXT NOT NULL, holder TEXT NOT NULL, uid TEXT NOT NULL,
        beat DOUBLE PRECISION NOT NULL, problem TEXT NOT NULL, PRIMARY KEY (night, board))
"""


def upgrade(connection: Connection, version: int) -> None:
    """Take a database from ``version`` (0: empty) to :data:`VERSION`, in the caller's transaction."""
    if version == 0:
        _execute(connection, _step_3(connection))
    else:
        if version < 2:
            _execute(connection, _STEP_2)
        if version < 3:
            _version_2_to_3(connection)
    if version < 4:
        _execute(connection, _STEP_4)
    if version < 5:
        _execute(connection, _STEP_5)
    if version < 6:
        _execute(connection, _STEP_6)


def _step_3(connection: Connection) -> str:
    if is_sqlite(connection):
        return _STEP_3.format(serial="INTEGER NOT NULL PRIMARY KEY", clustered=" WITHOUT ROWID")
    return _STEP_3.format(serial="INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", clustered="")


def _execute(connection: Connection, script: str) -> None:
    for statement in filter(str.strip, script.split(";\n")):
        connection.exec_driver_sql(statement)


def _version_2_to_3(connection: Connection) -> None:
    """Runs get a name of their own, figures their series, limits their table.

    The new names are made of what the old rows hold: two copies of one old file become the same runs, whichever
    host brings them up to date, and can be merged afterwards.
    """
    tables = ("run", "board", "scenario", "measurement", "calibration")
    for index in ("scenario_of_board", "measurement_of_scenario"):
        connection.exec_driver_sql(f"DROP INDEX {index}")
    for table in tables:
        connection.exec_driver_sql(f"ALTER TABLE {table} RENAME TO {table}_2")
    _execute(connection, _step_3(connection))
    for row in _rows(connection, "SELECT id, started, finished, command FROM run_2"):
        words = f"{row['id']} {row['started']!r} {row['command']}"
        uid = uuid.uuid5(uuid.NAMESPACE_OID, words).hex
        _insert(connection, "run", {**row, "uid": uid, "finished": row["finished"] or 0.0, "environment": "{}"})
    for row in _rows(connection, "SELECT * FROM board_2"):
        line = FirmwareRecord(row["firmware_name"] or "", "", "").line
        _insert(connection, "board", {**row, "firmware_line": line})
    scenario_sql = (
        "SELECT *, '' AS transcript, row_number() OVER (PARTITION BY run, board ORDER BY id) - 1 AS position "
        "FROM scenario_2 ORDER BY id"
    )
    places: dict[int, tuple[str, str, str]] = {}
    for row in _rows(connection, scenario_sql):
        places[row["id"]] = (row["board"], row["suite"], row["name"])
        _insert(connection, "scenario", row)
    for row in _rows(connection, "SELECT * FROM measurement_2"):
        place = places[row["scenario"]]
        series = series_row(*place, row["name"], row["kind"], row["unit"])
        limit = {"id": key_of(row["limit"], row["rule"]), "words": row["limit"], "rule": row["rule"]}
        _insert(connection, "series", series, new=True)
        _insert(connection, "limit_applied", limit, new=True)
        kept = {k: row[k] for k in ("scenario", "position", "measured", "reference", "verdict", "samples")}
        _insert(connection, "measurement", {**kept, "series": series["id"], "limit_applied": limit["id"]})
    for row in _rows(connection, "SELECT * FROM calibration_2"):
        _insert(connection, "calibration", row)
    for table in reversed(tables):
        connection.exec_driver_sql(f"DROP TABLE {table}_2")


def series_row(board: str, suite: str, scenario: str, name: str, kind: str, unit: str) -> dict[str, Any]:
    fields = {"board": board, "suite": suite, "scenario": scenario, "name": name, "kind": kind, "unit": unit}
    return {"id": key_of(*fields.values()), **fields}


def limit_row(words: str, rule: str, bounds: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Without ``bounds`` the key is that of version 3, so that stores of both agree about it."""
    named = (words, rule) if bounds is None else (words, rule, json.dumps(bounds, sort_keys=True))
    return {"id": key_of(*named), "words": words, "rule": rule, "bounds": bounds}


def _rows(connection: Connection, sql: str) -> list[dict[str, Any]]:
    return [dict(row) for row in connection.execute(text(sql)).mappings()]


def _insert(connection: Connection, table: str, row: Mapping[str, Any], *, new: bool = False) -> None:
    names = ", ".join(row)
    values = ", ".join(f":{name}" for name in row)
    connection.execute(text(f"INSERT {'OR IGNORE ' if new else ''}INTO {table} ({names}) VALUES ({values})"), dict(row))
