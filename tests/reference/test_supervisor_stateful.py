"""Random sequences of allocations and runs against a plain model: a list of what is alive, with its contents."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from harness.reference.supervised import SupervisedVm
from harness.reference.supervisor import HOLE, MOVABLE, NODE, Allocation, Region, Span

SIZE = 2048
LENGTHS = st.one_of(st.sampled_from([4, 8, 16, 40]), st.integers(0, 200))


class _HeapInPlace:
    """First fit in the region's own bytes, so that a move that overwrites what it has not read yet shows."""

    def __init__(self, memory: bytearray, base: int, span: Span) -> None:
        self.root = 0
        self.span = span
        self._memory = memory
        self._base = base
        self.used: dict[int, int] = {}

    def allocate(self, size: int) -> int | None:
        at = self.span.start
        for start in sorted(self.used):
            if start - at >= size:
                break
            at = start + self.used[start]
        if at + size > self.span.end:
            return None
        self.used[at] = size
        return at

    def free(self, address: int) -> None:
        size = self.used.pop(address)
        self.write(address, b"\xee" * size)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self._memory[address - self._base : address - self._base + size])

    def write(self, address: int, data: bytes) -> None:
        self._memory[address - self._base : address - self._base + len(data)] = data


class Runs(RuleBasedStateMachine):
    alive = Bundle("alive")

    def __init__(self) -> None:
        super().__init__()
        self.region = Region(SIZE, handles=12)
        self.contents: dict[Allocation, bytes] = {}
        self.movable: set[Allocation] = set()
        self.in_heap: set[Allocation] = set()
        self.heap: _HeapInPlace | None = None
        self.number = 0

    @rule(target=alive, length=LENGTHS, kind=st.sampled_from(["low", "high", "movable"]))
    def allocate(self, length: int, kind: str) -> Allocation | None:
        rounded = (length + 3) & ~3
        before = self.region.middle
        holes = [high for high in (False, True) for span, flags in self.region.stack(high=high)
                 if flags & HOLE and span.size == rounded + NODE]  # fmt: skip
        allocation = self.region.allocate(length, kind == "high", kind == "movable")
        usable = [high for high in holes if not high or kind != "movable"]
        room = not self.region.running and before.size >= rounded + NODE
        if len(self.contents) == 12:
            assert allocation is None
        elif usable or room:
            assert allocation is not None
        elif kind != "movable" or not self.region.running:
            assert allocation is None
        if allocation is None:
            return None
        if self.heap and allocation.pointer - NODE in self.heap.used:
            assert not usable  # a hole comes before the heap
            self.in_heap.add(allocation)
        self.number += 1
        data = bytes((self.number * 7 + i) % 251 for i in range(rounded))
        allocation.write(data)
        self.contents[allocation] = data
        if kind == "movable":
            self.movable.add(allocation)
        return allocation

    @rule(allocation=consumes(alive))
    def free(self, allocation: Allocation | None) -> None:
        self.region.free(allocation)
        if allocation is not None:
            del self.contents[allocation]
            self.movable.discard(allocation)
            self.in_heap.discard(allocation)

    @precondition(lambda self: not self.region.running)
    @rule()
    def begin(self) -> None:
        left = self.region.middle

        def make(span: Span) -> _HeapInPlace:
            self.heap = _HeapInPlace(self.region._memory, self.region.span.start, span)
            return self.heap

        assert self.region.begin_run(make) == left

    @precondition(lambda self: self.heap is not None)
    @rule(size=st.integers(1, 40))
    def the_program_allocates(self, size: int) -> None:
        assert self.heap is not None
        at = self.heap.allocate(4 * size)
        if at is not None:
            self.heap.write(at, b"\xaa" * (4 * size))

    @precondition(lambda self: self.region.running)
    @rule()
    def end(self) -> None:
        before = {allocation: allocation.pointer for allocation in self.contents}
        fixed = [node for node in self.region.stack() if not node[1] & MOVABLE and not node[1] & HOLE]
        seen: list[bool] = []

        def moved() -> None:
            seen.extend(self.region.allocation_from_ptr(old) is handle for handle, old in before.items())

        self.region.on_move[:] = [moved]
        self.heap = None
        self.region.end_run()
        assert all(seen) and len(seen) == len(before)
        for allocation, old in before.items():
            assert allocation in self.movable or allocation.pointer == old
        # The next heap is maximal: above what cannot move there is nothing but allocations in use.
        barrier = fixed[0][0].end if fixed else self.region.span.start
        above = sum(
            NODE + len(d) for a, d in self.contents.items() if barrier <= a.pointer - NODE < self.region.middle.start
        )
        assert self.region.middle.start == barrier + above
        high = self.region.stack(high=True)
        assert not high or not high[0][1] & HOLE
        self.in_heap.clear()

    @invariant()
    def no_byte_is_lost_and_none_is_used_twice(self) -> None:
        low, high = self.region.stack(), self.region.stack(high=True)
        spans = [span for span, _ in reversed(low)] + [self.region.middle] + [span for span, _ in high]
        at = self.region.span.start
        for span in spans:
            assert span.start == at and span.size >= 0
            at = span.end
        assert at == self.region.span.end
        used = [span.start + NODE for span, flags in low + high if not flags & HOLE]
        assert sorted(used) == sorted(a.pointer for a in self.contents if a not in self.in_heap)

    @invariant()
    def one_root_reaches_everything_in_the_heap(self) -> None:
        assert sorted(self.region.embedded()) == sorted(a.pointer - NODE for a in self.in_heap)

    @invariant()
    def contents_are_intact_and_pointers_aligned(self) -> None:
        for allocation, data in self.contents.items():
            assert allocation.pointer % 4 == 0
            assert allocation.get_length() == len(data)
            assert allocation.read() == data


@pytest.mark.holds("moving.only-then", "moving.movable-flag", "moving.handle")
def test_random_sequences_keep_every_rule_of_the_region() -> None:
    run_state_machine_as_test(Runs, settings=settings(max_examples=400, stateful_step_count=50))


class Lives(RuleBasedStateMachine):
    """Random programs and reloads on the real VM, whose persisted bytes must be those of a plain variable."""

    def __init__(self) -> None:
        super().__init__()
        self.vm = SupervisedVm(region_size=48 * 1024, sleep_memory=16)
        self.expected: bytes | None = None
        self.mine: list[tuple[Allocation, bytes]] = []

    def teardown(self) -> None:
        self.vm.close()

    @rule(length=st.sampled_from([0, 1, 3, 4, 100, 1000, 3000]), fill=st.integers(0, 255))
    def persist(self, length: int, fill: int) -> None:
        assert self.vm.run(f"import supervisor\nsupervisor.persisted_bytes = bytes([{fill}]) * {length}").stderr == b""
        self.expected = bytes([fill]) * length

    @rule()
    def drop(self) -> None:
        assert self.vm.run("import supervisor\nsupervisor.persisted_bytes = None").stderr == b""
        self.expected = None

    @rule(value=st.sampled_from(["bytes(30000)", "7", "'text'"]))
    def refused(self, value: str) -> None:
        assert b"Error" in self.vm.run(f"import supervisor\nsupervisor.persisted_bytes = {value}").stderr

    @rule()
    def collect(self) -> None:
        assert self.vm.run("import gc\nx = [bytearray(50) for i in range(100)]\nx = 0\ngc.collect()").stderr == b""

    @rule(length=st.sampled_from([4, 104, 1004]), kind=st.sampled_from(["low", "high", "movable"]))
    def allocate(self, length: int, kind: str) -> None:
        if self.vm.region.running and kind == "movable":
            return  # only the guest can allocate in its heap
        allocation = self.vm.region.allocate(length, kind == "high", kind == "movable")
        if allocation is not None:
            allocation.write(bytes([len(self.mine) % 251]) * length)
            self.mine.append((allocation, allocation.read()))

    @precondition(lambda self: self.mine)
    @rule(index=st.integers(0, 20))
    def free(self, index: int) -> None:
        self.vm.region.free(self.mine.pop(index % len(self.mine))[0])

    @rule()
    def reload(self) -> None:
        (run,) = self.vm.reload()
        assert run.file is None
        used = sum(span.size for high in (False, True) for span, _ in self.vm.region.stack(high=high))
        assert self.vm.region.middle.size == self.vm.region.span.size - used

    @rule()
    def read(self) -> None:
        result = self.vm.run("import supervisor\nprint(supervisor.persisted_bytes)")
        assert result.stdout.strip() == repr(self.expected).encode()

    @invariant()
    def what_the_host_keeps_is_intact(self) -> None:
        for allocation, data in self.mine:
            assert allocation.read() == data


def test_random_lives_of_the_real_vm_keep_what_they_should() -> None:
    run_state_machine_as_test(Lives, settings=settings(max_examples=40, stateful_step_count=25))
