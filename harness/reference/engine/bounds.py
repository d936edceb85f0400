"""Bounds for a process that runs somebody's program."""

from __future__ import annotations

import contextlib
import resource


def bound(pid: int, *, memory: int, file_size: int) -> None:
    """Bound a process that was just started: address space and the size of any file it writes, both in bytes.

    Set from outside and not between fork and exec, where nothing may be done in a process with threads. A process
    that has ended already is left alone.
    """
    limits = ((resource.RLIMIT_AS, memory), (resource.RLIMIT_FSIZE, file_size), (resource.RLIMIT_CORE, 0))
    for kind, amount in limits:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, kind, (amount, amount))
