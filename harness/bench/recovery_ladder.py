"""The way back to a board that does not answer: from the gentlest step to the hardest, no further than needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.errors import BenchFault, HarnessError
from harness.link.deadline import Deadline

#: What a whole recovery may cost, in seconds.
BUDGET = 120.0


@dataclass(frozen=True)
class Rung:
    """``climb`` raises HarnessError when it did not help; it is given ``limit`` seconds."""

    name: str
    limit: float
    climb: Callable[[], None]


def climb(
    rungs: Sequence[Rung],
    bounded: Callable[[Deadline], AbstractContextManager[object]],
    told: Callable[[str], None],
    *,
    budget: float = BUDGET,
) -> str:
    """Try ``rungs`` in order until one helps; returns its name. ``told`` hears of each before it is tried.

    ``bounded`` makes everything inside it end at a deadline. Raises BenchFault with what each step came to when none
    helped, or when ``budget`` seconds are over.
    """
    end = Deadline(budget)
    said = []
    for rung in rungs:
        if end.passed:
            said.append(f"the budget of {budget:g} s was over before '{rung.name}'")
            break
        told(rung.name)
        try:
            with bounded(end.at_most(rung.limit)):
                rung.climb()
        except HarnessError as problem:
            said.append(f"{rung.name}: {problem.message[:160]}")
        else:
            return rung.name
    raise BenchFault(
        f"the board could not be recovered. {'; '.join(said) or 'There is no way to'}",
        hint="look at its power, its cable and its adapter",
    )
