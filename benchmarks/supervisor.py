"""What the supervisor's region costs at the beginning and the end of a run, and what its guest module costs."""

from __future__ import annotations

import time
from functools import partial

from harness.reference.supervised import SupervisedVm
from harness.reference.supervisor import HANDLES, NODE, Region, Span
from harness.reference.vm import ReferenceVm

_REGION = 4 * 1024 * 1024


class _Heap:
    """One piece after another, with a gap before each as a program's own objects leave it."""

    def __init__(self, span: Span) -> None:
        self.root = 0
        self._start = self._next = span.start
        self._memory = bytearray(span.size)

    def allocate(self, size: int) -> int | None:
        at = self._next + 64
        self._next = at + size
        return at

    def free(self, address: int) -> None: ...

    def read(self, address: int, size: int) -> bytes:
        offset = address - self._start
        return bytes(self._memory[offset : offset + size])

    def write(self, address: int, data: bytes) -> None:
        offset = address - self._start
        self._memory[offset : offset + len(data)] = data


def _given(heap: _Heap, _span: Span) -> _Heap:
    return heap


def _run(count: int, length: int, *, embedded: bool) -> tuple[float, float]:
    """Shortest begin and end of a run in seconds, when ``count`` allocations must move."""
    begins, ends = [], []
    for _ in range(7):
        region = Region(_REGION, handles=max(HANDLES, count + 1))
        gap = region.allocate(64)
        if not embedded:
            for _ in range(count):
                region.allocate(length, movable=True)
        region.free(gap)
        heap = _Heap(region.middle)
        started = time.perf_counter()
        region.begin_run(partial(_given, heap))
        begins.append(time.perf_counter() - started)
        if embedded:
            for _ in range(count):
                region.allocate(length, movable=True)
        started = time.perf_counter()
        region.end_run()
        ends.append(time.perf_counter() - started)
        assert region.middle.size == _REGION - count * (NODE + length)
    return min(begins), min(ends)


def _used(vm: SupervisedVm | ReferenceVm, source: str) -> float:
    """Heap in use after a program and a collection, in bytes."""
    vm.run(source)
    return float(vm.run("import gc\ngc.collect()\nprint(gc.mem_alloc())").stdout)


def main() -> dict[str, float]:
    """Figures by name; the unit is the last word of each name."""
    figures = {}
    for count, length in ((1, 64), (10, 64), (100, 64), (10, 4096), (10, 102_400)):
        for embedded in (False, True):
            _, end = _run(count, length, embedded=embedded)
            kind = "from the heap" if embedded else "moved down"
            figures[f"end of run, {count} x {length} bytes {kind} us"] = 1e6 * end
    figures["begin of run, 100 allocations us"] = 1e6 * _run(100, 64, embedded=False)[0]
    with SupervisedVm() as vm:
        vm.put("code.py", b"pass")
        vm.start()
        starts = []
        for _ in range(20):
            started = time.perf_counter()
            vm.reload()
            starts.append(time.perf_counter() - started)
        figures["a whole life of the VM, start to end ms"] = 1e3 * min(starts)
        idle = _used(vm, "import supervisor")
        with ReferenceVm(heap_size=vm.region.span.size) as bare:
            figures["both guest modules in the heap bytes"] = idle - _used(bare, "import os as supervisor")
        figures["100 persisted bytes in a running VM bytes"] = (
            _used(vm, "supervisor.persisted_bytes = bytes(100)") - idle
        )
    return figures


if __name__ == "__main__":
    for name, figure in main().items():
        print(f"{name:55} {figure:14.2f}")
