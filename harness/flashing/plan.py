"""What must be written: a pure comparison of an image with what the chip says it holds.

The chip's own MD5 is asked, never a note from an earlier run: an erase elsewhere would make that a lie.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

#: Unit in which a changed image is compared; a multiple of the erase sector, in bytes.
BLOCK = 64 * 1024
SECTOR = 4096

#: MD5 (lower-case hex) of ``size`` bytes of the chip's flash at an offset.
ChipMd5 = Callable[[int, int], str]


@dataclass(frozen=True)
class Write:
    """Bytes to be written at a sector-aligned offset."""

    offset: int
    data: bytes


@dataclass(frozen=True)
class Plan:
    """``writes`` for one image; ``unchanged`` bytes of it are on the chip already."""

    writes: tuple[Write, ...]
    unchanged: int

    @property
    def size(self) -> int:
        return sum(len(write.data) for write in self.writes)


def md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def plan(offset: int, data: bytes, chip_md5: ChipMd5) -> Plan:
    """Compare block by block and join what differs into runs.

    ``offset`` must be aligned to sectors (ValueError otherwise): a write erases whole ones.
    """
    if offset % SECTOR:
        raise ValueError(f"offset 0x{offset:x} is not a multiple of {SECTOR}")
    if chip_md5(offset, len(data)) == md5(data):
        return Plan((), len(data))
    writes: list[Write] = []
    unchanged = 0
    for at in range(0, len(data), BLOCK):
        block = data[at : at + BLOCK]
        if chip_md5(offset + at, len(block)) == md5(block):
            unchanged += len(block)
        elif writes and writes[-1].offset + len(writes[-1].data) == offset + at:
            writes[-1] = Write(writes[-1].offset, writes[-1].data + block)
        else:
            writes.append(Write(offset + at, block))
    return Plan(tuple(writes), unchanged)
