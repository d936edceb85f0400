"""Waiting for a port that has gone, or is not there yet."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from harness.errors import BenchFault, FinalFault, PortBusy
from harness.link.deadline import Deadline

_T = TypeVar("_T")

#: Seconds between two looks. A port appears when it appears: not every system tells when that changes.
_INTERVAL = 0.05


def until_there(attempt: Callable[[], _T], end: Deadline, *, sleep: Callable[[float], None] = time.sleep) -> _T:
    """What ``attempt`` returns, once it does; it is made at least once.

    Raises the BenchFault of the last attempt when ``end`` has passed, and a FinalFault at once, but for a busy port.
    """
    while True:
        try:
            return attempt()
        except BenchFault as problem:
            if end.passed or (isinstance(problem, FinalFault) and not isinstance(problem, PortBusy)):
                raise
        sleep(_INTERVAL)
