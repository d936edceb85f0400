"""A store's database: opened by path (SQLite) or by URL (PostgreSQL), brought to the present version, told apart
from databases of something else."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, Insert, Table, create_engine, event, inspect
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from harness.errors import BenchFault, HarnessError, UsageError
from harness.no_secrets import without_secrets
from harness.results.store_schema import VERSION, is_sqlite, upgrade

#: How long a writer waits for another one, in seconds.
BUSY_SECONDS = 20.0
#: The advisory lock under which PostgreSQL lets one process at a time make the tables; any number that stays.
_OPENING = 0x76_6D_68

#: A file, or the URL of a PostgreSQL database.
Location = Path | str


def location(option: str, default: Path) -> Location:
    """What ``--store`` names: a URL when it looks like one, else a file; ``default`` when it is empty."""
    if "://" in option:
        return option
    return Path(option) if option else default


#: How SQLite says that a file is one of its own, and cannot be read or written whole (sqlite.org, "Result and Error
#: Codes": SQLITE_CORRUPT, SQLITE_FULL, SQLITE_IOERR).
_DAMAGED = ("malformed", "disk is full", "disk I/O error")


#: How a PostgreSQL server says that it is going, starting or not there: classes and codes of its errors (documentation,
#: appendix A), and the words of its client library, which has no code for what it could not reach.
_AWAY_CODES = ("08", "57P01", "57P02", "57P03")
_AWAY_WORDS = (
    "connection refused", "no such file or directory", "timeout expired", "timed out", "connection timeout",
    "server closed the connection", "no route to host", "network is unreachable", "connection reset",
    "could not receive", "terminating connection", "is starting up", "is shutting down", "consuming input failed",
    "the connection is closed",
)  # fmt: skip


class ServerAway(BenchFault):
    """The store's server cannot be reached, or went in the middle: it may be back later."""


def _is_away(problem: Exception) -> bool:
    """Whether it is the server that is not there, and not the store that is wrong."""
    if not isinstance(problem, DBAPIError) or isinstance(problem.orig, sqlite3.Error):
        return False
    if problem.connection_invalidated:
        return True
    code = getattr(problem.orig, "sqlstate", None)
    if code:
        return str(code).startswith(_AWAY_CODES)
    return any(words in str(problem.orig).lower() for words in _AWAY_WORDS)


def _is_refused(problem: Exception) -> bool:
    """Whether the server does not let this role do it (SQLSTATE insufficient_privilege)."""
    return isinstance(problem, DBAPIError) and getattr(problem.orig, "sqlstate", "") == "42501"


class Database:
    """Raises UsageError when it cannot be opened or belongs to something else; nothing is written then.

    Writing transactions of one database follow one another; readers see the last finished one and wait for nobody.
    """

    def __init__(self, where: Location) -> None:
        self.name = without_secrets(str(where))
        try:
            url = _url(where)
            self.name = (
                without_secrets(url.render_as_string(hide_password=True)) if isinstance(where, str) else str(where)
            )
            self._engine = _engine(url)
            # SQLite reads a snapshot of itself; PostgreSQL is to be asked for one.
            self._snapshot: dict[str, Any] = (
                {} if self._engine.dialect.name == "sqlite" else {"isolation_level": "REPEATABLE READ"}
            )
        except (SQLAlchemyError, OSError, ImportError, ValueError) as problem:
            raise self._unusable(problem) from None
        try:
            self._open()
        except UsageError:
            self._engine.dispose()
            raise
        except (SQLAlchemyError, sqlite3.Error, ValueError, TypeError) as problem:
            self._engine.dispose()
            raise self._unusable(problem) from None

    def _open(self) -> None:
        with self._engine.connect() as connection:
            if self._version(connection) == VERSION:
                return
        with self._writing() as connection:
            if not is_sqlite(connection):
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_OPENING})")
            version = self._version(connection)  # again: another process may have been quicker
            if version < VERSION:
                upgrade(connection, version)
                _set_version(connection)
        if self._engine.dialect.name == "sqlite":
            with self._engine.connect() as connection:
                # Outside of a transaction, and never for a database of something else: the mode stays in the file.
                driver = connection.connection.driver_connection
                assert driver is not None
                connection.rollback()
                driver.execute("PRAGMA journal_mode=WAL")

    def _version(self, connection: Connection) -> int:
        tables = set(inspect(connection).get_table_names())
        if is_sqlite(connection):
            version = int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())
            foreign = (version == 0 and tables) or (version > 0 and not {"run", "board", "scenario"} <= tables)
        elif "store_version" in tables:
            version, foreign = int(connection.exec_driver_sql("SELECT version FROM store_version").scalar_one()), False
        else:
            version, foreign = 0, bool(tables)
        if foreign:
            raise UsageError(f"{self.name} is a database of something else", hint="name another store with --store")
        if version > VERSION:
            raise UsageError(
                f"{self.name} has version {version}, this harness knows versions up to {VERSION}",
                hint="use the harness that wrote it, or name another store with --store",
            )
        return version

    def _unusable(self, problem: Exception) -> HarnessError:
        if any(sign in str(problem) for sign in _DAMAGED) or isinstance(problem, UnicodeError):
            return BenchFault(
                f"{self.name}: the store is damaged, or its disk is full: {_cause(problem)}",
                hint="make room; move a damaged file away, 'sqlite3 FILE .recover' may save what is in it",
            )
        if _is_refused(problem):
            return self._refused(problem)
        if _is_away(problem):
            return ServerAway(
                f"{self.name}: the store's server cannot be reached: {_cause(problem)}",
                hint="is it running, and is its address right?",
            )
        if isinstance(problem, ImportError):
            return UsageError(
                f"{self.name}: PostgreSQL needs a driver that is not installed",
                hint="pip install 'vm-harness[postgresql]'",
            )
        return UsageError(
            f"{self.name} cannot be used as results store: {_cause(problem)}",
            hint="name a file on a local disk that you may write, or postgresql://user@host/database, with --store",
        )

    def _refused(self, problem: Exception) -> UsageError:
        return UsageError(
            f"{self.name}: the server does not let this role do that: {_cause(problem)}",
            hint="readers read, writers add runs, the role that made the store does everything ('harness store grant')",
        )

    def must_take_runs(self) -> None:
        """Raises UsageError when this role may read the store alone."""
        if self._engine.dialect.name == "sqlite":
            return
        with self.reading() as connection:
            if not connection.exec_driver_sql("SELECT has_table_privilege('run', 'INSERT')").scalar_one():
                raise UsageError(
                    f"{self.name}: this role may read the store and add no runs",
                    hint="name a writer's role in --store, or have it made one by 'harness store grant --writer NAME'",
                )

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        with self._engine.connect().execution_options(writing=True) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction; on disk when this ends. Raises BenchFault when it cannot be, UsageError when the server does
        not let this role."""
        try:
            with self._writing() as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error, ValueError) as problem:
            if _is_refused(problem):
                raise self._refused(problem) from None
            kind = ServerAway if _is_away(problem) else BenchFault
            raise kind(
                f"{self.name}: the result could not be stored: {_cause(problem)}",
                hint="is the disk full, the server gone, or does another program hold the file?",
            ) from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One state of the database, however long it is read. Raises BenchFault when it cannot be read."""
        try:
            with self._engine.connect().execution_options(**self._snapshot) as connection:
                yield connection
        except (SQLAlchemyError, sqlite3.Error, ValueError, TypeError) as problem:
            if _is_away(problem) or _is_refused(problem):
                raise self._unusable(problem) from None
            raise BenchFault(
                f"{self.name}: results cannot be read, the store is damaged or gone: {_cause(problem)}",
                hint="move a damaged file away; 'sqlite3 FILE .recover' may save what is in it",
            ) from None

    def close(self) -> None:
        self._engine.dispose()


def _url(where: Location) -> URL:
    if isinstance(where, Path):
        where.parent.mkdir(parents=True, exist_ok=True)
        return URL.create("sqlite", database=str(where))
    url = make_url(where)
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.drivername != "postgresql+psycopg":
        raise ValueError(f"{url.drivername}: is not supported")
    return url


def _engine(url: URL) -> Engine:
    if url.get_backend_name() == "postgresql":
        engine = create_engine(url, pool_pre_ping=True, connect_args={"connect_timeout": int(BUSY_SECONDS)})
        event.listen(engine, "connect", _planned_for_a_store)
        return engine
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver is not to begin transactions of its own
        connection.execute("PRAGMA synchronous=FULL")  # what has been recorded survives a power cut

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        writing = connection.get_execution_options().get("writing")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _planned_for_a_store(connection: Any, _record: object) -> None:
    """How the server is to plan for this connection: short questions, which indices answer out of memory. With its
    defaults (for disks that turn) it reads tables whole where a hundred rows are asked for, and compiles for longer
    than it would take."""
    connection.execute("SELECT set_config('random_page_cost', '1.1', false), set_config('jit', 'off', false)")
    connection.commit()


def _set_version(connection: Connection) -> None:
    if is_sqlite(connection):
        connection.exec_driver_sql(f"PRAGMA user_version={VERSION}")
        return
    connection.exec_driver_sql("CREATE TABLE IF NOT EXISTS store_version (version INTEGER NOT NULL)")
    connection.exec_driver_sql("DELETE FROM store_version")
    connection.exec_driver_sql(f"INSERT INTO store_version VALUES ({VERSION})")


def _dialect(connection: Connection) -> Any:
    """SQL of the database's own; PostgreSQL's is loaded only for a store that is there."""
    if is_sqlite(connection):
        return sqlite
    from sqlalchemy.dialects import postgresql

    return postgresql


def insert_new(connection: Connection, table: Table) -> Insert:
    """INSERT of what is not there yet, by primary key."""
    dialect = _dialect(connection)
    return dialect.insert(table).on_conflict_do_nothing()  # type: ignore[no-any-return]


def upsert(connection: Connection, table: Table) -> Insert:
    """INSERT, or UPDATE of the row with the same primary key."""
    dialect = _dialect(connection)
    statement = dialect.insert(table)
    keys = [column.name for column in table.primary_key]
    values = {c.name: statement.excluded[c.name] for c in table.columns if c.name not in keys}
    return statement.on_conflict_do_update(index_elements=keys, set_=values)  # type: ignore[no-any-return]


def _cause(problem: Exception) -> str:
    cause = problem.orig if isinstance(problem, DBAPIError) and problem.orig else problem
    return " ".join(str(cause).split())[:300]
