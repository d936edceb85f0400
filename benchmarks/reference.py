"""The reference VM: start from the cache, soft reset, and how fast it executes."""

from __future__ import annotations

import subprocess
import sys

from benchmarks._boards import seconds
from harness.reference.vm import ReferenceVm

_FIRST = """
import time
from harness.reference.vm import ReferenceVm
started = time.perf_counter()
vm = ReferenceVm()
vm.run("pass")
print(time.perf_counter() - started)
vm.close()
"""


def main() -> dict[str, float]:
    ReferenceVm().close()  # prepared and compiled, if it was not

    def start() -> None:
        with ReferenceVm() as vm:
            vm.run("pass")

    def first_in_a_process() -> float:
        done = subprocess.run([sys.executable, "-c", _FIRST], check=True, capture_output=True, text=True)
        return float(done.stdout)

    fresh = sorted(first_in_a_process() for _ in range(7))[3]
    again = seconds(start, 31)
    with ReferenceVm() as vm:
        reset = seconds(vm.soft_reset, 31)
        before = vm.cost
        busy = seconds(lambda: vm.run("s = 0\nfor i in range(200000):\n    s += i"), 5)
        cost = (vm.cost - before) / 5
    return {
        "start from the cache, first of a process (ms)": fresh * 1000,
        "start, later ones (ms)": again * 1000,
        "soft reset (ms)": reset * 1000,
        "metered cost a second (millions)": cost / busy / 1e6,
    }
