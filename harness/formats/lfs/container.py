"""The gzip container that ``node.LFS.reload`` reads, and the checks it makes before it touches the flash.

The loader keeps the last 16384 bytes for matches and takes none that reaches back to the very first byte
(NodeMCU app/lua/lflash.c), which ordinary gzip files do not heed.
"""

from __future__ import annotations

import struct
import zlib

from harness.errors import UsageError
from harness.formats.lfs.signature import ABSOLUTE, INTEGER, PACKED_TVALUE, SIGNATURE

WINDOW = 16384  # bytes
SMALLEST_FILE = 201  # bytes: the loader takes anything shorter for a read error
LARGEST_IMAGE = 0x100000 + 0x100000 // 32  # all of the mapped flash, with its bitmap

_FORMAT_MASK = 0xF00
_LOADER_BLOCK = 2048  # the header is checked when this much is inflated, or all

_LENGTH_BASE = (
    3,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    13,
    15,
    17,
    19,
    23,
    27,
    31,
    35,
    43,
    51,
    59,
    67,
    83,
    99,
    115,
    131,
    163,
    195,
    227,
    258,
)
_LENGTH_BITS = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0)
_CODE_LENGTH_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15)


class LoaderRefusal(UsageError):
    """``node.LFS.reload`` returns ``message`` for this file and leaves the LFS as it is."""


def pack_image(relocatable: bytes) -> bytes:
    """Compress an image and its bitmap (:meth:`harness.formats.lfs.lfs_image.Image.relocatable`) for the loader."""
    for level in (9, 0):
        coder = zlib.compressobj(level, zlib.DEFLATED, 16 + 14)
        packed = coder.compress(relocatable) + coder.flush()
        if len(packed) < SMALLEST_FILE:
            continue
        try:
            if _Inflate(packed, WINDOW).run() == relocatable:
                return packed
        except _Damaged:
            continue
    raise UsageError("the image cannot be packed as the loader wants it", hint="build it with --raw --absolute")


def unpack_image(data: bytes, *, region_size: int = LARGEST_IMAGE, integer: bool = False) -> bytes:
    """Inflate and check a file as the loader's first pass does, for a region of ``region_size`` bytes.

    Returns the image with its bitmap. Raises LoaderRefusal with the firmware's own message.
    """
    if len(data) < SMALLEST_FILE:
        raise LoaderRefusal("read error on LFS image file")
    inflate = _Inflate(data, WINDOW)
    problem = ""
    try:
        inflate.run()
    except _Damaged as damage:
        problem = str(damage)
    out = bytes(inflate.out)
    if not problem or len(out) >= _LOADER_BLOCK:
        _check_header(out, int.from_bytes(data[-4:], "little"), region_size, integer)
    if problem:
        raise LoaderRefusal(problem)
    if zlib.crc32(out) != int.from_bytes(data[-8:-4], "little"):
        raise LoaderRefusal("checksum error on LFS image file")
    return out


def _check_header(out: bytes, length: int, region_size: int, integer: bool) -> None:
    signature, flash_size = struct.unpack("<2I", out[:8].ljust(8, b"\0"))
    expected = SIGNATURE | (INTEGER if integer else PACKED_TVALUE)
    if signature & _FORMAT_MASK != expected & _FORMAT_MASK:
        raise LoaderRefusal("Incorrect LFS header version")
    if (signature ^ expected) & PACKED_TVALUE:
        raise LoaderRefusal("Incorrect LFS build type")
    if signature & ~ABSOLUTE != expected:
        raise LoaderRefusal("incorrect LFS header signature")
    if flash_size > region_size:
        raise LoaderRefusal("LFS Image too big for configured LFS region")
    if flash_size % 4 or (length - flash_size) // 4 != 1 + (flash_size // 4 - 1) // 32:
        raise LoaderRefusal("LFS length mismatch")


class _Damaged(Exception):
    pass


class _Inflate:
    """RFC 1951 and 1952, with the loader's bounds on where a match may reach."""

    def __init__(self, data: bytes, window: int) -> None:
        self.out = bytearray()
        self._data, self._window = data, window
        self._at, self._bits, self._held = 10, 0, 0

    def run(self) -> bytes:
        if self._data[:4] != b"\x1f\x8b\x08\x00":
            raise _Damaged("read error on LFS image file")
        final = 0
        while not final:
            final = self._take(1)
            kind = self._take(2)
            if kind == 0:
                self._stored()
            elif kind == 1:
                self._block(_tree([8] * 144 + [9] * 112 + [7] * 24 + [8] * 8), _tree([5] * 30))
            elif kind == 2:
                self._block(*self._dynamic_trees())
            else:
                raise _Damaged("read error on LFS image file")
        return bytes(self.out)

    def _take(self, count: int) -> int:
        while self._held < count:
            if self._at >= len(self._data) - 8:
                raise _Damaged("read error on LFS image file")
            self._bits |= self._data[self._at] << self._held
            self._at += 1
            self._held += 8
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        self._held -= count
        return value

    def _stored(self) -> None:
        self._take(self._held % 8)
        size = self._take(16)
        if self._take(16) != size ^ 0xFFFF:
            raise _Damaged("read error on LFS image file")
        for _ in range(size):
            self._put(self._take(8))

    def _put(self, byte: int) -> None:
        if len(self.out) >= LARGEST_IMAGE:
            raise _Damaged("LFS Image too big for configured LFS region")
        self.out.append(byte)

    def _symbol(self, tree: dict[tuple[int, int], int]) -> int:
        code = 0
        for length in range(1, 16):
            code = code << 1 | self._take(1)
            if (length, code) in tree:
                return tree[length, code]
        raise _Damaged("read error on LFS image file")

    def _block(self, literals: dict[tuple[int, int], int], distances: dict[tuple[int, int], int]) -> None:
        while (symbol := self._symbol(literals)) != 256:
            if symbol < 256:
                self._put(symbol)
                continue
            if symbol > 285:
                raise _Damaged("read error on LFS image file")
            size = _LENGTH_BASE[symbol - 257] + self._take(_LENGTH_BITS[symbol - 257])
            code = self._symbol(distances)
            extra = max(0, code // 2 - 1)
            distance = 1 + (code if code < 2 else (2 + code % 2) << extra) + self._take(extra)
            for _ in range(size):
                if distance > self._window or distance >= len(self.out):
                    raise _Damaged("invalid dictionary offset on inflate")
                self._put(self.out[-distance])

    def _dynamic_trees(self) -> tuple[dict[tuple[int, int], int], dict[tuple[int, int], int]]:
        literal_count, distance_count, code_count = self._take(5) + 257, self._take(5) + 1, self._take(4) + 4
        code_lengths = [0] * 19
        for symbol in _CODE_LENGTH_ORDER[:code_count]:
            code_lengths[symbol] = self._take(3)
        tree = _tree(code_lengths)
        lengths: list[int] = []
        while len(lengths) < literal_count + distance_count:
            symbol = self._symbol(tree)
            if symbol < 16:
                lengths.append(symbol)
            elif symbol == 16:
                lengths += (lengths[-1:] or [0]) * (3 + self._take(2))
            else:
                lengths += [0] * (3 + self._take(3) if symbol == 17 else 11 + self._take(7))
        return _tree(lengths[:literal_count]), _tree(lengths[literal_count : literal_count + distance_count])


def _tree(lengths: list[int]) -> dict[tuple[int, int], int]:
    """Canonical Huffman codes: (length in bits, code) to the symbol."""
    tree = {}
    code = 0
    for length in range(1, 16):
        code <<= 1
        for symbol, its_length in enumerate(lengths):
            if its_length == length:
                tree[length, code] = symbol
                code += 1
    return tree
