"""The heap map against what the VM says of its own heap."""

import re

import pytest

from harness.reference.engine.heap_map import BLOCK, HeapMap, find_area
from harness.reference.vm import ReferenceVm


def numbers(vm: ReferenceVm, source: str) -> list[int]:
    return [int(word) for word in vm.run(source).stdout.split()]


def test_figures_are_the_collectors_own() -> None:
    with ReferenceVm() as vm:
        (address,) = numbers(vm, "x = bytearray(5000)\nprint(id(x))")
        vm.run("a = [bytes(i) for i in range(100)]\na = a[::2]\nimport gc, micropython\ngc.collect()")
        heap = vm.heap_map()
        allocated, free = numbers(vm, "print(gc.mem_alloc(), gc.mem_free())")
        told = vm.run("micropython.mem_info()").stdout
    assert heap.total == allocated + free == 56000
    assert heap.used + heap.free == heap.total
    assert abs(heap.used - allocated) <= 20 * BLOCK  # what compiling the question itself took
    largest = re.search(rb"max free sz: (\d+)", told)
    assert largest
    assert abs(heap.largest_free - int(largest[1]) * BLOCK) <= 40 * BLOCK
    assert sum(heap.free_runs) == heap.free
    assert 0 < heap.fragmentation < 1
    objects = dict(heap.objects())
    assert objects[address] == BLOCK
    assert sum(objects.values()) == heap.used
    assert any(size == 5008 for size in objects.values())  # 5000 bytes in whole blocks


def test_growth_is_seen_without_asking_the_vm() -> None:
    with ReferenceVm() as vm:
        before = vm.heap_map()
        vm.run("kept = bytearray(10000)")
        after = vm.heap_map()
    assert 10_000 <= after.used - before.used < 11_500
    assert before.largest_free - after.largest_free >= 10_000


def test_memory_without_an_area_record_is_refused() -> None:
    class Blank:
        def __len__(self) -> int:
            return 65536

        def read(self, address: int, size: int) -> bytes:
            return bytes(size)

    with pytest.raises(ValueError, match="not found"):
        find_area(Blank(), 32768)


def test_every_figure_of_mem_info_is_in_the_map_of_that_moment() -> None:
    """Exact, because the map is read while the guest runs; between programs its own question changes the heap."""
    seen: list[HeapMap] = []
    with ReferenceVm() as vm:
        vm.run("a = [bytes(i) for i in range(100)]\na = a[::2]\nimport gc, micropython\ngc.collect()")
        vm.run("def ask():\n    u = gc.mem_alloc()\n    f = gc.mem_free()\n    micropython.mem_info()\n    print(u, f)")
        # Both functions look at every block, so they are thousands of points long.
        vm.at_every_point(lambda point: None if point % 64 else seen.append(vm.heap_map()))
        told = vm.run("ask()").stdout.decode()
    said = re.search(
        r"GC: total: (\d+), used: (\d+), free: (\d+)\s+No. of 1-blocks: (\d+), 2-blocks: (\d+), "
        r"max blk sz: (\d+), max free sz: (\d+)\s+(\d+) (\d+)",
        told,
    )
    assert said
    total, used, free, ones, twos, longest, largest_free, alloc_said, free_said = map(int, said.groups())
    of_that_moment = [heap for heap in seen if heap.used == used]
    assert of_that_moment
    assert alloc_said + free_said == total
    assert alloc_said in {heap.used for heap in seen}
    for heap in of_that_moment:
        assert (heap.total, heap.free) == (total, free)
    sizes = [[size // BLOCK for _, size in heap.objects()] for heap in of_that_moment]
    figures = [
        (lengths.count(1), lengths.count(2), max(lengths), heap.largest_free // BLOCK)
        for lengths, heap in zip(sizes, of_that_moment, strict=True)
    ]
    assert (ones, twos, longest, largest_free) in figures
