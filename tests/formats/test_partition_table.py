"""Partition tables and application descriptions."""

from __future__ import annotations

import binascii
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats import app_desc, partitions
from harness.formats.app_desc import AppDesc
from harness.formats.esp_image import ImageError
from harness.formats.partitions import Partition, build_table, layout_problem, parse_table

NVS = Partition("nvs", 1, 2, 0x9000, 0x6000)
APP = Partition("factory", 0, 0, 0x10000, 0x100000)

# The rows of a 4 MB MicroPython table as ESP-IDF's own tool writes them, with its MD5 row.
REAL = bytes.fromhex(
    "aa50010200900000006000006e76730000000000000000000000000000000000"
    "aa50010100f00000001000007068795f696e6974000000000000000000000000"
    "aa5000000000010000001800666163746f727900000000000000000000000000"
    "aa50018100002000000020007666730000000000000000000000000000000000"
    "ebebfffffffffffffffffffffffffffff7ab233fbb04375b36fa5f9f92ef427e"
)


def test_a_table_of_esp_idf_both_ways() -> None:
    rows = parse_table(REAL + b"\xff" * 64)
    assert [(p.label, p.type, p.subtype, p.offset, p.size) for p in rows] == [
        ("nvs", 1, 2, 0x9000, 0x6000),
        ("phy_init", 1, 1, 0xF000, 0x1000),
        ("factory", 0, 0, 0x10000, 0x180000),
        ("vfs", 1, 0x81, 0x200000, 0x200000),
    ]
    assert build_table(rows) == REAL.ljust(0xC00, b"\xff")


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=130), rows=st.integers(0, 5))
def test_garbage_is_a_table_or_an_image_error(data: bytes, rows: int) -> None:
    try:
        found = parse_table(REAL[: 32 * rows] + data)
    except ImageError:
        return
    assert 1 <= len(found) <= 9


@settings(max_examples=100, deadline=None)
@given(position=st.integers(0, len(REAL) - 1), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(position: int, bit: int) -> None:
    data = bytearray(REAL)
    data[position] ^= 1 << bit
    with pytest.raises(ImageError, match="partition table"):
        parse_table(bytes(data))


def test_a_cut_table_is_noticed() -> None:
    for size in range(len(REAL)):
        with pytest.raises(ImageError, match="partition table"):
            parse_table(REAL[:size])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ([NVS, APP], ""),
        ([Partition("factory", 0, 0, 0x18000, 0x1000)], "'factory' at 0x18000 is not aligned to 0x10000"),
        ([Partition("nvs", 1, 2, 0x9100, 0x1000)], "'nvs' at 0x9100 is not aligned to 0x1000"),
        ([APP, Partition("vfs", 1, 0x81, 0x100000, 0x1000)], "'vfs' at 0x100000 begins before 0x110000"),
        ([Partition("nvs", 1, 2, 0x8000, 0x1000)], "'nvs' at 0x8000 begins before 0x9000"),
    ],
)
def test_where_partitions_may_lie(table: list[Partition], problem: str) -> None:
    assert layout_problem(table).startswith(problem) and bool(layout_problem(table)) is bool(problem)
    if problem:
        with pytest.raises(ImageError, match="partition table"):
            build_table(table)


def test_labels_and_rows_have_their_limits() -> None:
    with pytest.raises(ImageError, match="longer than 16"):
        build_table([Partition("seventeen letters", 1, 2, 0x9000, 0x1000)])
    many = [Partition(f"p{i}", 1, 2, 0x9000 + i * partitions.SECTOR, partitions.SECTOR) for i in range(95)]
    with pytest.raises(ImageError, match="95 rows do not fit"):
        build_table(many)
    assert len(parse_table(build_table(many[:94]))) == 94


TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=15)


@given(TEXT, TEXT, TEXT, TEXT, TEXT, st.binary(min_size=32, max_size=32), st.integers(0, 0xFFFF_FFFF))
def test_application_descriptions_come_back(
    version: str, project: str, time: str, date: str, idf: str, sha: bytes, secure: int
) -> None:
    desc = AppDesc(version, project, time, date, idf, sha, secure)
    data = app_desc.build(desc)
    assert len(data) == 256 and data[:4] == bytes.fromhex("3254cdab")
    assert app_desc.parse(data) == desc
    # Field offsets as the guide gives them.
    assert data[16:48].rstrip(b"\0").decode() == version and data[48:80].rstrip(b"\0").decode() == project
    assert data[144:176] == sha


@settings(max_examples=50)
@given(st.binary(max_size=300))
def test_other_bytes_are_no_description(data: bytes) -> None:
    with pytest.raises(ImageError, match="application description"):
        app_desc.parse(data)


def test_text_of_a_description_is_made_harmless() -> None:
    data = bytearray(app_desc.build(AppDesc("v1", "p", "", "", "")))
    data[16:22] = b"\x1b[31m\xff"
    assert app_desc.parse(bytes(data)).version == "?[31m?"


def test_text_that_does_not_fit() -> None:
    with pytest.raises(ImageError, match="version 'x+' must be ASCII of at most 31 bytes"):
        app_desc.build(AppDesc("x" * 32, "", "", "", ""))


OTA_DATA = Partition("otadata", 1, 0, 0xD000, 0x2000)
SLOTS = tuple(Partition(f"ota_{n}", 0, 0x10 + n, 0x10000 + n * 0x100000, 0x100000) for n in range(3))


class Flash:
    """Reads a flash, and remembers how much."""

    def __init__(self, content: dict[int, bytes]) -> None:
        self.content = bytearray(b"\xff" * 0x40000)
        for offset, data in content.items():
            self.content[offset : offset + len(data)] = data

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.content[offset : offset + size])


@pytest.mark.parametrize("offset", [0x8000, 0x9000, 0xF000, 0x10000, 0x1F000])
def test_a_table_is_found_where_it_is(offset: int) -> None:
    rows = (Partition("nvs", 1, 2, 0x20000, 0x6000), Partition("app", 0, 0, 0x30000, 0x100000))
    flash = Flash({0x1000: b"\xe9", offset: build_table(rows, offset)})
    (table,) = partitions.find_tables(flash.read)
    assert (table.offset, table.partitions) == (offset, rows)
    assert partitions.tables_in(bytes(flash.content[0x1000:]), 0x1000) == [table]
    assert partitions.tables_in(bytes(flash.content[0x1000 : offset + 32]), 0x1000) == []


def test_what_only_begins_like_a_table_is_none() -> None:
    damaged = bytearray(REAL)
    damaged[5] ^= 1
    assert partitions.find_tables(Flash({0x8000: bytes(damaged), 0x9000: b"\xaa\x50" * 8}).read) == []


def test_what_an_earlier_firmware_left_is_no_table() -> None:
    """Its nvs lies where the newer table is."""
    rows = (Partition("nvs", 1, 2, 0xA000, 0x6000), APP)
    flash = Flash({0x8000: REAL, 0x9000: build_table(rows, 0x9000)})
    assert [table.offset for table in partitions.find_tables(flash.read)] == [0x9000]


def entry(number: int, state: int = 0xFFFFFFFF, *, damaged: bool = False) -> bytes:
    """As ESP-IDF's otatool writes it."""
    crc = binascii.crc32(struct.pack("<I", number), 0xFFFFFFFF) ^ damaged
    return struct.pack("<I20xII", number, state, crc)


@pytest.mark.parametrize(
    ("entries", "starts"),
    [
        ((b"", b""), "factory"),
        ((entry(1), b""), "ota_0"),
        ((entry(1), entry(2)), "ota_1"),
        ((entry(4), entry(3)), "ota_0"),
        ((entry(4), entry(5, damaged=True)), "ota_0"),
        ((entry(4), entry(5, state=4)), "ota_0"),
        ((b"", entry(6)), "ota_2"),
        ((entry(0), entry(0xFFFFFFFF)), "factory"),
    ],
)
def test_the_application_that_starts(entries: tuple[bytes, bytes], starts: str) -> None:
    rows = (OTA_DATA, Partition("factory", 0, 0, 0x310000, 0x100000), *SLOTS)
    flash = Flash({0xD000: entries[0], 0xE000: entries[1]})
    found = partitions.boot_partition(rows, flash.read)
    assert found is not None
    assert found.label == starts


def test_tables_without_a_choice() -> None:
    nothing = Flash({}).read
    assert partitions.boot_partition([NVS], nothing) is None
    assert partitions.boot_partition([NVS, APP], nothing) == APP
    assert partitions.boot_partition([OTA_DATA, *SLOTS], nothing) == SLOTS[0]
    assert partitions.boot_partition([OTA_DATA, APP], Flash({0xD000: entry(1)}).read) == APP
