"""What interrupts and the virtual clock of the reference VM cost on this host."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.reference.vm import ReferenceVm

_LOOP = "for i in range(100000): pass"
_TIMER = (
    "from machine import Timer\nn = 0\ndef tick(t):\n    global n\n    n += 1\n"
    "t = Timer(0, period=1, callback=tick)\nfor i in range({}): pass\nt.deinit()"
)


def _best(action: Callable[[], object], times: int = 5) -> float:
    """The shortest of some runs, in seconds."""
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def main() -> dict[str, float]:
    """Figures by name; the unit is the last word of each name."""
    figures = {}
    with ReferenceVm(chip="esp32") as vm:
        figures["start bare ms"] = 1e3 * _best(lambda: ReferenceVm().close())
        figures["start with chip ms"] = 1e3 * _best(lambda: ReferenceVm(chip="esp32").close())
        figures["import machine heap bytes"] = float(
            vm.run("import gc\na = gc.mem_alloc()\nimport machine\nprint(gc.mem_alloc() - a)").stdout
        )
        plain = _best(lambda: vm.run(_LOOP))
        points = 0

        def count(_point: int) -> None:
            nonlocal points
            points += 1

        vm.at_every_point(count)
        stepped = _best(lambda: vm.run(_LOOP.replace("100000", "3000")), 1)
        vm.at_every_point(None)
        figures["points stopped at per second"] = points / stepped
        vm.interrupt_at("x", point=points - 1)
        skipped = _best(lambda: vm.run(_LOOP.replace("100000", "3000")), 1)
        figures["points passed on the way to a strike per second"] = points / skipped
        figures["slow-down stopping at every point times"] = stepped / (plain * 0.03)
        ticks = len(vm.trace)
        ticking = _best(lambda: vm.run(_TIMER.format(100000)), 1)
        ticks = len(vm.trace) - ticks
        figures["slow-down with a timer every ms times"] = ticking / plain
        figures["timer callbacks per second of host time"] = ticks / ticking
        figures["ten seconds of sleep ms"] = 1e3 * _best(lambda: vm.run("import time\ntime.sleep(10)"))
        figures["run of a small program ms"] = 1e3 * _best(lambda: vm.run("x = 1"), 50)
    return figures


if __name__ == "__main__":
    for name, figure in main().items():
        print(f"{name:55} {figure:14.2f}")
