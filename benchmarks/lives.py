"""What a life of the VM leaves behind: 20,000 soft resets of the reference VM (``lives=500`` for fewer).

Memory has to be flat: the growth is counted over the last three quarters of the lives.
"""

from __future__ import annotations

import time
from pathlib import Path

from harness.errors import BenchFault
from harness.reference.vm import ReferenceVm

#: What may come together over all lives, in kB: the record of what happened, and the allocator's room.
ALLOWED_KB = 16 * 1024


def main(lives: int = 20_000) -> dict[str, float]:
    with ReferenceVm(chip="esp32") as vm:
        settled = taken = _taken()
        started = time.perf_counter()
        for number in range(lives):
            if number == lives // 4:
                settled = _taken()
            vm.soft_reset()
            vm.trace.clear()
        seconds = time.perf_counter() - started
        taken = _taken()
    grown = {name: taken[name] - settled[name] for name in taken}
    if grown["VmRSS"] > ALLOWED_KB:
        raise BenchFault(f"memory is not flat: {grown['VmRSS']} kB more over {lives - lives // 4} lives")
    return {
        "lives": lives,
        "one life (ms)": seconds / lives * 1000,
        "memory grown (kB)": grown["VmRSS"],
        "address space grown (kB)": grown["VmSize"],
        "mappings grown": grown["maps"],
    }


def _taken() -> dict[str, int]:
    """Memory and address space in kB, and the number of mappings (proc(5), ``status`` and ``maps``)."""
    own = Path("/proc/self")
    lines = dict(line.split(":", 1) for line in (own / "status").read_text().splitlines())
    sizes = {name: int(lines[name].split()[0]) for name in ("VmRSS", "VmSize")}
    return {**sizes, "maps": len((own / "maps").read_text().splitlines())}
