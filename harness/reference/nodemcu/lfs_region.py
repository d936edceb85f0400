"""The firmware's side of the Lua Flash Store: what it accepts, how it writes it, and what it loads from it.

Sources: NodeMCU ``app/lua/lflash.c`` and ``app/lua/lflash.h`` (format 1, for Lua 5.1), and the documentation's page on
the LFS. The checks and their words are the firmware's; building and reading images is the business of
``harness.lfs``, and nothing of it is used to check or to write one here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.formats.lfs.chunk import Constant, LocVar, Proto, read_chunk, write_lc, write_stock
from harness.reference.flash.flash_region import SECTOR, Region
from harness.reference.nodemcu.nodemcu_storage import MAPPED

#: What this firmware's own images begin with: format 1, float numbers in packed values.
SIGNATURE = 0xFAFAA154
_BASE_MASK, _FORMAT_MASK, _BUILD_MASK = 0xFFFFF0F0, 0xF00, 0x6
_ABSOLUTE, _IN_PROGRESS = 0x1, 0x8
_HEADER = struct.Struct("<8I")
_SMALLEST = 200
#: Free heap that a reload takes, in bytes: nine blocks of history, buffers, and the inflater's state.
RELOAD_RAM = 9 * 2048 + 2048 + 1024 + 1500
#: What a NOR chip takes for a sector and for a kilobyte, in nanoseconds (typical figures of its data sheets).
_ERASE_NS, _PROGRAM_NS = 45_000_000, 3_000_000
_STEP = 1024
_PROTO = struct.Struct("<18I")
_DEPTH = 64
_STRING_TAG, _NUMBER_TAG, _BOOLEAN_TAG = 4, 3, 1


@dataclass(frozen=True)
class LoadedImage:
    """``chunk`` is the index function, with all modules in it, for the host's Lua; ``strings`` is the string table."""

    chunk: bytes
    strings: frozenset[bytes]


class _Refused(Exception):
    pass


class LfsRegion:
    """The partition at ``offset`` with ``size`` bytes (0: none)."""

    def __init__(self, flash: Region, offset: int, size: int) -> None:
        self._flash = flash
        self._offset = offset
        self._size = size
        #: What the start says about the region when it loads nothing.
        self.problem = ""
        #: Bytes of the loaded image, and the strings that it holds.
        self.used = 0
        self.strings: frozenset[bytes] = frozenset()

    # -- reload ----------------------------------------------------------------------------------

    def refuses(self, image: bytes | None, free: int) -> str:
        """The first pass: why the firmware does not take ``image`` (None: no such file); "" when it does.

        ``free`` is the free heap in bytes. Nothing is written.
        """
        try:
            self._content(image, free)
        except _Refused as why:
            return str(why)
        return ""

    def _content(self, image: bytes | None, free: int) -> bytes:
        if not self._size:
            raise _Refused("No LFS partition allocated")
        if image is None:
            raise _Refused("LFS image file not found")
        if len(image) <= _SMALLEST:
            raise _Refused("read error on LFS image file")
        expected = struct.unpack("<I", image[-4:])[0]
        if free < RELOAD_RAM + expected // 33:
            raise _Refused("Memory allocation error")
        inflater = zlib.decompressobj(30)  # gzip with a history of 16 kB, which is what the firmware keeps
        try:
            content = inflater.decompress(image, self._size + self._size // 32 + 4096)
        except zlib.error as problem:
            far = "distance" in str(problem)
            raise _Refused(
                "invalid dictionary offset on inflate" if far else "checksum error on LFS image file"
            ) from None
        if len(content) < _HEADER.size:
            raise _Refused("LFS length mismatch")
        signature, size = struct.unpack_from("<II", content)
        if signature & _BASE_MASK != SIGNATURE & _BASE_MASK or signature & (_ABSOLUTE | _IN_PROGRESS):
            raise _Refused("incorrect LFS header signature")
        if signature & _FORMAT_MASK != SIGNATURE & _FORMAT_MASK:
            raise _Refused("Incorrect LFS header version")
        if signature & _BUILD_MASK != SIGNATURE & _BUILD_MASK:
            raise _Refused("Incorrect LFS build type")
        if size > self._size:
            raise _Refused("LFS Image too big for configured LFS region")
        if not inflater.eof:
            raise _Refused("checksum error on LFS image file" if len(content) < expected else "LFS length mismatch")
        words = size // 4
        if size % 4 or len(content) != size + 4 * -(-words // 32) or len(content) != expected:
            raise _Refused("LFS length mismatch")
        return content

    def write(self, image: bytes, busy: Callable[[int], None]) -> None:
        """The second pass, for an image that :meth:`refuses` has nothing against.

        ``busy`` is called with the nanoseconds that each step takes; it may raise, as when the power fails.
        """
        content = self._content(image, 1 << 30)
        size = struct.unpack_from("<I", content, 4)[0]
        words = list(struct.unpack_from(f"<{size // 4}I", content))
        base = MAPPED + self._offset
        for index, flags in enumerate(struct.unpack_from(f"<{-(-len(words) // 32)}I", content, size)):
            for bit in range(32):
                at = 32 * index + bit
                if flags >> bit & 1 and at < len(words) and words[at]:
                    words[at] = base + 4 * words[at]
        for at in range(0, size, SECTOR):
            self._flash.erase(self._offset + at, SECTOR)
            busy(_ERASE_NS)
        words[0] = SIGNATURE | _IN_PROGRESS
        data = struct.pack(f"<{len(words)}I", *words)
        for at in range(0, size, _STEP):
            self._flash.program(self._offset + at, data[at : at + _STEP])
            busy(_PROGRAM_NS)
        self._flash.program(self._offset, struct.pack("<I", SIGNATURE))

    # -- start -----------------------------------------------------------------------------------

    def load(self) -> LoadedImage | None:
        """What the flash holds; None with :attr:`problem` set when that is nothing, or nothing good."""
        if not self._size:
            return None
        header = _HEADER.unpack(self._flash.read(self._offset, _HEADER.size))
        signature, size = header[0], header[1]
        if signature in (0, 0xFFFFFFFF):
            self.problem = "No LFS image loaded"
            return None
        if signature & ~_ABSOLUTE != SIGNATURE:
            self.problem = f"Flash sig not correct: 0x{signature:08x} vs 0x{SIGNATURE:08x}"
            if signature == SIGNATURE | _IN_PROGRESS:  # a reload that was interrupted
                self._flash.erase(self._offset, SECTOR)
            return None
        main = header[2] - MAPPED - self._offset & 0xFFFFFFFF
        # Only what lies at another address is found so: an image larger than the region is loaded all the same.
        if header[3] == 0xFFFFFFFF or main >= size or not _HEADER.size < size <= self._flash.size - self._offset:
            self.problem = f"Flash size check failed: 0x{header[3]:08x} vs 0xFFFFFFFF; 0x{main:08x} >= 0x{size:08x}"
            return None
        data = self._flash.read(self._offset, size)
        try:
            index = _Reader(data, MAPPED + self._offset)
            image = LoadedImage(write_stock(index.proto(header[2], 0)), index.strings(header[3], header[5]))
        except (ValueError, struct.error) as problem:
            # The chip would run into it; a virtual one says so instead of executing what is not there.
            self.problem = f"Flash sig not correct: {problem}"
            return None
        self.used, self.strings = size, image.strings
        return image


class _Reader:
    """Functions and strings as they stand in the mapped flash, addresses absolute."""

    def __init__(self, data: bytes, base: int) -> None:
        self._data = data
        self._base = base

    def _at(self, address: int, size: int) -> bytes:
        start = address - self._base
        if start < 0 or start + size > len(self._data) or address % 4:
            raise ValueError(f"address 0x{address:08x} lies outside the image")
        return self._data[start : start + size]

    def _words(self, address: int, count: int) -> tuple[int, ...]:
        return struct.unpack(f"<{count}I", self._at(address, 4 * count)) if count else ()

    def _string(self, address: int) -> bytes:
        length = self._words(address, 4)[3]
        return self._at(address + 16, length)

    def strings(self, table: int, buckets: int) -> frozenset[bytes]:
        texts = set()
        for address in self._words(table, buckets):
            while address:
                texts.add(self._string(address))
                address = self._words(address, 1)[0]
                if len(texts) * 16 > len(self._data):
                    raise ValueError("the string table has a loop")
        return frozenset(texts)

    def _constant(self, address: int) -> Constant:
        raw = self._at(address, 12)
        tag = struct.unpack_from("<I", raw, 8)[0]
        if tag == _STRING_TAG:
            return self._string(struct.unpack_from("<I", raw)[0])
        if tag == _NUMBER_TAG:
            return float(struct.unpack_from("<d", raw)[0])
        return struct.unpack_from("<I", raw)[0] != 0 if tag == _BOOLEAN_TAG else None

    def proto(self, address: int, depth: int) -> Proto:
        if depth > _DEPTH:
            raise ValueError("functions are nested too deeply")
        (
            _, _, constants, code, protos, lines, locals_, upvalues, source, upvalue_count, constant_count, code_count,
            proto_count, local_count, first, last, _, flags,
        ) = _PROTO.unpack(self._at(address, _PROTO.size))  # fmt: skip
        nups, parameters, vararg, stack = flags.to_bytes(4, "little")
        return Proto(
            source=self._string(source) if source else b"=?",
            line_defined=first,
            last_line_defined=last,
            upvalue_count=nups,
            parameters=parameters,
            is_vararg=vararg,
            max_stack=stack,
            code=list(self._words(code, code_count)),
            constants=[self._constant(constants + 12 * at) for at in range(constant_count)],
            protos=[self.proto(child, depth + 1) for child in self._words(protos, proto_count)],
            packed_lines=self._string(lines - 16) if lines else b"",
            locals=[
                LocVar(self._string(name), start, end)
                for name, start, end in (self._words(locals_ + 12 * at, 3) for at in range(local_count))
            ],
            upvalues=[self._string(name) for name in self._words(upvalues, upvalue_count)],
        )


def to_target_chunk(dumped: bytes, *, lines: bool = True) -> bytes:
    """The ``.lc`` file that ``node.compile`` writes, from what the host's ``string.dump`` gives."""
    proto = read_chunk(dumped, "chunk").without_names()
    return write_lc(proto if lines else _without_lines(proto))


def _without_lines(proto: Proto) -> Proto:
    return replace(proto, packed_lines=b"", protos=[_without_lines(child) for child in proto.protos])


def to_host_chunk(data: bytes) -> bytes:
    """A ``.lc`` file for the host's Lua. Raises ValueError for one that this firmware does not load."""
    try:
        return write_stock(read_chunk(data, "chunk"))
    except UsageError as problem:
        raise ValueError(problem.message) from None
