"""UF2 files, as USB boot loaders take them: blocks of 512 bytes, each with its number and how many there are.

Source: microsoft/uf2, README, "File format".
"""

from __future__ import annotations

import struct

MAGIC = b"UF2\n"
BLOCK = 512
_HEAD = struct.Struct("<4sIIIIIII")
_SECOND, _END = 0x9E5D5157, 0x0AB16F30


def problem(data: bytes) -> str:
    """What is wrong with the file, in words; empty when nothing is."""
    if len(data) % BLOCK:
        return f"it is truncated: {len(data)} bytes are no whole number of blocks of {BLOCK}"
    numbers: dict[int, set[int]] = {}
    for at in range(0, len(data), BLOCK):
        magic, second, _, _, _, number, count, _ = _HEAD.unpack_from(data, at)
        end = struct.unpack_from("<I", data, at + BLOCK - 4)[0]
        if (magic, second, end) != (MAGIC, _SECOND, _END):
            return f"its block at byte {at} is damaged"
        numbers.setdefault(count, set()).add(number)
    for count, found in numbers.items():  # files for two families have two counts
        if len(found) != count:
            return f"it is truncated: {len(found)} of {count} blocks are there"
    return ""


def build(data: bytes, address: int = 0x1000_0000) -> bytes:
    """A file that writes ``data`` to ``address``, 256 bytes a block."""
    count = -(-len(data) // 256)
    out = b""
    for number in range(count):
        piece = data[number * 256 : (number + 1) * 256]
        head = _HEAD.pack(MAGIC, _SECOND, 0, address + number * 256, 256, number, count, 0)
        out += (head + piece).ljust(BLOCK - 4, b"\0") + struct.pack("<I", _END)
    return out
