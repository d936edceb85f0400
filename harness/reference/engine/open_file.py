"""What an open file takes of the heap in a port, where this build's file object takes one block.

A port's filesystem keeps its caches inside the file object (``extmod/vfs_lfsx_file.c``, ``extmod/vfs_fat_file.c``);
the object of this build is {type, descriptor}. While it is opened it gets a companion: blocks of the heap that are
marked as used and that the object's unused second half refers to, so that the collector keeps them as long as the
file object, and frees both. Not the same as one object of that size in two ways: it may lie in two places, and where
there is no room without a collection the companion is left out.
"""

from __future__ import annotations

import struct
from collections.abc import Collection

from harness.reference.engine.guest_memory import GuestMemory
from harness.reference.engine.heap_map import BLOCK, HEAD, TAIL, read_heap

_UNSET = (0, 0xFFFF_FFFF)


def charge(memory: GuestMemory, area: int, types: Collection[int], size: int) -> None:
    """Give the file object of one of ``types`` that has no descriptor yet a companion of ``size`` bytes.

    ``area`` is the collector's record, with a finaliser table (:func:`harness.reference.engine.heap_map.find_area`).
    """
    count = size // BLOCK
    table, length, finalisers, pool = struct.unpack("<4I", memory.read(area, 16))
    heap = read_heap(memory, area)
    if count <= 0 or heap.pool != pool:
        return
    place = heap.blocks.find(bytes(count))
    owner = next(
        (at for at in _with_finaliser(memory.read(finalisers, (length + 1) // 2)) if _new(memory, pool, at, types)), -1
    )
    if owner < 0 or place < 0 or heap.blocks[owner] != HEAD:
        return
    marks = bytearray(memory.read(table, length))
    for block in range(place, place + count):
        marks[block // 4] |= (HEAD if block == place else TAIL) << 2 * (block % 4)
    memory.write(table, bytes(marks))
    memory.write(pool + BLOCK * place, bytes(BLOCK * count))
    memory.write_u32(pool + BLOCK * owner + 8, pool + BLOCK * place)
    last_used = area + 24
    memory.write_u32(last_used, max(memory.read_u32(last_used), place + count - 1))


def _with_finaliser(bits: bytes) -> list[int]:
    """Numbers of the blocks that have one."""
    return [8 * index + bit for index, byte in enumerate(bits) if byte for bit in range(8) if byte >> bit & 1]


def _new(memory: GuestMemory, pool: int, block: int, types: Collection[int]) -> bool:
    kind, descriptor, companion, _ = struct.unpack("<4I", memory.read(pool + BLOCK * block, BLOCK))
    return kind in types and descriptor in _UNSET and companion == 0
