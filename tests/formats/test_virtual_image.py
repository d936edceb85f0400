"""The virtual boards' images: the exact places that the virtual chips rely on, accepted by esptool."""

from __future__ import annotations

import hashlib
import random
import struct
import zlib
from pathlib import Path

import pytest
from esptool.bin_image import LoadFirmwareImage

from harness.errors import UsageError
from harness.formats import app_desc, esp_image, virtual_image
from harness.formats.inspect_image import inspect, require_for
from harness.formats.partitions import parse_table
from tests.running_boards import tool

PAYLOAD = b"\0asm\1\0\0\0" + bytes(range(251)) * 40
VERSION = "v1.28.0-preview.7"
MB = 1 << 20


def payload_in(content: bytes) -> bytes:
    """The payload that ``content`` begins with: VMWASM, its length, itself, or itself packed."""
    magic, size = struct.unpack_from("<8sI", content)
    assert magic in (virtual_image.PAYLOAD_MAGIC, virtual_image.PACKED_MAGIC)
    payload = content[12 : 12 + size]
    return payload if magic == virtual_image.PAYLOAD_MAGIC else zlib.decompress(payload)


def test_esp32_image_has_everything_at_its_place() -> None:
    image = virtual_image.build("esp32", PAYLOAD, version=VERSION)
    boot = esp_image.parse(image)
    assert boot.chip == "esp32" and not boot.faults and boot.length < 0x7000
    assert [s.address for s in boot.segments] == [0x3FFF0030, 0x40078000, 0x40080400]
    assert image[boot.length : 0x7000].strip(b"\xff") == b""
    table = {p.label: (p.type, p.subtype, p.offset, p.size) for p in parse_table(image[0x7000:])}
    assert table == {
        "nvs": (1, 2, 0x9000, 0x6000),
        "phy_init": (1, 1, 0xF000, 0x1000),
        "factory": (0, 0, 0x10000, 0x1D0000),
        "romfs": (1, 0x8F, 0x1E0000, 0x20000),
        "vfs": (1, 0x81, 0x200000, 0x200000),
    }
    app = esp_image.parse(image[0xF000:])
    assert not app.faults and app.length == len(image) - 0xF000
    assert [s.address for s in app.segments] == [0x3F400020, 0x40080000]
    desc = app_desc.parse(app.segments[0].data)
    assert (desc.version, desc.project) == (VERSION, "micropython")
    assert desc.elf_sha256 == hashlib.sha256(PAYLOAD).digest()
    assert payload_in(app.segments[0].data[256:]) == PAYLOAD


def test_esp8266_image_has_everything_at_its_place() -> None:
    image = virtual_image.build("esp8266", PAYLOAD, version=VERSION)
    boot = esp_image.parse(image)
    assert boot.chip == "esp8266" and not boot.faults
    assert [s.address for s in boot.segments] == [0x40100000, 0x3FFE8000]
    (total,) = struct.unpack_from("<I", image, 0x8FFC)
    assert total == len(image) - 16 and total % 4 == 0
    assert image[total:] == hashlib.md5(image[4:total]).digest()
    assert payload_in(image[0x9000:]) == PAYLOAD


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
@pytest.mark.parametrize("size", [2 * MB, 4 * MB, 16 * MB])
def test_esptool_accepts_them(chip: str, size: int, tmp_path: Path) -> None:
    if (chip, size) == ("esp32", 2 * MB):
        with pytest.raises(UsageError, match="no room for a filesystem"):
            virtual_image.build(chip, PAYLOAD, version=VERSION, flash_size=size)
        return
    image = virtual_image.build(chip, PAYLOAD, version=VERSION, flash_size=size)
    parts = [image, image[0xF000:]] if chip == "esp32" else [image]
    out = ""
    for index, part in enumerate(parts):
        theirs = LoadFirmwareImage(chip, part)
        assert theirs.checksum == theirs.calculate_checksum()
        (tmp_path / f"{index}.bin").write_bytes(part)
        out += tool("esptool", "image-info", str(tmp_path / f"{index}.bin")).stdout
    assert f"Flash size: {size // MB}MB" in out and "Flash mode: DIO" in out and "Flash freq: 40m" in out
    assert "invalid" not in out.lower()
    if chip == "esp32":
        assert out.count("(valid)") == 4
        assert f"App version: {VERSION}" in out and "Project name: micropython" in out


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
@pytest.mark.parametrize(
    ("project", "version"), [("micropython", "v1.28.0"), ("circuitpython", "10.0.3"), ("nodemcu", "3.0.0.0")]
)
def test_the_inspector_finds_version_and_project(chip: str, project: str, version: str) -> None:
    image = virtual_image.build(chip, PAYLOAD, version=version, project=project)
    info = inspect(image)
    assert (info.chip, info.project, info.version, info.problems) == (chip, project, version, ())
    assert info.offset_hint == virtual_image.flash_offset(chip)
    assert info.sha256 == hashlib.sha256(image).hexdigest()


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
def test_the_same_input_gives_the_same_bytes(chip: str) -> None:
    one = virtual_image.build(chip, PAYLOAD, version=VERSION)
    assert one == virtual_image.build(chip, PAYLOAD, version=VERSION)
    assert one != virtual_image.build(chip, PAYLOAD[:-1] + b"!", version=VERSION)


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5])
def test_payloads_of_any_length_come_back(size: int) -> None:
    for chip, at in (("esp32", 0xF000 + 0x20 + 256), ("esp8266", 0x9000)):
        image = virtual_image.build(chip, b"x" * size, version=VERSION)
        assert payload_in(image[at:]) == b"x" * size
        assert not inspect(image).problems


@pytest.mark.parametrize(("chip", "room"), [("esp32", 0x1D0000 - 1500), ("esp8266", 0xA6FE4)])
def test_payloads_have_a_limit(chip: str, room: int) -> None:
    image = virtual_image.build(chip, bytes(room), version=VERSION)
    start = virtual_image.flash_offset(chip)
    assert start + len(image) <= virtual_image.layout(chip)["romfs"][0]
    with pytest.raises(UsageError, match="a payload of"):
        virtual_image.build(chip, bytes(room + 1500), version=VERSION)
    if chip == "esp8266":
        with pytest.raises(UsageError, match=f"does not fit the {room} bytes"):
            virtual_image.build(chip, bytes(room + 1), version=VERSION)


def test_layout() -> None:
    assert virtual_image.layout("esp32")["vfs"] == (0x200000, 0x200000)
    assert virtual_image.layout("esp32")["romfs"] == (0x1E0000, 0x20000)
    assert virtual_image.layout("esp8266") == {"romfs": (0xB0000, 0x50000), "vfs": (0x100000, 0x2FB000)}
    with pytest.raises(UsageError, match="no room"):
        virtual_image.layout("esp8266", MB)


@pytest.mark.parametrize("chip", ["stm32f405", "stm32l476"])
def test_an_stm32_image_has_a_vector_table_and_ends_before_romfs(chip: str) -> None:
    image = virtual_image.build(chip, PAYLOAD, version="v1.28.0")
    start = virtual_image.flash_offset(chip)
    info = require_for(chip, start, image, None)
    assert (info.kind, info.project, info.version) == ("stm32-raw", "micropython", "v1.28.0")
    assert payload_in(image[0x200:]) == PAYLOAD
    assert virtual_image.layout(chip) == {"romfs": (0x080C_0000, 0x2_0000), "vfs": (0x080E_0000, 0x2_0000)}
    noise = random.Random(1).randbytes(0xC_0000)  # nothing packs it, so what packing adds is all that it changes
    room = 0xC_0000 - 0x200 - 12 - 16 - (len(zlib.compress(noise, 9)) - len(noise))
    assert len(virtual_image.build(chip, noise[:room], version=VERSION)) == 0xC_0000
    with pytest.raises(UsageError, match="does not fit the 786432 bytes in front of the ROMFS"):
        virtual_image.build(chip, noise[: room + 1], version=VERSION)


def test_an_stm32_image_is_packed_for_its_loader_takes_each_byte_as_it_stands() -> None:
    """A virtual machine's module packs to less than half, which is what a boot loader at 256 bytes a time is given."""
    assert len(virtual_image.build("stm32f405", bytes(100_000), version=VERSION)) < 2_000
