"""From the gentlest step to the hardest, no further than needed: the way back to a board that does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from harness.errors import BenchFault, FinalFault, HarnessError, PlaceLost
from harness.link.deadline import Deadline

#: What a whole recovery may cost, in seconds.
BUDGET = 120.0


@dataclass(frozen=True)
class RecoveryStep:
    """``attempt`` raises HarnessError when it did not help; it is given ``limit`` seconds."""

    name: str
    limit: float
    attempt: Callable[[], None]


def escalate(
    steps: Sequence[RecoveryStep],
    bounded: Callable[[Deadline], AbstractContextManager[object]],
    told: Callable[[str], None],
    *,
    budget: float = BUDGET,
) -> str:
    """Try ``steps`` in order until one helps; returns its name. ``told`` hears of each before it is tried.

    ``bounded`` makes everything inside it end at a deadline. Raises BenchFault with what each step came to when none
    helped, or when ``budget`` seconds are over; PlaceLost at once, for nothing more may be done to that board then.
    """
    end = Deadline(budget)
    outcomes: list[str] = []
    final: FinalFault | None = None
    for step in steps:
        if end.passed:
            outcomes.append(f"the budget of {budget:g} s was over before '{step.name}'")
            break
        told(step.name)
        try:
            with bounded(end.at_most(step.limit)):
                step.attempt()
        except PlaceLost:
            raise
        except HarnessError as problem:
            final = problem if isinstance(problem, FinalFault) else None
            outcomes.append(f"{step.name}: {problem.message[:160]}")
        else:
            return step.name
    if final is not None:  # at the end another program had the port, or the like: that says nothing about the board
        raise final
    raise BenchFault(
        f"the board could not be recovered. {'; '.join(outcomes) or 'There is no way to'}",
        hint="look at its power, its cable and its adapter",
    )
