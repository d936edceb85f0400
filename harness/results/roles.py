"""Who may do what in a store on a PostgreSQL server: a reader reads, a writer adds runs and cannot take any away.

Taking runs out, bringing the store up to date and granting are left to the role that made the store.
"""

from __future__ import annotations

from sqlalchemy.exc import ProgrammingError

from harness.errors import UsageError
from harness.results.store import Store
from harness.results.store_schema import BOARD, CALIBRATION, METADATA, NIGHT_BOARD, RUN

_TABLES = (*METADATA.tables, "store_version")
#: What a run changes after it has been added: its end, what is known of its boards, their newest calibrations, and who
#: has which board of a night that hosts share.
_CHANGED = (
    f"UPDATE (finished) ON {RUN.name}",
    *(f"UPDATE ON {table.name}" for table in (BOARD, CALIBRATION, NIGHT_BOARD)),
)

_OWNS = "SELECT pg_has_role(tableowner, 'USAGE') FROM pg_tables WHERE tablename = 'run' AND schemaname = 'public'"


def grants(readers: tuple[str, ...] = (), writers: tuple[str, ...] = ()) -> list[str]:
    """The statements, each in one line, that give these roles what they need and take from them what they do not."""
    every = ", ".join(_TABLES)
    statements = ["REVOKE CREATE ON SCHEMA public FROM PUBLIC"]  # everybody's before PostgreSQL 15
    for name in (*readers, *writers):
        statements += [f"REVOKE ALL ON {every} FROM {_quoted(name)}", f"GRANT SELECT ON {every} TO {_quoted(name)}"]
    for name in writers:
        statements.append(f"GRANT INSERT ON {', '.join(METADATA.tables)} TO {_quoted(name)}")
        statements += [f"GRANT {what} TO {_quoted(name)}" for what in _CHANGED]
    return statements


def grant(store: Store, statements: list[str]) -> None:
    """Execute them, all or none. Raises UsageError for a role that is not there, and when this one may not grant."""
    try:
        with store.database.writing() as connection:
            # A grant by somebody who may grant nothing is a mere warning of the server's.
            if not connection.exec_driver_sql(_OWNS).scalar_one():
                raise UsageError(
                    f"{store.name}: this role did not make the store and may not grant anything",
                    hint="name the one that did in --store postgresql://owner@host/name",
                )
            for statement in statements:
                try:
                    connection.exec_driver_sql(statement)
                except ProgrammingError as problem:
                    if getattr(problem.orig, "sqlstate", "") != "42704":  # undefined_object
                        raise
                    raise _NoRole(str(problem.orig)) from None
    except _NoRole as problem:
        raise UsageError(
            f"{store.name}: {problem}", hint="the server's administrator makes it: CREATE ROLE name LOGIN PASSWORD '…'"
        ) from None


class _NoRole(Exception):
    """A role that the server does not know."""


def _quoted(name: str) -> str:
    if not name or "\0" in name:
        raise UsageError(f"{name!r} is no name of a role")
    return '"' + name.replace('"', '""') + '"'
