"""An emulator with its console on a pseudo-terminal; ended with the process that started it, however that ends."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from .tools import Unavailable, require

#: How long an emulator may take to name its pseudo-terminal, in seconds.
_START = 20.0


class Emulator(NamedTuple):
    """One that runs: the path of the board's console, and the number of its process."""

    port: str
    process: int


@contextmanager
def emulated(command: Sequence[str]) -> Iterator[Emulator]:
    """Run ``command``, which names its pseudo-terminal as QEMU does.

    Raises Unavailable when it does not.
    """
    require((command[0], "setpriv"))
    # The kernel ends it when this thread is gone, also when a signal ended it that nobody can catch.
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        bufsize=0,
    ) as process:
        try:
            yield Emulator(_console(process), process.pid)
        finally:
            process.kill()


@contextmanager
def late_host(process: int, *, late: float, every: float) -> Iterator[None]:
    """Meanwhile the emulator does not run for ``late`` of every ``every`` seconds, as beside another process."""
    over = threading.Event()

    def pause() -> None:
        while not over.wait(every - late):
            os.kill(process, signal.SIGSTOP)
            over.wait(late)
            os.kill(process, signal.SIGCONT)

    thread = threading.Thread(target=pause, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _console(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    said, end = b"", time.monotonic() + _START
    while (left := end - time.monotonic()) > 0:
        if not select.select([process.stdout], [], [], left)[0]:
            break
        part = process.stdout.read(4096)
        if not part:
            break
        said += part
        if named := re.search(rb"(/dev/pts/\d+)\s", said):
            return named[1].decode()
    raise Unavailable(f"it named no pseudo-terminal within {_START:g} s; came {said[-500:]!r}")
