"""The rules of the supervisor's region, each by its name. Upstream: CircuitPython ``supervisor/shared/memory.c``."""

import pytest

from harness.errors import FirmwareFailure, UsageError
from harness.reference.supervisor import HOLE, MOVABLE, NODE, Allocation, Region, Span
from tests.reference.supervisor_heap import BumpHeap

BASE = 0x2000_0000


@pytest.fixture
def region() -> Region:
    return Region(1024)


def begin(region: Region) -> BumpHeap:
    made: list[BumpHeap] = []

    def make(span: Span) -> BumpHeap:
        made.append(BumpHeap(span))
        return made[0]

    region.begin_run(make)
    return made[0]


def take(region: Region, length: int, *, high: bool = False, movable: bool = False) -> Allocation:
    allocation = region.allocate(length, high, movable)
    assert allocation is not None
    return allocation


def test_the_low_side_grows_up_and_the_high_side_down(region: Region) -> None:
    low, high = take(region, 8), take(region, 8, high=True)
    assert (low.pointer, high.pointer) == (BASE + NODE, BASE + 1024 - 8)
    assert region.middle == Span(BASE + 16, 1024 - 32)


@pytest.mark.holds("kept.cost", "moving.node")
def test_lengths_are_rounded_up_to_words(region: Region) -> None:
    assert [take(region, n).get_length() for n in (0, 1, 4, 5)] == [0, 4, 4, 8]


def test_the_heap_is_exactly_what_is_left(region: Region) -> None:
    take(region, 100)
    take(region, 20, high=True)
    assert region.begin_run() == Span(BASE + 108, 1024 - 108 - 28)


def test_a_region_that_is_full_gives_none(region: Region) -> None:
    assert region.allocate(1024 - NODE + 1) is None
    whole = take(region, 1024 - NODE)
    assert region.allocate(0) is None
    region.free(whole)
    assert region.middle.size == 1024


def test_no_free_handle_gives_none_and_not_a_crash() -> None:
    region = Region(1024, handles=2)
    first, _ = take(region, 4), take(region, 4)
    assert region.allocate(4) is None
    region.free(first)
    assert region.allocate(4) is not None


@pytest.mark.holds("moving.over-64k")
def test_lengths_over_64_kib() -> None:
    region = Region(1 << 20)
    big = take(region, 70_000, movable=True)
    begin(region)
    bigger = take(region, 200_000, movable=True)
    bigger.write(b"end", 199_997)
    region.end_run()
    assert (big.get_length(), bigger.get_length()) == (70_000, 200_000)
    assert bigger.read()[199_997:] == b"end"
    assert region.middle.size == (1 << 20) - 270_000 - 2 * NODE


def test_freed_in_the_middle_of_a_stack_is_a_hole_of_its_length(region: Region) -> None:
    first, _ = take(region, 16), take(region, 4)
    region.free(first)
    assert [flags for _, flags in region.stack()] == [0, HOLE]
    assert first.pointer == 0


def test_freed_at_the_top_goes_back_with_the_holes_below(region: Region) -> None:
    for high in (False, True):
        first, second = take(region, 16, high=high), take(region, 4, high=high)
        region.free(first)
        region.free(second)
        assert region.stack(high=high) == []


def test_a_hole_is_reused_only_when_it_fits_exactly(region: Region) -> None:
    first, _ = take(region, 16), take(region, 4)
    place = first.pointer
    region.free(first)
    smaller, same = take(region, 12), take(region, 16)
    assert smaller.pointer != place
    assert same.pointer == place


def test_the_middle_comes_before_a_hole_on_the_other_side(region: Region) -> None:
    first, _ = take(region, 16), take(region, 4)
    region.free(first)
    assert take(region, 16, high=True).pointer > BASE + 512


def test_a_hole_on_the_other_side_is_used_when_the_middle_is_the_vms(region: Region) -> None:
    first, _ = take(region, 16), take(region, 4)
    place = first.pointer
    region.free(first)
    region.begin_run()
    assert take(region, 16, high=True).pointer == place


def test_what_moves_never_gets_a_hole_on_the_high_side(region: Region) -> None:
    first, _ = take(region, 16, high=True), take(region, 4, high=True)
    region.free(first)
    region.begin_run()
    assert region.allocate(16, movable=True) is None


@pytest.mark.holds("moving.movable-flag")
def test_movable_on_the_high_side_is_refused(region: Region) -> None:
    with pytest.raises(UsageError, match="high side"):
        region.allocate(4, high_address=True, movable=True)


@pytest.mark.holds("moving.hole-first")
def test_while_a_vm_runs_a_hole_comes_before_its_heap(region: Region) -> None:
    first, _ = take(region, 16), take(region, 4)
    place = first.pointer
    region.free(first)
    begin(region)
    assert take(region, 16, movable=True).pointer == place
    assert take(region, 16, movable=True).pointer >= region.middle.start


@pytest.mark.holds("moving.fixed")
def test_what_does_not_move_is_never_put_into_the_vms_heap(region: Region) -> None:
    begin(region)
    assert region.allocate(16) is None


@pytest.mark.holds("moving.root", "moving.list")
def test_allocations_in_the_heap_hang_on_one_root(region: Region) -> None:
    heap = begin(region)
    a, b, c = (take(region, n, movable=True) for n in (4, 8, 12))
    assert heap.root == c.pointer - NODE
    assert region.embedded() == [c.pointer - NODE, b.pointer - NODE, a.pointer - NODE]
    freed = [b.pointer - NODE, c.pointer - NODE]
    region.free(b)
    assert region.embedded() == [c.pointer - NODE, a.pointer - NODE]
    region.free(c)
    assert heap.root == a.pointer - NODE
    assert heap.freed == freed


@pytest.mark.holds("moving.bottom", "moving.handle", "moving.only-then")
def test_at_the_end_of_a_run_they_move_to_the_bottom_and_become_ordinary(region: Region) -> None:
    low = take(region, 8)
    heap = begin(region)
    heap.next += 64  # the program's own objects
    first = take(region, 12, movable=True)
    heap.next += 64
    second = take(region, 4, movable=True)
    first.write(b"first")
    second.write(b"2nd!")
    region.end_run()
    assert [first.pointer, second.pointer] == [low.pointer + 8 + NODE, low.pointer + 8 + NODE + 12 + NODE]
    assert first.read()[:5] == b"first" and second.read() == b"2nd!"
    assert [flags for _, flags in region.stack()] == [MOVABLE, MOVABLE, 0]
    assert heap.root == 0


@pytest.mark.holds("moving.list")
def test_the_order_in_the_heap_is_the_order_after_the_move(region: Region) -> None:
    heap = begin(region)
    heap.next += 100
    late = take(region, 40, movable=True)
    heap.next = heap.span.start
    early = take(region, 40, movable=True)
    late.write(b"L" * 40)
    early.write(b"E" * 40)
    region.end_run()
    assert early.pointer < late.pointer
    assert (early.read(), late.read()) == (b"E" * 40, b"L" * 40)


@pytest.mark.holds("moving.defragment")
def test_movable_ones_go_below_the_holes_so_that_the_next_heap_is_largest(region: Region) -> None:
    a, b, c = (take(region, n, movable=True) for n in (16, 32, 48))
    c.write(b"c" * 48)
    region.free(a)
    region.free(b)
    region.begin_run()
    region.end_run()
    assert c.pointer == BASE + NODE and c.read() == b"c" * 48
    assert region.middle.size == 1024 - NODE - 48


@pytest.mark.holds("moving.fixed")
def test_fixed_ones_keep_their_place_and_the_holes_below_them_stay(region: Region) -> None:
    a, fixed, movable = take(region, 16), take(region, 8), take(region, 24, movable=True)
    place, top = fixed.pointer, movable.pointer
    region.free(a)
    region.begin_run()
    region.end_run()
    assert (fixed.pointer, movable.pointer) == (place, top)
    assert [flags for _, flags in region.stack()] == [MOVABLE, 0, HOLE]


def test_from_the_heap_into_a_hole_that_fits_exactly(region: Region) -> None:
    a, _ = take(region, 16), take(region, 8)
    region.begin_run()
    region.end_run()
    begin(region)
    saved = take(region, 16, movable=True)
    hole = a.pointer
    region.free(a)
    region.end_run()
    assert saved.pointer == hole


def test_freed_at_the_top_while_a_vm_runs_stays_a_hole_until_its_end(region: Region) -> None:
    low, high = take(region, 16), take(region, 16, high=True)
    heap = region.begin_run()
    region.free(low)
    region.free(high)
    assert region.middle == heap
    region.end_run()
    assert region.middle.size == 1024


def test_the_high_side_does_not_move(region: Region) -> None:
    a, b = take(region, 16, high=True), take(region, 8, high=True)
    place = b.pointer
    region.free(a)
    region.begin_run()
    region.end_run()
    assert b.pointer == place


@pytest.mark.holds("moving.callback")
def test_a_callback_maps_old_pointers_to_new_ones(region: Region) -> None:
    gap, kept = take(region, 32), take(region, 8, movable=True)
    begin(region)
    new = take(region, 8, movable=True)
    old = [kept.pointer, new.pointer]
    region.free(gap)
    seen: list[int] = []

    def moved() -> None:
        for pointer in old:
            handle = region.allocation_from_ptr(pointer)
            assert handle is not None
            seen.append(handle.pointer)
        with pytest.raises(UsageError, match="being moved"):
            region.allocate(4)

    region.on_move.append(moved)
    region.end_run()
    assert seen == [kept.pointer, new.pointer] == [BASE + NODE, BASE + NODE + 8 + NODE]
    assert region.allocation_from_ptr(old[1]) is None
    assert region.allocation_from_ptr(kept.pointer) is kept


def test_a_freed_handle_reads_nothing_and_may_be_freed_again(region: Region) -> None:
    allocation = take(region, 4)
    region.free(allocation)
    region.free(allocation)
    region.free(None)
    with pytest.raises(UsageError, match="freed"):
        allocation.read()


def test_writing_beyond_the_end_is_refused(region: Region) -> None:
    allocation = take(region, 4)
    for data, offset in ((b"12345", 0), (b"1", 4), (b"1", -1)):
        with pytest.raises(UsageError, match="do not fit"):
            allocation.write(data, offset)


def test_two_runs_at_a_time_and_an_end_without_a_run_are_refused(region: Region) -> None:
    with pytest.raises(UsageError, match="no VM runs"):
        region.end_run()
    region.begin_run()
    with pytest.raises(UsageError, match="already"):
        region.begin_run()


@pytest.mark.parametrize("damage", [b"\x10\0\0\0", b"\xfc\xff\xff\xff"])
def test_a_program_that_damages_the_chain_loses_its_own_allocations_only(region: Region, damage: bytes) -> None:
    kept = take(region, 4)
    kept.write(b"kept")
    heap = begin(region)
    first, second = take(region, 8, movable=True), take(region, 8, movable=True)
    heap.write(second.pointer - NODE, damage)
    with pytest.raises(FirmwareFailure, match="heap"):
        region.end_run()
    assert (first.pointer, second.pointer) == (0, 0)
    assert kept.read() == b"kept"
    assert region.middle.size == 1024 - NODE - 4


@pytest.mark.parametrize(("size", "base"), [(6, BASE), (4, BASE), (64, 2), (64, 0), (64, (1 << 32) - 32)])
def test_a_region_that_cannot_be_is_refused(size: int, base: int) -> None:
    with pytest.raises(UsageError, match="multiples of 4"):
        Region(size, base=base)
