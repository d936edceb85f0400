"""What is erased and written on an STM32, whatever the flash holds and wherever the images lie."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chips import CHIPS, STM32_FLASH_BASE
from harness.errors import UsageError
from harness.flashing.flasher import FlashImage
from harness.flashing.stm32_plan import check_places, make_plan
from harness.flashing.stm32_sectors import Sector, device_of, geometry_of, sectors_of

BASE = STM32_FLASH_BASE
SIZES = (512, 512, 1024, 2048)


def small_sectors() -> list[Sector]:
    found, address = [], BASE
    for number, size in enumerate(SIZES):
        found.append(Sector(number, address, size))
        address += size
    return found


#: Runs of one byte, so that blank stretches and equal ones are common.
contents = st.lists(st.tuples(st.sampled_from([0xFF, 0x00, 0x41]), st.integers(1, 700)), max_size=8).map(
    lambda runs: b"".join(bytes([byte]) * length for byte, length in runs)
)


@st.composite
def images(draw: st.DrawFn) -> list[FlashImage]:
    found, at = [], BASE
    for number in range(draw(st.integers(1, 3))):
        at += 8 * draw(st.integers(0, 100))
        data = draw(contents)[: max(0, BASE + sum(SIZES) - at)]
        if data:
            found.append(FlashImage(at, data, f"image {number}"))
        at += len(data) + -len(data) % 8
    return found


@settings(max_examples=150)
@given(held=contents, wanted=images(), always=st.booleans(), piece=st.integers(1, 3000))
def test_the_plan_leaves_the_images_and_everything_else_as_it_was(
    held: bytes, wanted: list[FlashImage], always: bool, piece: int
) -> None:
    sectors = small_sectors()
    flash = bytearray(held.ljust(sum(SIZES), b"\xff")[: sum(SIZES)])
    expected = bytearray(flash)
    for image in wanted:
        expected[image.offset - BASE : image.offset - BASE + len(image.data)] = image.data
    plan = make_plan(
        wanted, sectors, lambda at, size: bytes(flash[at - BASE : at - BASE + size]), always_erase=always, piece=piece
    )
    if always:
        for at, _ in plan.write:
            assert any(sector.address <= at < sector.end for sector in plan.erase)
    for sector in plan.erase:
        flash[sector.address - BASE : sector.end - BASE] = b"\xff" * sector.size
    for at, data in plan.write:
        there = flash[at - BASE : at - BASE + len(data)]
        assert all(old == 0xFF for old, new in zip(there, data, strict=True) if new != 0xFF), "not erased"
        flash[at - BASE : at - BASE + len(data)] = bytes(a & b for a, b in zip(there, data, strict=True))
    assert flash == expected
    again = make_plan(wanted, sectors, lambda at, size: bytes(flash[at - BASE : at - BASE + size]))
    assert (again.erase, again.write) == ((), ())
    assert again.unchanged == sum(len(image.data) for image in wanted)


@given(wanted=images())
def test_a_sector_without_a_difference_is_not_erased(wanted: list[FlashImage]) -> None:
    sectors = small_sectors()
    flash = bytearray(b"\x00" * sum(SIZES))
    plan = make_plan(wanted, sectors, lambda at, size: bytes(flash[at - BASE : at - BASE + size]))
    for sector in sectors:
        inside = [
            image.data[max(0, sector.address - image.offset) : max(0, sector.end - image.offset)] for image in wanted
        ]
        assert (sector in plan.erase) == any(part.strip(b"\x00") for part in inside)


def test_no_more_is_read_of_a_sector_than_tells_that_it_must_be_erased() -> None:
    read: list[tuple[int, int]] = []

    def reader(at: int, size: int) -> bytes:
        read.append((at - BASE, size))
        return b"\x00" * size

    make_plan([FlashImage(BASE, b"\x55" * 1024, "a")], small_sectors(), reader, piece=64)
    assert read == [(0, 64), (512, 64)]


@given(length=st.integers(8, 1500), room=st.integers(8, 1500))
def test_what_stands_behind_an_image_in_its_own_room_is_neither_read_nor_written_back(length: int, room: int) -> None:
    flash = b"\x41" * sum(SIZES)
    room = max(room, length)
    read: list[range] = []

    def reader(at: int, size: int) -> bytes:
        read.append(range(at - BASE, at - BASE + size))
        return flash[at - BASE : at - BASE + size]

    plan = make_plan([FlashImage(BASE, b"\x55" * length, "a", room)], small_sectors(), reader)
    written = bytearray(b"\xff" * sum(SIZES))
    for at, data in plan.write:
        written[at - BASE : at - BASE + len(data)] = data
    end = max(sector.end for sector in plan.erase) - BASE
    assert written[:length] == b"\x55" * length
    assert not written[length : min(room, end)].strip(b"\xff")
    assert written[min(room, end) : end] == flash[min(room, end) : end]
    assert not any(at in part for part in read for at in (length, room - 1) if length <= at < room)


@pytest.mark.parametrize(("second", "message"), [(BASE + 8, "would overwrite the end of a"), (BASE + 4090, "double")])
def test_images_on_each_other_or_inside_a_double_word_are_refused(second: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_places([FlashImage(BASE, bytes(16), "a"), FlashImage(second, b"b", "b")], small_sectors())


@pytest.mark.parametrize("chip", [chip.name for chip in CHIPS.values() if chip.family == "stm32"])
def test_every_chip_of_the_inventory_has_sectors_that_fill_its_flash(chip: str) -> None:
    size = CHIPS[chip].flash_size
    assert size is not None
    for device_id in geometry_of(chip).devices:
        sectors = sectors_of(chip, device_of(chip, device_id, "port"))
        assert [sector.number for sector in sectors] == list(range(len(sectors)))
        assert sectors[0].address == BASE
        assert all(one.end == other.address for one, other in pairwise(sectors))
        assert sectors[-1].end == BASE + size


def test_a_smaller_part_of_a_line_has_fewer_sectors() -> None:
    sizes = [s.size // 1024 for s in sectors_of("stm32f401", device_of("stm32f401", 0x423, "port"), 256 * 1024)]
    assert sizes == [16, 16, 16, 16, 64, 128]
