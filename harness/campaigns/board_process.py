"""The process of one board in a run: pytest, in a fork of a process that has imported what all of them need.

A process for each board, because esptool has one logger a process and because a board that hangs must not hold up the
others. Importing pytest, the schema, the store's library and the engine takes far more of a processor than collecting
the scenarios does; a fork server imports them once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from types import MappingProxyType

from harness.children import interrupted_with_parent

#: What every board's process needs, imported once. No thread may run in the server, so nothing here starts one.
PRELOADED = ("harness.campaigns.preloaded",)


def context() -> ForkServerContext:
    """The fork server's context; the server itself starts with the first process, or with :func:`warm_up`."""
    made = multiprocessing.get_context("forkserver")
    made.set_forkserver_preload(list(PRELOADED))
    return made


def warm_up() -> None:
    """Have the fork server import what it imports while this process does something else. Returns at once."""
    context()
    from multiprocessing import forkserver

    # Ctrl-C at a terminal reaches all that was started from there; the server ends with this process, without a word.
    ours = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if ours else None
    try:
        forkserver.ensure_running()
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)


#: Names the store to a board's process: an address can hold a password, which is not for arguments.
STORE = "HARNESS_STORE_OF_RUN"


class BoardProcess:
    """pytest with ``arguments``, its output in ``log``; ``events`` is a descriptor to read what it tells.

    The process leads a session of its own: Ctrl-C at a terminal reaches its parent alone, which ends it in order.
    """

    def __init__(
        self,
        arguments: list[str],
        log: Path,
        *,
        environment: Mapping[str, str] = MappingProxyType({}),
        measure: bool = False,
    ) -> None:
        """``environment`` is added to this process's; with ``measure`` the log ends with the CPU seconds that the
        process took."""
        self._reader, writer = multiprocessing.Pipe(duplex=False)
        self._process: ForkServerProcess = context().Process(
            target=_run_pytest,
            args=(arguments, writer, str(log), {**os.environ, **environment}, str(Path.cwd()), measure),
        )
        self._process.start()
        writer.close()
        self.events = self._reader.fileno()
        os.set_blocking(self.events, False)

    def interrupt(self) -> None:
        """What Ctrl-C does: pytest ends its session, ports and locks are given back."""
        if self._process.pid is not None and self._process.is_alive():
            os.kill(self._process.pid, signal.SIGINT)

    def wait(self, seconds: float) -> int | None:
        """Its exit code; None when it has not ended after ``seconds``. A signal that ended it is negative."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()

    def close(self) -> None:
        self._reader.close()


def _run_pytest(
    arguments: list[str], events: Connection, log: str, environment: dict[str, str], folder: str, measure: bool
) -> None:
    """In the board's process: stands where ``python -m pytest`` would have stood."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    # As soon as the fork server is gone, which ends with the run, however that ended; the log has the words of it.
    interrupted_with_parent()
    import pytest

    # What the server has imported is not rewritten, and need not be: nothing there asserts on behalf of a test.
    quiet = ("-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning")
    code = int(pytest.main([*arguments, *quiet, "--harness-events", str(events.fileno())]))
    if measure:
        print(f"{time.process_time():.3f}")
    sys.stdout.flush()
    sys.stderr.flush()
    sys.exit(code)
