"""How fast the interleaving explorer goes: interleavings a second, as implemented and by the contract.

By contract it needs a reference that was built from a source tree (harness reference build); without one those rows
are left out. CPU time of this process, for a machine that is busy with something else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from harness.campaigns.explore_program import chosen
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.tree_vm import Level
from harness.reference.explore.contract import explore_by_contract
from harness.reference.explore.explorer import Limits, explore
from harness.reference.explore.rewind import Rewinder
from harness.reference.explore.struck_life import subject_of

# Twelve turns of eight bytecodes, about a hundred in all.
_PROGRAM = """
x = 0
def main():
    global x
    for _ in range(12):
        x = x + 1
def interrupt(argument):
    global x
    x = x + 1
def check():
    assert x == 13
"""
_HEAP = 57344
_T = TypeVar("_T")


def main() -> dict[str, float]:
    figures = {}
    for name, every in (("each point by a run of its own", True), ("one run for many points", False)):
        result, seconds = _best(
            partial(
                lambda every: explore(
                    Rewinder(vm_module(), _PROGRAM, heap_size=_HEAP, files={}), Limits(), every_point=every
                ),
                every,
            )
        )
        assert result.safe
        figures[f"as implemented, {name}: runs per second"] = result.runs / seconds
        figures[f"as implemented, {name}: points per second"] = result.points / seconds
    figures["as implemented: points of the program"] = result.points
    figures["as implemented: runs that cover them"] = result.runs
    built = chosen("", needed=False)
    if built is None:
        return figures
    subject = subject_of(built[0], _PROGRAM, heap_size=_HEAP, files={})
    for name, level, strikes in (("soft", Level.SOFT, 1), ("hard", Level.HARD, 1), ("two soft strikes", Level.SOFT, 2)):
        by_contract, seconds = _best(
            partial(explore_by_contract, subject, Limits(points=2000), level=level, strikes=strikes)
        )
        assert not by_contract.safe, "an increment is not atomic"
        figures[f"by contract, {name}: interleavings per second"] = by_contract.runs / seconds
    figures["by contract: bytecodes of the program"] = by_contract.points
    return figures


def _best(once: Callable[[], _T]) -> tuple[_T, float]:
    """What it returned, and the least CPU time of three."""
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        result = once()
        best = min(best, time.process_time() - started)
    return result, best
