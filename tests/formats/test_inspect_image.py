"""What is said of a file, and the gate that refuses what is not for this chip before anything is erased."""

from __future__ import annotations

import functools
import struct

import pytest
from esptool import cmds
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.chips import CHIPS
from harness.formats import app_desc, esp_image, stm32_image, virtual_image
from harness.formats.app_desc import AppDesc
from harness.formats.esp_image import ImageError
from harness.formats.inspect_image import inspect, require_for
from harness.formats.partitions import Partition, build_table
from tests.formats.elf_maker import make_elf

MB = 1 << 20
FLASH = 0x0800_0000


def app(chip: str = "esp32", version: str = "v1.2.3") -> bytes:
    chip_id = CHIPS[chip].image_id
    assert chip_id is not None
    drom = CHIPS[chip].flash_map[0][0] + 0x20
    desc = app_desc.build(AppDesc(version, "micropython", "", "", ""))
    return esp_image.build_esp32([(drom, desc + b"code")], entry=0x4008_0000, chip_id=chip_id)


def bootloader(chip: str = "esp32") -> bytes:
    chip_id = CHIPS[chip].image_id
    assert chip_id is not None
    return esp_image.build_esp32([(0x3FFF_0030, b"boot" * 9)], entry=0x3FFF_0030, chip_id=chip_id)


def combined(chip: str = "esp32", inner: bytes | None = None, table: list[Partition] | None = None) -> bytes:
    start = CHIPS[chip].boot_offset
    table = table or [Partition("nvs", 1, 2, 0x9000, 0x6000), Partition("factory", 0, 0, 0x10000, 0x100000)]
    image = bootloader(chip).ljust(0x8000 - start, b"\xff") + build_table(table)
    return image.ljust(0x10000 - start, b"\xff") + (app(chip) if inner is None else inner)


def stm32(stack: int = 0x2002_0000, reset: int = FLASH + 0x401, size: int = 1024) -> bytes:
    return struct.pack("<II", stack, reset).ljust(size, b"\x01")


@functools.cache
def virtual(chip: str) -> bytes:
    return virtual_image.build(chip, b"\0asm" + b"payload" * 2000, version="v1.28.0")


@pytest.mark.parametrize("chip", ["esp32", "esp32s2", "esp32s3", "esp32c3", "esp32c6", "esp32c5"])
def test_esp32_family(chip: str) -> None:
    info = inspect(app(chip))
    assert (info.kind, info.chip, info.version, info.project) == ("esp32-app", chip, "v1.2.3", "micropython")
    info = inspect(bootloader(chip))
    assert (info.kind, info.chip, info.offset_hint) == ("esp32-bootloader", chip, CHIPS[chip].boot_offset)
    info = inspect(combined(chip))
    assert (info.kind, info.chip, info.version, info.problems) == ("esp32-combined", chip, "v1.2.3", ())
    assert info.offset_hint == CHIPS[chip].boot_offset
    assert [p.label for p in info.partitions] == ["nvs", "factory"]
    assert len(info.segments) == 2


def test_images_merged_from_offset_zero() -> None:
    data = b"\xff" * 0x1000 + combined()
    info = inspect(data)
    assert (info.kind, info.chip, info.offset_hint, info.problems) == ("esp32-combined", "esp32", 0, ())
    require_for("esp32", 0, data, 4 * MB)
    with pytest.raises(ImageError, match="belongs at 0x0, not at 0x1000"):
        require_for("esp32", 0x1000, data, 4 * MB)


def test_an_esp8266_v2_image() -> None:
    elf = make_elf([(".text", 0x4010_0000, b"code" * 9), (".irom0.text", 0x4020_2010, b"irom")], entry=0x4010_0000)
    data = cmds.elf2image(elf, "esp8266", None, version="2")
    assert (inspect(data).kind, inspect(data).chip) == ("esp8266-v2", "esp8266")
    require_for("esp8266", 0x2000, data, MB)
    with pytest.raises(ImageError, match="damaged: CRC-32 stored"):
        require_for("esp8266", 0x2000, data[:-1] + bytes([data[-1] ^ 1]), MB)


@pytest.mark.parametrize(
    ("text", "project", "version"),
    [
        (
            b"MicroPython v1.9.4-113-g7d86ac6c on 2018-06-02; ESP module",
            "micropython",
            "v1.9.4-113-g7d86ac6c",
        ),
        (b"Adafruit CircuitPython 9.2.0 on 2024-11-20; board", "circuitpython", "9.2.0"),
        (b"NodeMCU 3.0.0.0 built on", "nodemcu", "3.0.0.0"),
        (b"use MicroPython v1.0 or later\0MicroPython v1.27.0 on 2025-12-09; x", "micropython", "v1.27.0"),
        (b"MicroPython packages are supported", None, None),
        (b"MicroPython v1.\x1b[31m", None, None),
    ],
)
def test_the_version_text_is_found(text: bytes, project: str | None, version: str | None) -> None:
    info = inspect(stm32() + b"\0" * 100 + text + b"\0")
    assert (info.project, info.version) == (project, version)


def test_an_empty_version_in_the_description_is_filled_from_the_banner() -> None:
    desc = app_desc.build(AppDesc("", "", "", "", "v4.2"))
    data = esp_image.build_esp32([(0x3F400020, desc + b"MicroPython v1.16 on 2021-06-18; x")], entry=1)
    assert (inspect(data).version, inspect(data).project) == ("v1.16", "micropython")


@pytest.mark.parametrize(
    ("chip", "offset", "data"),
    [
        ("esp32", 0x1000, combined()),
        ("esp32", 0x1000, bootloader()),
        ("esp32", 0x8000, combined()[0x7000:0x7C00]),
        ("esp32", 0x10000, app()),
        ("esp32c3", 0x0, combined("esp32c3")),
        ("esp32", 0x1000, virtual("esp32")),
        ("esp8266", 0x0, virtual("esp8266")),
        ("stm32f405", FLASH, stm32()),
        ("stm32f405", FLASH + 0x8000, stm32(reset=FLASH + 0x8401)),
    ],
)
def test_what_belongs_is_let_through(chip: str, offset: int, data: bytes) -> None:
    info = require_for(chip, offset, data, 4 * MB if chip.startswith("esp") else None)
    assert info.chip == chip and not info.problems


@pytest.mark.parametrize(
    ("chip", "offset", "data", "message"),
    [
        ("esp32", 0x1000, virtual("esp8266"), "expected an image for esp32, found one for esp8266"),
        ("esp8266", 0x0, virtual("esp32"), "expected an image for esp8266, found one for esp32"),
        ("esp32s3", 0x0, combined("esp32c3"), "expected an image for esp32s3, found one for esp32c3"),
        ("esp32s3", 0x10000, app("esp32"), "expected an image for esp32s3, found one for esp32"),
        (
            "esp8266",
            0x8000,
            combined()[0x7000:0x7C00],
            "expected an image for esp8266, found one for ESP32-family",
        ),
        ("stm32f405", FLASH, app(), "expected a raw image for stm32f405, found one for esp32"),
        ("stm32f405", FLASH, b"\x7fELF" + bytes(99), "found looks like an ELF file"),
        ("stm32f405", FLASH, b"DfuSe" + bytes(99), "a DfuSe"),
        ("esp32", 0x1000, stm32(), "expected a firmware image for esp32, found stack 0x20020000"),
        ("esp32", 0x1000, b"UF2\n" + bytes(99), "found looks like a UF2 file"),
        ("esp32", 0x1000, b"<html>not found</html>", "found looks like an HTML or XML page"),
        ("esp32", 0x1000, b"\0" * 99, "found no image header that any chip here boots"),
        ("esp32", 0x1000, b"\xff" * 0x3000, "found no image header"),
        ("esp32", 0x1000, b"", "the file is empty"),
        ("esp32", 0x0, combined(), "belongs at 0x1000, not at 0x0"),
        ("esp32", 0x1000, app(), "belongs at its app partition"),
        ("esp32", 0x18000, app(), "belongs at its app partition"),
        ("esp32", 0x9000, combined()[0x7000:0x7C00], "belongs at 0x8000, not at 0x9000"),
        ("esp8266", 0x1000, virtual("esp8266"), "belongs at 0x0, not at 0x1000"),
        ("stm32f405", 0, stm32(), "offset 0x0 is not in the flash of stm32f405"),
        (
            "stm32f405",
            FLASH + 0x8000,
            stm32(),
            "its reset vector 0x08000401 lies before its offset 0x08008000",
        ),
        ("stm32f401", FLASH, stm32(), "initial stack pointer 0x20020000 is not in the RAM of the stm32f401"),
        ("stm32f401", FLASH, stm32(0x2001_8000, size=600 * 1024), "past the flash of 512 KB"),
        ("stm32f405", FLASH, stm32(reset=FLASH + 0x400), "reset vector 0x08000400 is not an odd address"),
        ("stm32f411", FLASH, stm32(reset=FLASH + 0x9_0001), "reset vector 0x08090001 is not an odd address"),
        ("stm32f405", FLASH, b"\xff" * 64, "initial stack pointer 0xffffffff"),
        ("stm32f405", FLASH, b"1234", "expected a vector table, found only 4 bytes"),
        ("esp32", 0x3F_F000, combined(), "past the flash of 4096 KB"),
    ],
)
def test_what_does_not_belong_is_refused(chip: str, offset: int, data: bytes, message: str) -> None:
    flash_size = 4 * MB if chip.startswith("esp") else None
    with pytest.raises(ImageError) as caught:
        require_for(chip, offset, data, flash_size, name="fw.bin")
    assert message in caught.value.message
    assert caught.value.message.startswith("fw.bin: ")
    assert caught.value.exit_code == 2 and (caught.value.hint or not data)


def test_partitions_must_fit_the_flash() -> None:
    with pytest.raises(ImageError, match="partition 'vfs' ends at 0x400000, the flash at 0x200000"):
        require_for("esp32", 0x1000, virtual("esp32"), 2 * MB)
    require_for("esp32", 0x1000, virtual("esp32"), None)


def test_combined_images_must_agree_with_themselves() -> None:
    table = [Partition("factory", 0, 0, 0x10000, 0x10000)]
    big = esp_image.build_esp32([(0x3F400020, bytes(0x11000))], entry=1)
    for data, message in (
        (combined(inner=app("esp32s2")), "application in 'factory' is for esp32s2, its bootloader for esp32"),
        (combined(inner=big, table=table), "does not fit 'factory'"),
        (combined(inner=b""), "no application in any app partition"),
        (combined()[:0x7000] + b"\xff" * 0x1000, "partition table: expected a row"),
        (combined()[:0x7000], "ends in padding, where a partition table was expected"),
    ):
        with pytest.raises(ImageError, match=message):
            require_for("esp32", 0x1000, data, 4 * MB)


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
def test_truncated_images_are_refused(chip: str) -> None:
    data = virtual(chip)
    start = CHIPS[chip].boot_offset
    boot_end = esp_image.parse(data).length
    for size in (
        *range(1, 64),
        500,
        boot_end - 1,
        boot_end + 1,
        0x7000,
        0x7001,
        0x8FFE,
        len(data) // 2,
        len(data) - 1,
    ):
        with pytest.raises(ImageError):
            require_for(chip, start, data[:size], 4 * MB)


@settings(max_examples=150, deadline=None)
@given(chip=st.sampled_from(["esp32", "esp8266"]), place=st.floats(0, 1), bit=st.integers(0, 7))
def test_one_flipped_bit_is_refused(chip: str, place: float, bit: int) -> None:
    data = bytearray(virtual(chip))
    position = int(place * (len(data) - 1))
    data[position] ^= 1 << bit
    boot_end = esp_image.parse(virtual(chip)).length
    # Nothing reads the padding in front of the table and of the application, and the flash
    # parameters in the ESP8266's first four bytes are outside its MD5.
    if chip == "esp32" and (boot_end <= position < 0x7000 or 0x70C0 <= position < 0xF000):
        return
    if chip == "esp8266" and position in (2, 3):
        return
    with pytest.raises(ImageError):
        require_for(chip, CHIPS[chip].boot_offset, bytes(data), 4 * MB)


def test_data_images_are_checked_for_size_only() -> None:
    romfs = b"\xd2\xcd\x31" + bytes(500)
    info = require_for("esp32", 0x1E_0000, romfs, 4 * MB, kind="data")
    assert (info.kind, info.size) == ("data", 503)
    require_for("stm32f405", FLASH + 0x2_0000, b"\0" * 100, None, kind="data")
    with pytest.raises(ImageError, match="past the flash"):
        require_for("esp32", 4 * MB - 100, romfs, 4 * MB, kind="data")
    with pytest.raises(ImageError, match="empty"):
        require_for("esp32", 0, b"", 4 * MB, kind="data")


HEADS = [
    b"",
    b"\xe9",
    b"\xe9\x01\x02\x20",
    b"\xea\x04",
    b"\xaa\x50",
    b"\xff" * 0x1000 + b"\xe9",
    bootloader(),
    stm32(),
]


@settings(max_examples=300, deadline=None)
@given(head=st.sampled_from(HEADS), data=st.binary(max_size=120), chip=st.sampled_from(sorted(CHIPS)))
def test_any_bytes_are_described_and_never_crash_the_gate(head: bytes, data: bytes, chip: str) -> None:
    info = inspect(head + data)
    assert info.size == len(head + data)
    try:
        require_for(chip, CHIPS[chip].boot_offset, head + data, None)
    except ImageError as error:
        assert str(error).isascii() or "…" in str(error)


@pytest.mark.parametrize("chip", [c for c in CHIPS if c.startswith("stm32")])
def test_each_stm32_takes_its_own_image(chip: str) -> None:
    base, size = CHIPS[chip].ram[0]
    good = stm32(base + size)
    assert stm32_image.parse_vectors(good, chip=chip).stack == base + size
    assert inspect(good).kind == "stm32-raw"
    for bad in (stm32(base + size + 4), stm32(base), stm32(base + 6), stm32(base + size, reset=0x0900_0001)):
        with pytest.raises(ImageError):
            stm32_image.parse_vectors(bad, chip=chip)
