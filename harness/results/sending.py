"""Results for a server: kept in the local store as they come, and sent from there.

A server that is restarted, or away for a night, costs no result and ends no run. A run that is not in yet has a file of
its name in the state folder's ``unsent``; whoever sends next takes it along.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

from sqlalchemy import select

from harness.errors import BenchFault, HarnessError
from harness.no_secrets import without_secrets
from harness.paths import made
from harness.results.database import Location, ServerAway
from harness.results.exchange import Imported, calibration_lines, export_lines, import_lines
from harness.results.store import Store
from harness.results.store_schema import BOARD, RUN, SCENARIO

#: How often a run that goes on is sent, in seconds, where something has come.
_EVERY = 15.0
#: How long a server is waited for, in seconds: at the end of a run, and after Ctrl-C.
PATIENCE, SHORT_PATIENCE = 60.0, 5.0
_BETWEEN_TRIES = 1.0
#: A run without an end that began longer ago than this does not go on, in seconds.
_LONGEST = 86_400.0
_UID = re.compile(r"[0-9a-f]{32}")


class NotSent(BenchFault):
    """The run is in the local store ``kept`` under the number ``run``, and the server's store has not all of it."""

    def __init__(self, run: int, kept: Path, server: str, reason: str) -> None:
        super().__init__(
            f"the results are kept in {kept}, as run {run}, and are not all in {server}: {reason}",
            hint="'harness store send --store …' sends them when the server is back; so does the next run",
        )
        self.run = run
        self.kept = kept


def kept_in(where: Location, state: Path) -> Path:
    """The store that a run's results go into first: the one it was given, or the local one of a server's."""
    return where if isinstance(where, Path) else state / "results.sqlite"


# -- what is not in yet --------------------------------------------------------------------------


def _book(state: Path) -> Path:
    return state / "unsent"


def remember(state: Path, uid: str, where: str) -> None:
    """The run ``uid`` belongs into the store ``where``, and is not in it."""
    (made(_book(state)) / uid).write_text(without_secrets(where) + "\n", "utf-8")


def unsent(state: Path, where: str) -> list[str]:
    """The runs that belong into ``where``."""
    found = []
    for file in sorted(_book(state).glob("*")):
        if _UID.fullmatch(file.name) and file.read_text("utf-8", "replace").strip() == without_secrets(where):
            found.append(file.name)
    return found


# -- sending -------------------------------------------------------------------------------------


def send(local: Store, where: str, state: Path, *, only: str = "", patience: float = 0.0) -> Imported:
    """Send what ``where`` has not (``only``: of that run alone); again changes nothing. What is in and will not grow is
    forgotten in ``unsent``.

    Raises ServerAway when the server cannot be reached for ``patience`` seconds, UsageError for a store that is none.
    """
    end = time.monotonic() + patience
    while True:
        try:
            return _send(local, where, state, only)
        except ServerAway:
            if time.monotonic() >= end:
                raise
            time.sleep(_BETWEEN_TRIES)


def _send(local: Store, where: str, state: Path, only: str) -> Imported:
    asked = [uid for uid in unsent(state, where) if only in ("", uid)]
    numbers = {uid: number for uid in asked if (number := _number_of(local, uid)) is not None}
    runs = {uid: local.load_run(number, figures=False) for uid, number in numbers.items()}
    boards = {board.id for run in runs.values() for board in run.boards}
    target = Store(where)
    try:
        lines = chain(export_lines(local, numbers.values()), calibration_lines(local, boards))
        report = import_lines(target, lines, source=local.name, origin=True)
    finally:
        target.close()
    for uid in asked:
        run = runs.get(uid)
        if run is None or not run.interrupted or run.started < time.time() - _LONGEST:
            (_book(state) / uid).unlink(missing_ok=True)
    return report


def _number_of(store: Store, uid: str) -> int | None:
    with store.database.reading() as connection:
        number = connection.execute(select(RUN.c.id).where(RUN.c.uid == uid)).scalar()
    return None if number is None else int(number)


def fetch(local: Store, where: str, boards: Iterable[str]) -> None:
    """What scenarios of ``boards`` look back at: their calibrations, and the newest run of each that has times.

    Raises as :func:`send`.
    """
    asked = list(boards)
    server = Store(where)
    try:
        newest = {run for board in asked if (run := _newest_with_times(server, board)) is not None}
        import_lines(local, chain(export_lines(server, newest), calibration_lines(server, asked)), source=server.name)
    finally:
        server.close()


def _newest_with_times(store: Store, board: str) -> int | None:
    query = (
        select(RUN.c.id)
        .join(SCENARIO, SCENARIO.c.run == RUN.c.id)
        .join(BOARD, (BOARD.c.run == RUN.c.id) & (BOARD.c.id == SCENARIO.c.board))
        .where(SCENARIO.c.board == board, SCENARIO.c.suite == "calibration", RUN.c.finished > 0)
        .order_by(RUN.c.started.desc())
        .limit(1)
    )
    with store.database.reading() as connection:
        number = connection.execute(query).scalar()
    return None if number is None else int(number)


class Sending:
    """Sends a run while it goes on, from a thread of its own, so that a slow server keeps no board waiting."""

    def __init__(self, local: Path, where: str, state: Path) -> None:
        self._local, self._where, self._state = local, where, state
        self._news = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="sending", daemon=True)
        self._uid = ""
        self._one_at_a_time = threading.Lock()

    def begin(self, boards: Iterable[str]) -> str:
        """Fetch what the run looks back at, and send what earlier ones left. "", or why the server is not there.

        Raises UsageError for a store that cannot be one.
        """
        away = ""
        local = Store(self._local)
        try:
            fetch(local, self._where, boards)
            send(local, self._where, self._state)
        except ServerAway as problem:
            away = problem.message
        finally:
            local.close()
        self._thread.start()
        return away

    def begun(self, uid: str) -> None:
        """The run that goes on."""
        self._uid = uid
        remember(self._state, uid, self._where)

    def news(self) -> None:
        """Something has been recorded."""
        self._news.set()

    def now(self) -> None:
        """Send what has come, and wait for it. Raises as :func:`send`."""
        local = Store(self._local)
        try:
            with self._one_at_a_time:
                send(local, self._where, self._state, only=self._uid)
        finally:
            local.close()

    def stop(self) -> None:
        """Send no more."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def end(self, run: int, patience: float) -> int:
        """Send the rest. The run's number in the server's store; NotSent when it cannot be reached."""
        self.stop()
        local = Store(self._local)
        try:
            send(local, self._where, self._state, patience=patience)
            uid = local.load_run(run, figures=False).uid
            target = Store(self._where)
            number = _number_of(target, uid)
            target.close()
        except HarnessError as problem:
            raise NotSent(run, self._local, without_secrets(self._where), problem.message) from None
        finally:
            local.close()
        assert number is not None
        return number

    def _go_on(self) -> None:
        local: Store | None = None
        while not self._over.wait(_EVERY):
            if not self._news.is_set():
                continue
            self._news.clear()
            try:
                local = local or Store(self._local)
                with self._one_at_a_time:
                    send(local, self._where, self._state, only=self._uid)
            except HarnessError:
                self._news.set()  # it is tried again, and told at the end
        if local is not None:
            local.close()
