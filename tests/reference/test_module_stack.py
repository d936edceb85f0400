"""The rules of the stack of flash modules, without a VM."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import BenchFault, UsageError
from harness.formats.romfs import MAGIC, build_romfs
from harness.reference.flash.flash_region import SECTOR, PowerCut, Region
from harness.reference.flash.module_stack import MAX_NAME, TABLE_SECTORS, ModuleStack, State
from harness.reference.flash.module_update import ImageStore

SMALL = build_romfs({"a.txt": b"small"})
TWO_SECTORS = build_romfs({"b.bin": bytes(5000)})
ROOM = 4  # sectors for modules


def new_stack(*, rewrite: bool = True) -> tuple[Region, ModuleStack]:
    region = Region((TABLE_SECTORS + ROOM) * SECTOR, rewrite=rewrite)
    return region, ModuleStack(region)


def shape(stack: ModuleStack) -> list[tuple[str, State]]:
    return [(module.name, module.state) for module in stack.modules]


def test_a_pushed_module_is_ready_after_the_next_reset() -> None:
    _, stack = new_stack()
    stack.push("one", SMALL)
    assert shape(stack) == [("one", State.PUSHED)]
    stack.reset()
    assert shape(stack) == [("one", State.READY)]


def test_only_the_top_can_be_popped() -> None:
    _, stack = new_stack()
    stack.push("one", SMALL)
    stack.push("two", SMALL)
    stack.reset()
    with pytest.raises(UsageError, match="the top is 'two'"):
        stack.pop("one")
    stack.pop("two")
    stack.pop("one")
    with pytest.raises(UsageError, match="empty"):
        stack.pop("one")


def test_popped_bytes_stay_until_the_reset_and_are_erased_by_it() -> None:
    region, stack = new_stack()
    stack.push("one", TWO_SECTORS)
    stack.reset()
    (module,) = stack.modules
    stack.pop("one")
    assert region.read(module.offset, module.size) == TWO_SECTORS
    with pytest.raises(UsageError, match="erased at the next reset"):
        stack.push("two", SMALL)
    stack.reset()
    assert stack.modules == []
    assert region.blank(module.offset, module.end - module.offset)
    assert stack.free == ROOM * SECTOR


def test_a_name_is_on_the_stack_once_and_free_again_after_pop_and_reset() -> None:
    _, stack = new_stack()
    stack.push("one", SMALL)
    with pytest.raises(UsageError, match="on the stack already"):
        stack.push("one", SMALL)
    stack.pop("one")
    stack.reset()
    stack.push("one", SMALL)


@pytest.mark.parametrize("name", ["", "a b", "../x", "1st", "n" * (MAX_NAME + 1), "ä" * MAX_NAME, "x'\n"])
def test_a_name_that_cannot_be_imported_is_refused(name: str) -> None:
    region, stack = new_stack()
    with pytest.raises(UsageError, match="no name for a module"):
        stack.push(name, SMALL)
    assert region.steps == 0


def test_a_full_region_is_refused_with_both_sizes_and_nothing_is_written() -> None:
    region, stack = new_stack()
    stack.push("one", TWO_SECTORS)
    large = MAGIC + bytes(2 * SECTOR)
    steps = region.steps
    with pytest.raises(UsageError, match=f"takes {len(large)} bytes, {2 * SECTOR} are free"):
        stack.push("two", large)
    assert region.steps == steps
    stack.push("fits", large[: 2 * SECTOR])
    assert stack.free == 0


def test_what_is_not_a_romfs_image_is_refused() -> None:
    with pytest.raises(UsageError, match="not a ROMFS image"):
        new_stack()[1].push("one", b"M\x06\x00\x1f")


def test_a_full_table_is_refused() -> None:
    region = Region((TABLE_SECTORS + 200) * SECTOR)
    stack = ModuleStack(region)
    with pytest.raises(UsageError, match="table is full: it holds [0-9]+ modules"):
        for number in range(200):
            stack.push(f"m{number}", SMALL)
    assert len(ModuleStack(region).modules) == len(stack.modules) > 50


def test_a_module_whose_bits_have_fallen_is_reported() -> None:
    region, stack = new_stack()
    module = stack.push("one", SMALL)
    region.program(module.offset + 10, b"\0")
    with pytest.raises(BenchFault, match="'one' in flash has changed"):
        stack.reset()
    stack.pop("one")
    assert stack.reset() == []


@pytest.mark.parametrize(
    "table",
    [
        b"something else",
        struct.pack("<32sBIII", b"one", 9, TABLE_SECTORS * SECTOR, 10, 0),
        struct.pack("<32sBIII", b"\xff", State.READY, TABLE_SECTORS * SECTOR, 10, 0),
        struct.pack("<32sBIII", b"one", State.READY, 0, 10, 0),
        struct.pack("<32sBIII", b"one", State.READY, TABLE_SECTORS * SECTOR, ROOM * SECTOR + 1, 0),
    ],
)
def test_a_table_of_something_else_is_a_bench_fault(table: bytes) -> None:
    region, _ = new_stack()
    ImageStore(region, size=TABLE_SECTORS * SECTOR, slots=TABLE_SECTORS).update(table)
    with pytest.raises(BenchFault, match="not one of modules"):
        ModuleStack(region)


def test_changes_of_the_table_take_its_sectors_in_turn() -> None:
    region, stack = new_stack()
    for _ in range(10):
        stack.push("one", SMALL)
        stack.pop("one")
        stack.reset()
    table = region.erasures[:TABLE_SECTORS]
    assert sum(table) == 30
    assert max(table) - min(table) <= 1
    assert region.erasures[TABLE_SECTORS:] == [10, 0, 0, 0]


operations = st.one_of(
    st.tuples(st.just("push"), st.sampled_from("abc"), st.sampled_from([SMALL, TWO_SECTORS])),
    st.tuples(st.just("pop"), st.sampled_from("abc"), st.just(b"")),
    st.tuples(st.just("reset"), st.just(""), st.just(b"")),
)


def do(stack: ModuleStack, operation: tuple[str, str, bytes]) -> None:
    kind, name, image = operation
    try:
        if kind == "push":
            stack.push(name, image)
        elif kind == "pop":
            stack.pop(name)
        else:
            stack.reset()
    except UsageError:
        pass


@settings(max_examples=60, deadline=None)
@given(
    done=st.lists(operations, max_size=8),
    last=operations,
    share=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 999),
    rewrite=st.booleans(),
)
def test_a_power_cut_at_any_step_leaves_the_stack_before_or_after(
    done: list[tuple[str, str, bytes]], last: tuple[str, str, bytes], share: float, seed: int, rewrite: bool
) -> None:
    def played(cut: int | None) -> tuple[Region, ModuleStack, int]:
        region, stack = new_stack(rewrite=rewrite)
        for operation in done:
            do(stack, operation)
        if cut is not None:
            region.cut_power(cut, seed=seed)
        return region, stack, region.steps

    region, stack, steps = played(None)
    before = stack.modules
    do(stack, last)
    after, steps = stack.modules, region.steps - steps
    if not steps:
        return
    region, stack, _ = played(int(share * steps))
    with pytest.raises(PowerCut):
        do(stack, last)
    region.power_on()
    stack = ModuleStack(region)
    assert stack.modules in (before, after)
    stack.reset()  # says so if a module that stays is not whole
    assert shape(stack) in (
        [(m.name, State.READY) for m in state if m.state is not State.POPPED] for state in (before, after)
    )
    while stack.modules:
        stack.pop(stack.modules[-1].name)
        stack.reset()
    stack.push("again", TWO_SECTORS)
    assert shape(ModuleStack(region)) == [("again", State.PUSHED)]
    ModuleStack(region).reset()


@pytest.mark.parametrize("last", [("push", "c", TWO_SECTORS), ("pop", "b", b""), ("reset", "", b"")])
def test_every_step_of_each_operation_can_be_cut(last: tuple[str, str, bytes]) -> None:
    def prepared() -> tuple[Region, ModuleStack]:
        region, stack = new_stack()
        stack.push("a", SMALL)
        stack.push("b", SMALL)
        if last[0] == "reset":
            stack.pop("b")
        return region, stack

    region, stack = prepared()
    before, start = stack.modules, region.steps
    do(stack, last)
    after, steps = stack.modules, region.steps - start
    assert steps > 5
    for cut in range(steps):
        region, stack = prepared()
        region.cut_power(cut, seed=cut)
        with pytest.raises(PowerCut):
            do(stack, last)
        region.power_on()
        reopened = ModuleStack(region)
        assert reopened.modules in (before, after)
        reopened.reset()
