"""How fast the interleaving explorer goes: full runs a second, and points a second when one run stands for many."""

from __future__ import annotations

import time

from harness.reference.engine.prepare import vm_module
from harness.reference.explore.explorer import Limits, explore
from harness.reference.explore.rewind import Rewinder

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


def main() -> dict[str, float]:
    figures = {}
    for name, every in (("each point by a run of its own", True), ("one run for many points", False)):
        rewinder = Rewinder(vm_module(), _PROGRAM, heap_size=57344, files={})
        best = None
        for _ in range(5):
            started = time.perf_counter()
            result = explore(rewinder, Limits(), every_point=every)
            seconds = time.perf_counter() - started
            best = seconds if best is None else min(best, seconds)
            assert result.safe
        assert best is not None
        figures[f"{name}: full runs per second"] = result.runs / best
        figures[f"{name}: points per second"] = result.points / best
    figures["points of the program"] = result.points
    figures["runs that cover them"] = result.runs
    return figures
