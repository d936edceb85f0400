"""The ESP image container, held against esptool's own builder and parser in both directions."""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import Any

import pytest
from esptool import cmds
from esptool.bin_image import LoadFirmwareImage
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chips import CHIPS, chip_of_image
from harness.errors import UsageError
from harness.formats import esp_image
from harness.formats.esp_image import FlashMode, ImageError
from tests.formats.elf_maker import RISCV, XTENSA, make_elf
from tests.running_boards import tool

DATA = bytes(range(256))
SEGMENTS = [(0x3FFB_0000, DATA), (0x4008_0000, b"code" * 33 + b"x")]


def elf2image(sections: list[tuple[str, int, bytes]], entry: int, chip: str, machine: int, **options: Any) -> bytes:
    result = cmds.elf2image(make_elf(sections, entry=entry, machine=machine), chip, None, **options)
    image: bytes = result[1] if isinstance(result, tuple) else result
    return image


@pytest.mark.parametrize(
    ("chip", "machine", "dram", "iram", "drom", "irom"),
    [
        ("esp32", XTENSA, 0x3FFB_0000, 0x4008_0000, 0x3F40_0020, 0x400D_0020),
        ("esp32s2", XTENSA, 0x3FFB_0000, 0x4002_8000, 0x3F00_0020, 0x4008_0020),
        ("esp32s3", XTENSA, 0x3FC8_8000, 0x4037_4000, 0x3C00_0020, 0x4200_0020),
        ("esp32c3", RISCV, 0x3FC8_0000, 0x4038_0000, 0x3C00_0020, 0x4200_0020),
        ("esp32c6", RISCV, 0x4080_0000, 0x4080_4000, 0x4280_0020, 0x4200_0020),
    ],
)
def test_what_esptool_builds_is_understood(chip: str, machine: int, dram: int, iram: int, drom: int, irom: int) -> None:
    sections = [
        (".dram.data", dram, DATA),
        (".iram.text", iram, b"\x01\x02\x03\x04" * 40),
        (".flash.rodata", drom, b"rodata" * 50),
        (".flash.text", irom, b"\x11\x22\x33\x44" * 64),
    ]
    data = elf2image(sections, iram, chip, machine, flash_size="4MB", flash_mode="dio")
    image = esp_image.parse(data)
    assert (image.chip, image.entry, image.faults) == (chip, iram, ())
    assert image.length == len(data) and image.sha256 is not None
    assert image.flash_size == 4 << 20 and esp_image.FLASH_MODES[image.flash_mode] == "dio"
    found = {s.address: s.data for s in image.segments}
    for _, address, content in sections:
        assert found[address][: len(content)] == content
    assert {a for a in found if CHIPS[chip].in_flash(a)} >= {drom, irom}
    assert not CHIPS[chip].in_flash(dram) and not CHIPS[chip].in_flash(iram)


@pytest.mark.parametrize("version", [1, 2])
def test_esp8266_images_of_esptool(version: int) -> None:
    sections = [(".text", 0x4010_0000, b"\x01\x02\x03\x04" * 9), (".data", 0x3FFE_8000, DATA)]
    if version == 2:
        sections.append((".irom0.text", 0x4020_2010, b"irom" * 100))
    data = elf2image(sections, 0x4010_0004, "esp8266", XTENSA, version=str(version), flash_size="2MB")
    image = esp_image.parse(data)
    assert (image.version, image.chip, image.entry, image.faults) == (version, "esp8266", 0x4010_0004, ())
    assert image.flash_size == 2 << 20 and image.length == len(data)
    assert (image.crc32 is not None) is (version == 2)
    assert {s.address for s in image.segments} == {0x4010_0000, 0x3FFE_8000} | ({0} if version == 2 else set())
    damaged = bytearray(data)
    damaged[image.segments[0].file_offset] ^= 1
    assert any(
        "CRC-32" in fault if version == 2 else "checksum" in fault for fault in esp_image.parse(bytes(damaged)).faults
    )


@pytest.mark.parametrize("chip", [c for c in CHIPS if c.startswith("esp")])
def test_what_we_build_is_understood_by_esptool(chip: str, tmp_path: Path) -> None:
    if chip == "esp8266":
        segments = [(0x4010_0000, DATA), (0x3FFE_8000, b"data")]
        data = esp_image.build_esp8266(segments, entry=0x4010_0000, flash_size=2 << 20)
    else:
        # Not at an address that maps flash, where esptool looks for an application description.
        segments = [(0x4FF0_0000, DATA)] if chip == "esp32p4" else SEGMENTS
        chip_id = CHIPS[chip].image_id
        assert chip_id is not None
        data = esp_image.build_esp32(segments, entry=0x4008_0000, chip_id=chip_id, flash_size=8 << 20)
    theirs = LoadFirmwareImage(chip, data)
    assert theirs.checksum == theirs.calculate_checksum()
    assert [s.addr for s in theirs.segments] == [address for address, _ in segments]
    assert [s.data[: len(d)] for s, (_, d) in zip(theirs.segments, segments, strict=True)] == [d for _, d in segments]
    if chip != "esp8266":
        assert theirs.chip_id == CHIPS[chip].image_id and theirs.stored_digest == theirs.calc_digest
    (tmp_path / "image.bin").write_bytes(data)
    out = tool("esptool", "image-info", str(tmp_path / "image.bin")).stdout.replace("-", "").lower()
    assert f"detected image type: {chip}" in out and "invalid" not in out
    ours = esp_image.parse(data)
    assert ours.chip == chip and not ours.faults and ours.length == len(data)


def test_the_chip_table_agrees_with_esptool() -> None:
    from esptool.targets import CHIP_DEFS

    for chip in CHIPS.values():
        if chip.family in ("stm32", "generic"):
            continue
        rom = CHIP_DEFS[chip.name]
        assert chip.boot_offset == rom.BOOTLOADER_FLASH_OFFSET
        if chip.family == "esp32":
            assert chip.image_id == rom.IMAGE_CHIP_ID and chip_of_image(rom.IMAGE_CHIP_ID) is chip
            for first, last in (
                (rom.DROM_MAP_START, rom.DROM_MAP_END),
                (rom.IROM_MAP_START, rom.IROM_MAP_END),
            ):
                assert chip.in_flash(first) and chip.in_flash(last - 1)


@settings(max_examples=100, deadline=None)
@given(
    segments=st.lists(st.tuples(st.integers(0, 0xFFFF_FFFF), st.binary(max_size=70)), min_size=1, max_size=16),
    entry=st.integers(0, 0xFFFF_FFFF),
    mode=st.sampled_from(esp_image.FLASH_MODES),
    chip_id=st.sampled_from(sorted(chip.image_id for chip in CHIPS.values() if chip.image_id is not None)),
)
def test_built_images_come_back(segments: list[tuple[int, bytes]], entry: int, mode: FlashMode, chip_id: int) -> None:
    data = esp_image.build_esp32(segments, entry=entry, flash_mode=mode, chip_id=chip_id)
    image = esp_image.parse(data + b"trailing", esp8266=False)
    assert (image.entry, image.chip_id, image.length, image.faults) == (entry, chip_id, len(data), ())
    assert [(s.address, s.data) for s in image.segments] == [
        (address, content + bytes(-len(content) % 4)) for address, content in segments
    ]
    assert image.checksum == functools.reduce(operator.xor, b"".join(d for _, d in segments), 0xEF)


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=200), magic=st.sampled_from([b"", b"\xe9", b"\xea", b"\xe9\x01", b"\xea\x04"]))
def test_garbage_is_an_image_or_an_image_error(data: bytes, magic: bytes) -> None:
    for esp8266 in (None, True, False):
        try:
            image = esp_image.parse(magic + data, esp8266=esp8266)
        except ImageError as error:
            assert error.exit_code == 2
        else:
            assert image.length <= len(magic + data)


@pytest.mark.parametrize("family", ["esp32", "esp8266"])
def test_every_truncation_is_noticed(family: str) -> None:
    build = esp_image.build_esp32 if family == "esp32" else esp_image.build_esp8266
    data = build([(0x4010_0000, b"12345678"), (0x3FFE_8000, b"1234")], entry=1)
    assert esp_image.parse(data).length == len(data)
    for size in range(len(data)):
        with pytest.raises(ImageError):
            esp_image.parse(data[:size])


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, 2**16), bit=st.integers(0, 7))
def test_no_flipped_bit_goes_unnoticed(position: int, bit: int) -> None:
    data = bytearray(esp_image.build_esp32(SEGMENTS, entry=0x4008_0000))
    data[position % len(data)] ^= 1 << bit
    try:
        image = esp_image.parse(bytes(data), esp8266=False)
    except ImageError:
        return
    # Clearing the hash flag itself leaves an image without one, which the boot ROM takes as well.
    assert image.faults or image.sha256 is None or image.length != len(data)


def test_what_cannot_be_built() -> None:
    with pytest.raises(ImageError, match="expected 1 to 16 segments in the image header, found 17"):
        esp_image.build_esp32([(0, b"")] * 17, entry=0)
    with pytest.raises(UsageError, match="flash size 3145728 bytes has no code"):
        esp_image.build_esp8266([(0, b"")], entry=0, flash_size=3 << 20)
