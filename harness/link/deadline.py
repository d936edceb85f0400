"""A point in time that waits are given, so that the waits inside a wait share one end."""

from __future__ import annotations

import time


class Deadline:
    """``seconds`` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @classmethod
    def of(cls, limit: float | Deadline) -> Deadline:
        """``limit`` itself, or a new one for a number of seconds."""
        return limit if isinstance(limit, Deadline) else cls(limit)

    @property
    def left(self) -> float:
        """Seconds that remain, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def passed(self) -> bool:
        return self.left == 0.0

    def at_most(self, seconds: float) -> Deadline:
        """A part of this one: ``seconds`` from now, or this one's end if that comes first."""
        return Deadline(min(seconds, self.left))
