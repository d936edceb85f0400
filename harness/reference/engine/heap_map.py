"""The collector's own tables, read from guest memory: which blocks are used, and how the free ones lie.

MicroPython ``py/gc.c``: two bits a block in the allocation table (0 free, 1 head, 2 tail, 3 marked head),
four blocks a byte, lowest bits first; 16-byte blocks; the pool ends the area. ``mp_state_mem_area_t``
(``py/mpstate.h``) starts with the table's address and its length in bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from harness.reference.engine.guest_memory import Readable

BLOCK = 16
FREE, HEAD, TAIL, MARK = range(4)


@dataclass(frozen=True)
class HeapMap:
    """``blocks`` holds one of FREE, HEAD, TAIL, MARK for each block of ``block`` bytes of the pool at ``pool``."""

    pool: int
    blocks: bytes
    block: int = BLOCK

    @property
    def total(self) -> int:
        return len(self.blocks) * self.block

    @property
    def used(self) -> int:
        return (len(self.blocks) - self.blocks.count(FREE)) * self.block

    @property
    def free(self) -> int:
        return self.blocks.count(FREE) * self.block

    @property
    def free_runs(self) -> list[int]:
        """Lengths of the free runs in bytes, in the order in which they lie."""
        return [len(list(run)) * self.block for kind, run in groupby(self.blocks) if kind == FREE]

    @property
    def largest_free(self) -> int:
        return max(self.free_runs, default=0)

    @property
    def fragmentation(self) -> float:
        """The part of the free memory that the largest free run does not hold: 0 is one piece."""
        return 1 - self.largest_free / self.free if self.free else 0.0

    def objects(self) -> Iterator[tuple[int, int]]:
        """Address and size in bytes of each allocation."""
        index = 0
        while index < len(self.blocks):
            if self.blocks[index] in (HEAD, MARK):
                end = index + 1
                while end < len(self.blocks) and self.blocks[end] == TAIL:
                    end += 1
                yield self.pool + index * self.block, (end - index) * self.block
                index = end
            else:
                index += 1


def find_area(memory: Readable, heap_object: int) -> int:
    """Address of the area record in static memory. ``heap_object`` is any address inside the heap.

    The record is told by what must hold in it: table, optional finaliser table and pool lie one after the
    other, and the pool has 64 bytes for each byte of the table. Raises ValueError when nothing fits.
    """
    static = memory.read(0, min(heap_object, len(memory)))
    words = struct.unpack(f"<{len(static) // 4}I", static[: len(static) // 4 * 4])
    for index in range(len(words) - 5):
        table, length = words[index], words[index + 1]
        if not 16 <= length <= 1 << 20 or not table < heap_object:
            continue
        for skip in (2, 3):  # without and with a finaliser table
            start, end = words[index + skip], words[index + skip + 1]
            if end - start == 64 * length and table + length <= start <= heap_object < end:
                return index * 4
    raise ValueError("the collector's area record was not found where upstream keeps it")


def read_heap(memory: Readable, area: int, *, block: int = BLOCK) -> HeapMap:
    """The state of the heap now. ``area`` comes from :func:`find_area`, or from a build that tells it."""
    table, length, a, b, c = struct.unpack("<5I", memory.read(area, 20))
    size = 4 * block * length
    pool = a if b - a == size else b
    if {a, b, c}.isdisjoint({pool + size}):
        raise ValueError("the collector's area record does not make sense")
    raw = memory.read(table, length)
    return HeapMap(pool, bytes(byte >> shift & 3 for byte in raw for shift in (0, 2, 4, 6)), block)
