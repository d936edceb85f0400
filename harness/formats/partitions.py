"""ESP-IDF partition tables: 32-byte rows and an MD5 row, 0xC00 bytes at flash offset 0x8000.

Source: ESP-IDF Programming Guide, "Partition Tables" (binary format, MD5 checksum, alignment).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from harness.formats.banner import plain
from harness.formats.esp_image import ImageError

TABLE_OFFSET = 0x8000
TABLE_SIZE = 0xC00
APP_ALIGNMENT = 0x10000
SECTOR = 0x1000

TYPE_APP, TYPE_DATA = 0, 1
APP_FACTORY = 0x00
DATA_PHY, DATA_NVS, DATA_FAT, DATA_ROMFS = 0x01, 0x02, 0x81, 0x8F

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


def build_table(partitions: Sequence[Partition]) -> bytes:
    """The binary table with its MD5 row, padded with 0xFF to 0xC00 bytes.

    Raises :class:`ImageError` for rows that overlap, are not aligned, or do not fit the table.
    """
    if problem := layout_problem(partitions):
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


def layout_problem(partitions: Sequence[Partition]) -> str:
    """What is wrong with where the partitions lie, in words; empty when nothing is."""
    end = TABLE_OFFSET + SECTOR
    for p in sorted(partitions, key=lambda p: p.offset):
        alignment = APP_ALIGNMENT if p.is_app else SECTOR
        if p.offset % alignment:
            return f"{p.label!r} at 0x{p.offset:x} is not aligned to 0x{alignment:x}"
        if p.offset < end:
            return f"{p.label!r} at 0x{p.offset:x} begins before 0x{end:x}, where the one before it ends"
        end = p.end
    return ""
