"""A point in time that waits are given, so that the waits inside a wait share one end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_clock: Callable[[], float] = time.monotonic


@contextmanager
def driven_by(clock: Callable[[], float]) -> Iterator[None]:
    """Inside, all deadlines of this process go by ``clock`` (seconds): for replaying a conversation."""
    global _clock
    before, _clock = _clock, clock
    try:
        yield
    finally:
        _clock = before


class Deadline:
    """``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = _clock() + seconds

    @classmethod
    def of(cls, limit: float | Deadline) -> Deadline:
        """``limit`` itself, or a new one for a number of seconds."""
        return limit if isinstance(limit, Deadline) else cls(limit)

    @property
    def left(self) -> float:
        """Seconds that remain, never negative."""
        return max(0.0, self._end - _clock())

    @property
    def passed(self) -> bool:
        return self.left == 0.0

    def at_most(self, seconds: float) -> Deadline:
        """A part of this one: ``seconds`` from now, or this one's end if that comes first."""
        return Deadline(min(seconds, self.left))
