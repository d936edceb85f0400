"""An image is replaced as a whole or not at all."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.reference.flash.flash_region import SECTOR, PowerCut, Region
from harness.reference.flash.module_update import ImageStore


def new_store(slots: int = 2, sectors: int = 2, *, rewrite: bool = True) -> tuple[Region, ImageStore]:
    region = Region(slots * sectors * SECTOR, rewrite=rewrite)
    return region, ImageStore(region, slots=slots)


def test_an_erased_region_holds_no_image() -> None:
    _, store = new_store()
    assert store.current is None
    assert store.read() is None


@pytest.mark.holds("place.power-cut")
@pytest.mark.parametrize("rewrite", [True, False])
@pytest.mark.parametrize("history", [0, 1, 2, 3])
def test_power_cut_at_every_step_leaves_the_old_or_the_new_image(history: int, rewrite: bool) -> None:
    old, new = b"old" * 150, bytes(range(256)) * 18  # the new one needs two sectors
    after_cut = b"after the cut"

    def prepared() -> tuple[Region, ImageStore]:
        region, store = new_store(rewrite=rewrite)
        for _ in range(history):
            store.update(old)
        return region, store

    region, store = prepared()
    before = region.steps
    store.update(new)
    steps = region.steps - before
    assert steps > len(new) // 16
    outcomes = []
    for cut in range(steps):
        region, store = prepared()
        region.cut_power(cut, seed=cut)
        with pytest.raises(PowerCut):
            store.update(new)
        region.power_on()
        outcomes.append(ImageStore(region).read())
        ImageStore(region).update(after_cut)
        assert ImageStore(region).read() == after_cut
    assert set(outcomes) <= {old if history else None, new}
    assert outcomes[0] == (old if history else None)


@settings(max_examples=40, deadline=None)
@given(
    slots=st.integers(2, 4),
    updates=st.lists(
        st.tuples(st.binary(max_size=6000), st.one_of(st.none(), st.integers(0, 400)), st.integers(0, 999)), max_size=8
    ),
)
def test_any_series_of_updates_and_cuts_keeps_one_whole_image(
    slots: int, updates: list[tuple[bytes, int | None, int]]
) -> None:
    region, store = new_store(slots)
    expected: bytes | None = None
    for image, cut, seed in updates:
        if cut is not None:
            region.cut_power(cut, seed=seed)
        try:
            store.update(image)
            expected = image
        except PowerCut:
            region.power_on()
            store = ImageStore(region, slots=slots)
            assert store.read() in (expected, image)
            expected = store.read()
        region.power_on()
        assert store.read() == expected


def test_wear_is_spread_over_the_slots() -> None:
    region, store = new_store(slots=4, sectors=1)
    for number in range(42):
        store.update(b"%d" % number)
    assert max(region.erasures) - min(region.erasures) <= 1
    assert sum(region.erasures) == 42


def test_an_image_with_a_flipped_bit_is_not_current() -> None:
    region, store = new_store()
    store.update(b"first")
    second = store.update(b"second")
    region.program(second.offset, b"\x00")
    assert store.read() == b"first"


def test_a_too_large_image_is_refused_with_both_sizes() -> None:
    region, store = new_store()
    store.update(b"kept")
    worn = list(region.erasures)
    with pytest.raises(UsageError, match=f"{store.capacity + 1} bytes.*{store.capacity}"):
        store.update(bytes(store.capacity + 1))
    assert store.read() == b"kept"
    assert region.erasures == worn
    store.update(bytes(store.capacity))
    assert store.read() == bytes(store.capacity)


def test_one_slot_is_no_safe_store() -> None:
    with pytest.raises(ValueError, match="two slots"):
        ImageStore(Region(SECTOR), slots=1)


def test_a_header_with_a_fallen_bit_does_not_count_with_another_number() -> None:
    region, store = new_store()
    for image in (b"first", b"second", b"third"):
        last = store.update(image)
    header = last.offset - 32  # 24 bytes in two units of 16
    assert region.read(header, 4) == b"VMIM"
    region.program(header + 4, b"\xfe")  # number 3 would read 2
    assert store.read() == b"second"
