"""Where a NodeMCU board's flash has its Lua Flash Store, and what stands there, read without its firmware.

Sources: NodeMCU ``app/platform/platform.c`` (the runtime configuration record: words of length and id before each
record, in the sector at 0x10000), ``app/user/user_main.c`` (the partition table in it), ``app/lua/lflash.h`` (the
image's header). All of it is untrusted.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from harness.formats.lfs.signature import IN_PROGRESS, INTEGER, is_signature

#: The sector of the configuration record, and how much of it is looked at, in bytes.
_RECORD_AT, _LOOKED_AT = 0x10000, 1024
_TABLE, _FREE = 1, 0xFF
_LFS_PARTITION = 103
_FLASH_LIMIT = 16 * 1024 * 1024
_HEADER = struct.Struct("<II")


@dataclass(frozen=True)
class FoundImage:
    """Flash address and size of the region, what the image in it takes (0: there is none), in bytes; and whether it
    is for integer firmware."""

    base: int
    size: int
    used: int
    integer: bool


def find_image(read: Callable[[int, int], bytes]) -> FoundImage | None:
    """What the flash holds; ``read`` takes a flash address and a size. None: there is no region, or it is not NodeMCU's
    flash."""
    place = _region(read(_RECORD_AT, _LOOKED_AT))
    if place is None:
        return None
    base, size = place
    signature, used = _HEADER.unpack(read(base, _HEADER.size))
    whole = is_signature(signature) and not signature & IN_PROGRESS
    return FoundImage(base, size, used if whole and 0 < used < _FLASH_LIMIT else 0, bool(signature & INTEGER))


def _region(records: bytes) -> tuple[int, int] | None:
    """Of the last partition table that counts; one that is struck out has another id."""
    found, at = None, 0
    while at + 4 <= len(records):
        words, kind = records[at], records[at + 1]
        body = records[at + 4 : at + 4 + 4 * words]
        if kind == _FREE or len(body) < 4 * words:
            break
        if kind == _TABLE:
            items = struct.iter_unpack("<III", body[: len(body) // 12 * 12])
            found = next(((base, size) for type_, base, size in items if type_ == _LFS_PARTITION and size), None)
        at += 4 + 4 * words
    if found is None or found[0] % 4 or found[0] + found[1] > _FLASH_LIMIT:
        return None
    return found
