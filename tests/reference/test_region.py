"""NOR flash: what programming, erasing and a power cut may do to the bits."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.reference.flash.flash_region import SECTOR, PowerCut, Region


def test_programming_clears_bits_and_never_sets_one() -> None:
    region = Region(SECTOR)
    region.program(0, b"\xf0")
    region.program(0, b"\x3f")
    assert region.read(0, 2) == b"\x30\xff"


def test_erasing_sets_the_bits_of_that_sector_only() -> None:
    region = Region(3 * SECTOR)
    region.program(0, bytes(3 * SECTOR))
    region.erase(SECTOR, SECTOR)
    assert [region.blank(start, SECTOR) for start in (0, SECTOR, 2 * SECTOR)] == [False, True, False]


@pytest.mark.holds("store.wear")
def test_wear_is_counted_where_it_happens() -> None:
    region = Region(3 * SECTOR, unit=16)
    region.erase(SECTOR, 2 * SECTOR)
    region.erase(SECTOR, SECTOR)
    region.program(2 * SECTOR - 20, bytes(40))  # parts of units 20 and 4 bytes before the border, 20 after it
    assert region.erasures == [0, 2, 1]
    assert region.programmings == [0, 2, 2]
    assert region.steps == 3 + 4
    region.program(5, b"")
    assert region.programmings == [0, 2, 2]
    assert region.steps == 3 + 4


@given(offset=st.integers(0, 2 * SECTOR), size=st.integers(0, 300))
def test_a_cut_that_never_comes_changes_nothing_that_is_counted(offset: int, size: int) -> None:
    plain, armed = Region(3 * SECTOR), Region(3 * SECTOR)
    armed.cut_power(1000)
    for region in (plain, armed):
        region.program(offset, bytes(size))
    assert plain.read(0, plain.size) == armed.read(0, armed.size)
    assert (plain.steps, plain.programmings) == (armed.steps, armed.programmings)


@pytest.mark.parametrize(("offset", "size"), [(1, SECTOR), (0, 100), (SECTOR, SECTOR), (-SECTOR, SECTOR)])
def test_an_erase_beside_the_sectors_is_refused(offset: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"aligned|outside"):
        Region(SECTOR).erase(offset, size)


def test_a_unit_with_ecc_is_programmed_once() -> None:
    region = Region(SECTOR, unit=8, rewrite=False)
    region.program(0, bytes(5))
    with pytest.raises(ValueError, match="once"):
        region.program(5, bytes(3))
    region.program(8, bytes(8))
    region.erase(0, SECTOR)
    region.program(0, bytes(8))


@settings(max_examples=60, deadline=None)
@given(
    data=st.binary(min_size=1, max_size=200), offset=st.integers(0, 40), seed=st.integers(0, 99), share=st.floats(0, 1)
)
def test_a_cut_program_is_whole_before_the_cut_and_untouched_after(
    data: bytes, offset: int, seed: int, share: float
) -> None:
    region = Region(SECTOR)
    units = (offset + len(data) - 1) // 16 - offset // 16 + 1
    cut = min(int(share * units), units - 1)
    region.cut_power(cut, seed=seed)
    with pytest.raises(PowerCut):
        region.program(offset, data)
    with pytest.raises(PowerCut):
        region.read(0, 1)
    region.power_on()
    now = region.read(0, 512)
    whole = bytearray(b"\xff" * 512)
    whole[offset : offset + len(data)] = data
    border = (offset // 16 + cut) * 16
    assert now[:border] == whole[:border]
    assert all(now[i] & whole[i] == whole[i] for i in range(512))  # no bit cleared that should stay set
    assert now[border + 16 :].count(0xFF) == 512 - border - 16


def test_a_cut_erase_leaves_a_sector_between_old_and_blank() -> None:
    region = Region(2 * SECTOR)
    region.program(0, bytes(2 * SECTOR))
    region.cut_power(1, seed=5)
    with pytest.raises(PowerCut):
        region.erase(0, 2 * SECTOR)
    region.power_on()
    assert region.blank(0, SECTOR)
    assert 0 < region.read(SECTOR, SECTOR).count(0) < SECTOR
    assert not region.blank(SECTOR, SECTOR)
