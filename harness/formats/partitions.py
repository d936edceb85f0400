"""ESP-IDF partition tables: 32-byte rows and an MD5 row, 0xC00 bytes, as a rule at flash offset 0x8000.

The place is a constant of the boot loader (CONFIG_PARTITION_TABLE_OFFSET), which does not tell it: a table is looked
for in all sectors behind the boot loader. Which application it starts stands in the table and in ``otadata``.

Source: ESP-IDF Programming Guide, "Partition Tables" (binary format, MD5 checksum, offset, alignment) and "Over The Air
Updates" (OTA data partition).
"""

from __future__ import annotations

import binascii
import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.formats.banner import plain
from harness.formats.esp_image import ImageError

TABLE_OFFSET = 0x8000
TABLE_SIZE = 0xC00
#: Where tables are looked for: sectors from the first one to this offset.
SEARCH_END = 0x20000
APP_ALIGNMENT = 0x10000
SECTOR = 0x1000

TYPE_APP, TYPE_DATA = 0, 1
APP_FACTORY, APP_OTA = 0x00, range(0x10, 0x20)
DATA_OTA, OTA_SIZE = 0x00, 0x2000
DATA_PHY, DATA_NVS, DATA_FAT, DATA_ROMFS = 0x01, 0x02, 0x81, 0x8F

# ota_seq, seq_label, ota_state, crc
_OTA_ENTRY = struct.Struct("<I20xII")
#: ESP_OTA_IMG_INVALID and ESP_OTA_IMG_ABORTED.
_OTA_UNUSABLE = (3, 4)
#: ESP_OTA_IMG_NEW and ESP_OTA_IMG_PENDING_VERIFY.
_OTA_UNCONFIRMED = (0, 1)
_ROW = struct.Struct("<HBBII16sI")
_MAGIC = 0x50AA
_MD5_MAGIC = b"\xeb\xeb" + b"\xff" * 14
_END = b"\xff" * 32


@dataclass(frozen=True)
class Partition:
    """One row; ``offset`` (from the start of the flash) and ``size`` in bytes."""

    label: str
    type: int
    subtype: int
    offset: int
    size: int
    flags: int = 0

    @property
    def end(self) -> int:
        return self.offset + self.size

    @property
    def is_app(self) -> bool:
        return self.type == TYPE_APP


@dataclass(frozen=True)
class Table:
    """A table and its offset in the flash."""

    offset: int
    partitions: tuple[Partition, ...]


#: Up to so many bytes of a flash from an offset.
Read = Callable[[int, int], bytes]


def tables_in(data: bytes, base: int) -> list[Table]:
    """The table in an image that goes to flash offset ``base``; empty when it holds none, or only damaged ones."""
    return find_tables(lambda at, size: data[at - base : at - base + size] if at >= base else b"")


def find_tables(read: Read) -> list[Table]:
    """The tables in the places where a boot loader may look, the one at 0x8000 first.

    A table whose own data partition covers another one is what an earlier firmware left, and is not listed.
    """
    found = []
    for at in sorted(range(SECTOR, SEARCH_END, SECTOR), key=lambda at: (at != TABLE_OFFSET, at)):
        if read(at, 2) != _MAGIC.to_bytes(2, "little"):
            continue
        try:
            rows = parse_table(read(at, TABLE_SIZE))
        except ImageError:
            continue
        # At the usual place a table with faults is one all the same, and whoever looks at images says which.
        if at == TABLE_OFFSET or not layout_problem(rows, at):
            found.append(Table(at, rows))
    return [
        table
        for table in found
        if not any(
            row.offset <= other.offset < row.end for other in found for row in table.partitions if not row.is_app
        )
    ]


def boot_partition(partitions: Sequence[Partition], read: Read) -> Partition | None:
    """The application that the boot loader tries first; None for a table without one.

    ``otadata`` has two sectors with an entry each: sequence number, label, state, CRC of the number. The valid one with
    the larger number names the slot; without any it is the factory application, or the first slot.
    """
    slots = sorted((row for row in partitions if row.is_app and row.subtype in APP_OTA), key=lambda row: row.subtype)
    factory = next((row for row in partitions if row.is_app and row.subtype == APP_FACTORY), None)
    data = next((row for row in partitions if not row.is_app and row.subtype == DATA_OTA), None)
    numbers: list[int] = []
    for sector in (0, 1) if data is not None and slots else ():
        assert data is not None
        entry = read(data.offset + sector * SECTOR, _OTA_ENTRY.size)
        if len(entry) < _OTA_ENTRY.size:
            continue
        number, state, crc = _OTA_ENTRY.unpack(entry)
        checked = binascii.crc32(struct.pack("<I", number), 0xFFFFFFFF)
        if number not in (0, 0xFFFFFFFF) and crc == checked and state not in _OTA_UNUSABLE:
            numbers.append(number)
    if numbers:
        return slots[(max(numbers) - 1) % len(slots)]
    return factory or (slots[0] if slots else None)


def unconfirmed(partitions: Sequence[Partition], read: Read) -> Partition | None:
    """The slot of an update that is not confirmed (``ESP_OTA_IMG_NEW``, ``ESP_OTA_IMG_PENDING_VERIFY``), else None.

    A boot loader with rollback starts a pending one no second time (ESP-IDF Programming Guide, "Over The Air Updates",
    "App Rollback").
    """
    slot = boot_partition(partitions, read)
    data = next((row for row in partitions if not row.is_app and row.subtype == DATA_OTA), None)
    if slot is None or data is None or slot.subtype not in APP_OTA:
        return None
    slots = sum(row.is_app and row.subtype in APP_OTA for row in partitions)
    for sector in (0, 1):
        entry = read(data.offset + sector * SECTOR, _OTA_ENTRY.size)
        if len(entry) < _OTA_ENTRY.size:
            continue
        number, state, _ = _OTA_ENTRY.unpack(entry)
        if state in _OTA_UNCONFIRMED and number and (number - 1) % slots == slot.subtype - APP_OTA.start:
            return slot
    return None


def parse_table(data: bytes) -> tuple[Partition, ...]:
    """The partitions of the table that begins at ``data[0]``.

    Raises :class:`ImageError` when the first row has no partition magic, a row is damaged, the end
    of the table is missing, or the MD5 row does not agree with the rows before it.
    """
    rows: list[Partition] = []
    for position in range(0, min(len(data), TABLE_SIZE), 32):
        row = data[position : position + 32]
        if len(row) < 32:
            break
        if row == _END and rows:
            return tuple(rows)
        if row[:16] == _MD5_MAGIC:
            computed = hashlib.md5(data[:position], usedforsecurity=False).digest()
            if row[16:] != computed:
                raise ImageError(
                    f"partition table: MD5 stored {row[16:].hex()}, computed {computed.hex()}",
                    hint="fetch or build the image again; its partition table is damaged",
                )
            return tuple(rows)
        magic, kind, subtype, offset, size, label, flags = _ROW.unpack(row)
        if magic != _MAGIC:
            raise ImageError(f"partition table: expected a row (aa 50) at byte {position}, found {row[:2].hex(' ')}")
        rows.append(Partition(plain(label), kind, subtype, offset, size, flags))
    raise ImageError(f"partition table has no end within {min(len(data), TABLE_SIZE)} bytes")


def build_table(partitions: Sequence[Partition], table_offset: int = TABLE_OFFSET) -> bytes:
    """The binary table for ``table_offset`` with its MD5 row, padded with 0xFF to 0xC00 bytes.

    Raises :class:`ImageError` for rows that overlap, are not aligned, or do not fit the table.
    """
    if problem := layout_problem(partitions, table_offset):
        raise ImageError(f"partition table: {problem}")
    rows = bytearray()
    for p in partitions:
        label = p.label.encode("ascii")
        if len(label) > 16:
            raise ImageError(f"partition table: label {p.label!r} is longer than 16 bytes")
        rows += _ROW.pack(_MAGIC, p.type, p.subtype, p.offset, p.size, label, p.flags)
    rows += _MD5_MAGIC + hashlib.md5(bytes(rows), usedforsecurity=False).digest()
    if len(rows) + 32 > TABLE_SIZE:
        raise ImageError(f"partition table: {len(partitions)} rows do not fit {TABLE_SIZE} bytes")
    return bytes(rows).ljust(TABLE_SIZE, b"\xff")


def layout_problem(partitions: Sequence[Partition], table_offset: int = TABLE_OFFSET) -> str:
    """What is wrong with where the partitions lie, in words; empty when nothing is."""
    end = table_offset + SECTOR
    for p in sorted(partitions, key=lambda p: p.offset):
        alignment = APP_ALIGNMENT if p.is_app else SECTOR
        if p.offset % alignment:
            return f"{p.label!r} at 0x{p.offset:x} is not aligned to 0x{alignment:x}"
        if p.offset < end:
            return f"{p.label!r} at 0x{p.offset:x} begins before 0x{end:x}, where the one before it ends"
        end = p.end
    return ""
