"""How unevenly the way to a board and back takes its time: an adapter, a hub, a network, and this host.

A duration that the host measures begins and ends with bytes that arrive. What their ways differ by is in it, and no
board can help that, so it is measured and counted in the figure's uncertainty.
"""

from __future__ import annotations

import time
from typing import Protocol, runtime_checkable

from harness.runtimes.interface import Runtime

#: Round trips that are timed. Each is two ways, so that their spread is hardly less than that of one way.
ROUND_TRIPS = 12


@runtime_checkable
class AnswersAtOnce(Protocol):
    """A client that can have its board answer without running anything."""

    def round_trip(self) -> None:
        """Ask something that is answered at once, and wait for that. Raises BenchFault when nothing comes."""
        ...


def line_jitter(runtime: Runtime, *, trips: int = ROUND_TRIPS) -> float:
    """Seconds by which the slowest of some round trips was later than the quickest."""
    taken = []
    for _ in range(trips):
        started = time.perf_counter()
        if isinstance(runtime, AnswersAtOnce):
            runtime.round_trip()
        else:
            runtime.run("")
        taken.append(time.perf_counter() - started)
    return max(taken) - min(taken)
