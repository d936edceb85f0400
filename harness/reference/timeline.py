"""What will happen when: a queue of moments, in nanoseconds of virtual time since power-on.

Moments that fall together happen in the order in which they were put in.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol


class Metered(Protocol):
    """A VM by whose work the clock goes on."""

    @property
    def cost(self) -> int:
        """Executed instructions since its start."""
        ...


@dataclass(order=True)
class Moment:
    at_ns: int
    order: int
    action: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)


class Timeline:
    def __init__(self) -> None:
        self._moments: list[Moment] = []
        self._order = itertools.count()

    def at(self, at_ns: int, action: Callable[[], None]) -> Moment:
        """Call ``action`` when the clock has reached ``at_ns``."""
        moment = Moment(at_ns, next(self._order), action)
        heapq.heappush(self._moments, moment)
        return moment

    def cancel(self, moment: Moment | None) -> None:
        if moment is not None:
            moment.cancelled = True

    @property
    def next_due(self) -> int | None:
        """When the next thing happens; None: nothing ever will."""
        while self._moments and self._moments[0].cancelled:
            heapq.heappop(self._moments)
        return self._moments[0].at_ns if self._moments else None

    def run_due(self, now_ns: int) -> int:
        """Do what is due by ``now_ns``; returns how much that was.

        What an action puts in for the same moment is done as well.
        """
        done = 0
        while (due := self.next_due) is not None and due <= now_ns:
            heapq.heappop(self._moments).action()
            done += 1
        return done


#: Nanoseconds per executed WebAssembly instruction. Any constant would do, since a board's calibration
#: scales it; this one makes the reference about as fast as a small board.
NS_PER_INSTRUCTION = 25


class Clock:
    """Virtual time: what the VM has executed, plus what it has waited, plus what was before the last reset.

    ``pace`` is the length of one executed instruction in nanoseconds.
    """

    def __init__(self, pace: int = NS_PER_INSTRUCTION) -> None:
        self._pace = pace
        self._origin_ns = 0
        self._waited_ns = 0
        self._machine: Metered | None = None

    def start(self, machine: Metered) -> None:
        """A VM starts; from here its metered cost drives the clock."""
        self.stop()
        self._machine = machine

    def stop(self) -> None:
        """The VM has ended: time stands still but for :meth:`pass_until`."""
        self._origin_ns = self.now_ns
        self._waited_ns = 0
        self._machine = None

    @property
    def cost(self) -> int:
        """Instructions executed since the VM's start."""
        return self._machine.cost if self._machine else 0

    @property
    def waited_ns(self) -> int:
        """How much of the time since the VM's start it has waited."""
        return self._waited_ns

    @property
    def since_start_ns(self) -> int:
        """What a guest's monotonic clock shows: it starts from 0 at a reset."""
        return self.cost * self._pace + self._waited_ns

    @property
    def now_ns(self) -> int:
        """Time since the first power-on."""
        return self._origin_ns + self.since_start_ns

    def pass_until(self, moment_ns: int) -> None:
        """Wait; a moment that has gone by is no wait."""
        self._waited_ns += max(0, moment_ns - self.now_ns)

    def pass_for(self, duration_ns: int) -> None:
        """Wait for so long."""
        self._waited_ns += duration_ns

    def cost_at(self, moment_ns: int) -> int:
        """The cost at which the clock will show ``moment_ns``, if nothing waits until then."""
        return self.cost + max(0, -(-(moment_ns - self.now_ns) // self._pace))
