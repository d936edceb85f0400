"""What happened in a run, in order: at which metered cost, at which moment, and what.

Nothing of the host enters it, so that two traces of one program are equal to the byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

#: A trace keeps this many events; further ones are only counted.
TRACE_LIMIT = 100_000


@dataclass(frozen=True)
class Event:
    """``cost`` in instructions since the last reset, ``time_ns`` since power-on."""

    cost: int
    time_ns: int
    what: str

    def __str__(self) -> str:
        return f"{self.cost:>12} {self.time_ns // 1000:>12}.{self.time_ns % 1000:03} us  {self.what}"


class Trace:
    """The events of a reference VM since it was made, or since :meth:`clear`."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self.dropped = 0

    def add(self, cost: int, time_ns: int, what: str) -> None:
        if len(self._events) < TRACE_LIMIT:
            self._events.append(Event(cost, time_ns, what))
        else:
            self.dropped += 1

    def clear(self) -> None:
        self._events.clear()
        self.dropped = 0

    def matching(self, text: str) -> list[Event]:
        """The events whose description contains ``text``."""
        return [event for event in self._events if text in event.what]

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __str__(self) -> str:
        lines = [str(event) for event in self._events]
        if self.dropped:
            lines.append(f"... and {self.dropped} more events")
        return "\n".join(lines)
