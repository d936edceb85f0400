"""What the boot ROM makes of what is in the flash."""

import hashlib
import random
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats import esp_image
from harness.formats.virtual_image import flash_offset
from harness.link.panics import find_panic
from harness.virtual.boot import boot
from harness.virtual.nor_flash import Flash
from harness.virtual.virtual_firmware import build_firmware

SIZE = 4 * 1024 * 1024


def programmed(chip: str) -> Flash:
    flash = Flash(SIZE)
    flash.program(flash_offset(chip), build_firmware(chip))
    return flash


def words(chip: str, flash: Flash, reason: str = "power-on") -> str:
    return b"".join(text for _, text in boot(chip, flash, reason).text).decode()


NEWER = ["esp32s3", "esp32c3", "esp32c6"]


@pytest.mark.parametrize("chip", ["esp32", "esp8266", *NEWER])
def test_a_whole_image_boots(chip: str) -> None:
    found = boot(chip, programmed(chip), "power-on")
    assert found.payload is not None
    assert found.payload[:4] == b"\0asm"
    assert found.partitions["romfs"] == ((0xB0000, 0x50000) if chip == "esp8266" else (0x1E0000, 0x20000))


@pytest.mark.parametrize(("chip", "number"), [("esp32s3", 9), ("esp32c3", 5), ("esp32c6", 13)])
def test_a_newer_rom_says_what_it_loads_and_refuses_another_chips_image(chip: str, number: int) -> None:
    said = words(chip, programmed(chip))
    assert said.startswith(f"ESP-ROM:{chip}")
    assert "rst:0x1 (POWERON),boot:0x" in said and "(SPI_FAST_FLASH_BOOT)\r\nSPIWP:0xee\r\n" in said
    assert "len:0x4a0" in said and "Saved PC" not in said
    flash = Flash(SIZE)
    flash.program(0, build_firmware("esp32"))
    said = words(chip, flash, "software")
    assert f"Invalid chip id. Expected {number} read 0. Bootloader for wrong chip?\r\nets_main.c 329" in said
    assert "Saved PC:0x" in said
    panic = find_panic(said.encode(), reset_expected=True)
    assert panic is not None and panic.kind == "boot" and "Invalid chip id" in panic.text


@pytest.mark.parametrize("chip", NEWER)
def test_a_boot_loader_does_not_start_another_chips_application(chip: str) -> None:
    image = bytearray(build_firmware(chip))
    image[0x10000 + 12] = 0  # the chip's number in the application's header
    flash = Flash(SIZE)
    flash.program(0, bytes(image))
    found = boot(chip, flash, "power-on")
    assert found.payload is None
    assert "mismatch chip ID, expected" in words(chip, flash)


def test_a_newer_rom_starts_a_boot_loader_whose_hash_is_wrong() -> None:
    image = bytearray(build_firmware("esp32s3"))
    end = esp_image.parse(bytes(image)).length
    image[end - 1] ^= 1
    flash = Flash(SIZE)
    flash.program(0, bytes(image))
    said = words("esp32s3", flash)
    assert "SHA-256 comparison failed:" in said and "Attempting to boot anyway..." in said
    assert boot("esp32s3", flash, "power-on").payload is not None


def test_rom_text_is_at_the_roms_baud_rate() -> None:
    assert {baud for baud, _ in boot("esp8266", programmed("esp8266"), "power-on").text} == {74880}
    assert {baud for baud, _ in boot("esp32", programmed("esp32"), "power-on").text} == {115200}


@pytest.mark.parametrize(
    ("reason", "esp32", "esp8266"),
    [
        ("power-on", "rst:0x1 (POWERON_RESET)", "rst cause:1"),
        ("software", "rst:0xc (SW_CPU_RESET)", "rst cause:2"),
        ("deep-sleep", "rst:0x5 (DEEPSLEEP_RESET)", "rst cause:2"),
    ],
)
def test_the_reset_reason_is_printed(reason: str, esp32: str, esp8266: str) -> None:
    assert esp32 in words("esp32", Flash(SIZE), reason)
    assert esp8266 in words("esp8266", Flash(SIZE), reason)


def test_erased_flash() -> None:
    assert "invalid header: 0xffffffff" in words("esp32", Flash(SIZE))
    assert "flash read err, 0" in words("esp8266", Flash(SIZE))


@pytest.mark.parametrize(
    ("chip", "at", "text"),
    [
        ("esp32", 0x1000 + 40, "csum err:0x"),
        ("esp32", 0x8000 + 5, "E (60) flash_parts: calculated MD5 differs"),
        ("esp32", 0x8000, "invalid magic number"),
        ("esp32", 0x10000, "has invalid magic byte"),
        ("esp32", 0x10000 + 5000, "Checksum failed"),
        ("esp32", 0x10000 + 23, ""),
        ("esp32s3", 40, "Checksum failure. Calculated 0x"),
        ("esp32c3", 0x10000 + 5000, "Checksum failed"),
        ("esp8266", 20, "csum err"),
        ("esp8266", 0x9000 + 5000, "Fatal exception 0(IllegalInstructionCause)"),
    ],
)
def test_one_flipped_bit_is_found_where_the_chip_finds_it(chip: str, at: int, text: str) -> None:
    flash = programmed(chip)
    byte = flash.read(at, 1)[0]
    flash.erase(at // 4096 * 4096, 4096)
    image = build_firmware(chip)
    sector = at // 4096 * 4096
    whole = bytearray(b"\xff" * flash_offset(chip) + image)
    whole[at] = byte ^ 0x40
    flash.program(sector, bytes(whole[sector : sector + 4096]))
    found = boot(chip, flash, "power-on")
    if text:
        assert found.payload is None
        assert text in words(chip, flash)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["esp32", "esp8266", *NEWER]))
def test_no_flash_content_breaks_the_rom(seed: int, chip: str) -> None:
    """Random headers over an otherwise plausible layout: it boots or says why not."""
    source = random.Random(seed)
    flash = Flash(2 * 1024 * 1024 if chip == "esp8266" else 256 * 1024)
    for offset in (0, 0x1000, 0x8000, 0x9000 - 4):
        head = bytes([0xE9, source.randrange(0, 20)]) + source.randbytes(60)
        flash.program(offset, head if source.random() < 0.8 else source.randbytes(64))
    found = boot(chip, flash, "power-on")
    assert found.payload is None
    assert found.text


def with_factory_at(offset: int) -> Flash:
    """A table that is whole (its MD5 is right) and puts the application elsewhere."""
    image = bytearray(build_firmware("esp32"))
    table = image[0x7000:0x7C00]
    for at in range(0, len(table), 32):
        if table[at + 12 : at + 19] == b"factory":
            struct.pack_into("<I", table, at + 4, offset)
        if table[at : at + 2] == b"\xeb\xeb":
            table[at + 16 : at + 32] = hashlib.md5(table[:at], usedforsecurity=False).digest()
            break
    image[0x7000:0x7C00] = table
    flash = Flash(SIZE)
    flash.program(0x1000, bytes(image))
    return flash


@pytest.mark.parametrize("offset", [SIZE, 0x10000000, 0xFFFFFFF0])
def test_a_partition_outside_the_flash_is_refused(offset: int) -> None:
    said = words("esp32", with_factory_at(offset))
    assert f"partition 2 invalid - offset 0x{offset:x}" in said
    assert "exceeds flash chip size 0x400000" in said


def test_a_partition_without_an_application_is_not_bootable() -> None:
    said = words("esp32", with_factory_at(0x200000))
    assert "image at 0x200000 has invalid magic byte" in said
    assert "No bootable app partitions in the partition table" in said


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
@pytest.mark.parametrize("size", [4096, 0x8000, 0x9000, 0xA000])
def test_a_flash_too_small_for_the_layout_does_not_boot(chip: str, size: int) -> None:
    flash = Flash(size)
    image = (b"\xff" * flash_offset(chip) + build_firmware(chip))[:size]
    flash.program(0, image)
    assert boot(chip, flash, "power-on").payload is None


def test_flash_keeps_its_content_and_behaves_as_nor(tmp_path: Path) -> None:
    file = tmp_path / "x.flash"
    flash = Flash(64 * 1024, file)
    flash.program(100, b"\x0f\xf0")
    flash.program(100, b"\x3c\x3c")
    again = Flash(64 * 1024, file)
    assert again.read(99, 4) == b"\xff\x0c\x30\xff"
    again.erase(0, 4096)
    assert again.read(100, 2) == b"\xff\xff"
    for bad in ((1, 4096), (0, 100), (0, 128 * 1024)):
        with pytest.raises(ValueError):
            again.erase(*bad)
