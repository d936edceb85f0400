"""Reads LFS images back: from a file for the loader, from an absolute image, from the content of a board's flash."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.errors import UsageError
from harness.formats.lfs import lineinfo
from harness.formats.lfs.chunk import TAG_BOOLEAN, TAG_NIL, TAG_NUMBER, TAG_STRING, Constant, LocVar, Proto, write_stock
from harness.formats.lfs.container import LoaderRefusal, unpack_image
from harness.formats.lfs.lfs_image import (
    HEADER_SIZE,
    LFS_MARK,
    PROTO_SIZE,
)
from harness.formats.lfs.signature import ABSOLUTE, IN_PROGRESS, INTEGER, PACKED_TVALUE, SIGNATURE
from harness.formats.lfs.traversal import string_hash

_FLASH = 0x40000000  # from here on the address space is mapped flash; offsets of an image are far below
_MAX_DEPTH = 200
_MAX_VECTOR = 1 << 18


@dataclass(frozen=True)
class LfsImage:
    """What an image holds. ``base`` is the address that it is made for, 0 if it can be relocated."""

    size: int
    base: int
    integer: bool
    time: int
    buckets: int
    strings: list[bytes]
    modules: dict[str, Proto]
    index: Proto

    def chunk(self, name: str) -> bytes:
        """A module as a chunk that the host's Lua 5.1 (64-bit) loads and runs. Raises KeyError without that module."""
        return write_stock(self.modules[name])


def read_image(data: bytes) -> LfsImage:
    """Read an image: gzip container, image with bitmap, or absolute words as they are in flash (more may follow).

    Raises UsageError if it is damaged, or not such an image; LoaderRefusal for a container that the loader refuses.
    """
    if data[:2] == b"\x1f\x8b":
        try:
            data = unpack_image(data)
        except LoaderRefusal as problem:
            if problem.message != "Incorrect LFS build type":
                raise
            data = unpack_image(data, integer=True)
    try:
        return _Reader(data).image()
    except (struct.error, ValueError, IndexError, KeyError) as problem:
        raise UsageError(f"the LFS image is damaged: {problem}", hint="build it again") from None


_LUA53_FILE, _LUA53_SIGNATURE = b"\x1bLua\x53\x0b", 0xFAFAA250


class _Reader:
    def __init__(self, data: bytes) -> None:
        if data.startswith(_LUA53_FILE) or int.from_bytes(data[:4], "little") & 0xFFFFFFF0 == _LUA53_SIGNATURE:
            raise UsageError(
                "an LFS image of Lua 5.3 firmware: its strings and functions are stored in another way, "
                "which this harness neither reads nor builds",
                hint="build the image for Lua 5.1 firmware, or use luac.cross of a tree built with LUA=53 for this one",
            )
        if len(data) < HEADER_SIZE:
            raise UsageError(f"{len(data)} bytes are no LFS image", hint="give a file that 'harness lfs build' wrote")
        signature, self.size, self._main, table, self._count, self._buckets = struct.unpack_from("<6I", data)
        if signature & ~(ABSOLUTE | INTEGER | PACKED_TVALUE | IN_PROGRESS) != SIGNATURE:
            raise UsageError(
                f"no LFS image of Lua 5.1: it starts with {signature:#010x}",
                hint="give a file that 'harness lfs build' or luac.cross -f wrote",
            )
        if signature & IN_PROGRESS:
            raise UsageError("the image was not written to its end (a reload was interrupted)", hint="reload it")
        if self.size % 4 or self.size > len(data):
            raise ValueError(f"it is to have {self.size} bytes, and {len(data)} came")
        self.integer = bool(signature & INTEGER)
        self.base = table - HEADER_SIZE if table >= _FLASH else 0
        self._words = struct.unpack(f"<{self.size // 4}I", data[: self.size])
        self._bytes = data[: self.size]
        self._strings: dict[int, bytes] = {}
        self._protos: set[int] = set()
        self._words_read = 0

    def _place(self, pointer: int) -> int:
        """A pointer as an offset in bytes."""
        at = pointer - self.base if self.base else 4 * pointer
        if not HEADER_SIZE <= at < self.size or at % 4:
            raise ValueError(f"a pointer leads to {at:#x}, outside of the image")
        return at

    def image(self) -> LfsImage:
        self._read_strings()
        index = self._proto(self._main, 0)
        names = index.constants[: len(index.protos)]
        time = index.constants[len(index.protos)]
        modules: dict[str, Proto] = {}
        for name, proto in zip(names, index.protos, strict=True):
            if not isinstance(name, bytes):
                raise ValueError("a module without a name")
            modules.setdefault(name.decode("utf-8", "backslashreplace"), proto)
        if not isinstance(time, (int, float)) or time != time or abs(time) > 1 << 53:
            raise ValueError("no build time")
        strings = [text for _, text in sorted(self._strings.items())]
        return LfsImage(self.size, self.base, self.integer, int(time), self._buckets, strings, modules, index)

    def _read_strings(self) -> None:
        if not self._buckets or self._buckets & (self._buckets - 1):
            raise ValueError(f"{self._buckets} buckets, expected a power of two")
        table = self._place(self._words[3]) // 4
        for bucket in range(self._buckets):
            pointer = self._words[table + bucket]
            while pointer:
                at = self._place(pointer)
                if at in self._strings:
                    raise ValueError(f"the chains of strings meet at {at:#x}")
                following, kind, hashed, length = self._words[at // 4 : at // 4 + 4]
                text = self._bytes[at + 16 : at + 16 + length]
                if kind != TAG_STRING | LFS_MARK << 8 or len(text) != length or self._bytes[at + 16 + length]:
                    raise ValueError(f"no string at {at:#x}")
                if hashed != string_hash(text) or hashed & (self._buckets - 1) != bucket:
                    raise ValueError(f"the string at {at:#x} has the wrong hash")
                self._strings[at] = text
                pointer = following
        if len(self._strings) != self._count:
            raise ValueError(f"{len(self._strings)} strings, and the header says {self._count}")

    def _vector(self, pointer: int, count: int, words: int) -> list[tuple[int, ...]]:
        if count > _MAX_VECTOR:
            raise ValueError(f"a vector of {count}")
        if not count:
            return []
        at = self._place(pointer) // 4
        # No two vectors share words, so what was read cannot exceed the image: a damaged one does not cost memory.
        self._words_read += count * words
        if self._words_read > len(self._words):
            raise ValueError(f"vectors overlap at {4 * at:#x}")
        if at + count * words > len(self._words):
            raise ValueError(f"a vector reaches over the end at {4 * at:#x}")
        return [self._words[i : i + words] for i in range(at, at + count * words, words)]

    def _text(self, pointer: int, skipped: int = 0) -> bytes:
        return self._strings[self._place(pointer) - skipped]

    def _constant(self, cell: tuple[int, ...]) -> Constant:
        tag = cell[-1]
        if tag == TAG_NIL:
            return None
        if tag == TAG_BOOLEAN:
            return bool(cell[0])
        if tag == TAG_STRING:
            return self._text(cell[0])
        if tag != TAG_NUMBER:
            raise ValueError(f"a constant of type {tag}")
        packed = struct.pack(f"<{len(cell) - 1}I", *cell[:-1])
        number: float | int = struct.unpack("<i" if self.integer else "<d", packed)[0]
        return number

    def _proto(self, pointer: int, depth: int) -> Proto:
        at = self._place(pointer)
        if depth > _MAX_DEPTH or at + PROTO_SIZE > self.size:
            raise ValueError(f"no function at {at:#x}")
        if at in self._protos:
            raise ValueError(f"the function at {at:#x} is in two others")
        self._protos.add(at)
        record = self._words[at // 4 : at // 4 + PROTO_SIZE // 4]
        constants, code, protos, lines, names, upvalues, source = record[2:9]
        children = [child[0] for child in self._vector(protos, record[12], 1)]
        if any(self._place(child) >= at for child in children):
            raise ValueError(f"the function at {at:#x} holds one that comes after it")
        nups, parameters, is_vararg, max_stack = record[17].to_bytes(4, "little")
        proto = Proto(
            source=self._text(source),
            line_defined=record[14],
            last_line_defined=record[15],
            upvalue_count=nups,
            parameters=parameters,
            is_vararg=is_vararg,
            max_stack=max_stack,
            code=[word[0] for word in self._vector(code, record[11], 1)],
            constants=[self._constant(cell) for cell in self._vector(constants, record[10], 2 if self.integer else 3)],
            protos=[self._proto(child, depth + 1) for child in children],
            packed_lines=self._text(lines, 16) if lines else b"",
            locals=[LocVar(self._text(n), start, end) for n, start, end in self._vector(names, record[13], 3)],
            upvalues=[self._text(name[0]) for name in self._vector(upvalues, record[9], 1)],
        )
        if proto.packed_lines:
            lineinfo.unpack(proto.packed_lines, len(proto.code))
        return proto
