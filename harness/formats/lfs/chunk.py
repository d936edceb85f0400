"""Compiled Lua 5.1 functions: the chunks of a stock 64-bit host, and the ``.lc`` files of NodeMCU.

Both hold the same instructions and constants. NodeMCU's differ in 32-bit string sizes, in padding to 4 bytes before the
instructions and the line information, and in the packed line information (NodeMCU app/lua/ldump.c).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.formats.lfs import lineinfo

#: A constant: nil, boolean, number, string. Numbers are float, in chunks for integer firmware int.
Constant = None | bool | float | int | bytes

TAG_NIL, TAG_BOOLEAN, TAG_NUMBER, TAG_STRING = 0, 1, 3, 4

_SIGNATURE = b"\x1bLua\x51\x00\x01\x04"  # 5.1, official format, little endian, 4-byte int
_STOCK = _SIGNATURE + b"\x08\x04\x08\x00"
_TARGET = _SIGNATURE + b"\x04\x04\x08\x00"
_TARGET_INTEGER = _SIGNATURE + b"\x04\x04\x04\x01"

_MAX_ITEMS = 1 << 20  # of any vector: far above what fits a board, low enough for a damaged count to do no harm
_MAX_DEPTH = 200  # LUAI_MAXCCALLS, the nesting that Lua's own parser allows


@dataclass(frozen=True)
class LocVar:
    """A local variable's name and the instructions between which it lives."""

    name: bytes
    start_pc: int
    end_pc: int


@dataclass
class Proto:
    """One compiled function. ``packed_lines`` is NodeMCU's form (see lineinfo), empty if there is none."""

    source: bytes = b"=?"
    line_defined: int = 0
    last_line_defined: int = 0
    upvalue_count: int = 0
    parameters: int = 0
    is_vararg: int = 0
    max_stack: int = 2
    code: list[int] = field(default_factory=list)
    constants: list[Constant] = field(default_factory=list)
    protos: list[Proto] = field(default_factory=list)
    packed_lines: bytes = b""
    locals: list[LocVar] = field(default_factory=list)
    upvalues: list[bytes] = field(default_factory=list)

    def without_names(self) -> Proto:
        """As the firmware keeps it by default: lines, but no names of locals and upvalues (LUAI_OPTIMIZE_DEBUG 1)."""
        protos = [child.without_names() for child in self.protos]
        return Proto(**{**vars(self), "protos": protos, "locals": [], "upvalues": []})


def constant_tag(value: Constant) -> int:
    """Lua's type tag of a constant (lua.h)."""
    if value is None:
        return TAG_NIL
    if isinstance(value, bool):
        return TAG_BOOLEAN
    return TAG_STRING if isinstance(value, bytes) else TAG_NUMBER


def is_chunk(data: bytes) -> bool:
    return data.startswith(b"\x1bLua")


def read_chunk(data: bytes, name: str) -> Proto:
    """Read a ``.lc`` file of NodeMCU, or what ``string.dump`` gives on a stock 64-bit host. ``name`` is for errors.

    Raises UsageError for another Lua, other sizes, and damaged data.
    """
    header = data[:12]
    if header not in (_STOCK, _TARGET, _TARGET_INTEGER):
        raise UsageError(
            f"{name}: {_what_header(data)}", hint="compile it with NodeMCU's luac.cross, or give the source"
        )
    reader = _Reader(data, stock=header == _STOCK, integer=header == _TARGET_INTEGER)
    try:
        proto = reader.function(b"=?", 0)
    except (struct.error, ValueError, IndexError) as problem:
        raise UsageError(f"{name}: damaged chunk: {problem}", hint="compile it again") from None
    if reader.at != len(data):
        raise UsageError(f"{name}: {len(data) - reader.at} bytes follow the chunk", hint="compile it again")
    return proto


def _what_header(data: bytes) -> str:
    if not is_chunk(data) or len(data) < 12:
        return "not a compiled Lua chunk"
    if data[4] != 0x51:
        return f"compiled by Lua {data[4] >> 4}.{data[4] & 15}, expected 5.1"
    sizes = ", ".join(
        f"{label} {value}" for label, value in zip(("int", "size_t", "instruction", "number"), data[7:11], strict=True)
    )
    return f"a Lua 5.1 chunk of another kind of machine (endianness {data[6]}, sizes: {sizes})"


class _Reader:
    def __init__(self, data: bytes, *, stock: bool, integer: bool) -> None:
        self.data, self.at = data, 12
        self._stock, self._integer = stock, integer

    def _take(self, size: int) -> bytes:
        taken = self.data[self.at : self.at + size]
        if len(taken) != size:
            raise ValueError(f"it ends within {size} bytes at {self.at}")
        self.at += size
        return taken

    def _int(self) -> int:
        return int.from_bytes(self._take(4), "little")

    def _count(self) -> int:
        count = self._int()
        if count > _MAX_ITEMS:
            raise ValueError(f"a vector of {count} items at {self.at - 4}")
        return count

    def _align(self) -> None:
        if not self._stock:
            self._take(-self.at % 4)

    def _string(self) -> bytes | None:
        size = int.from_bytes(self._take(8 if self._stock else 4), "little")
        if size == 0:
            return None
        text = self._take(size)
        if text[-1]:
            raise ValueError(f"a string without NUL at {self.at}")
        return text[:-1]

    def _name(self) -> bytes:
        return self._string() or b""

    def _constant(self) -> Constant:
        tag = self._take(1)[0]
        if tag == TAG_NIL:
            return None
        if tag == TAG_BOOLEAN:
            return self._take(1) != b"\0"
        if tag == TAG_NUMBER:
            number: float | int = struct.unpack("<i" if self._integer else "<d", self._take(4 if self._integer else 8))[
                0
            ]
            return number
        if tag == TAG_STRING:
            return self._name()
        raise ValueError(f"a constant of type {tag} at {self.at - 1}")

    def _lines(self, instructions: int) -> bytes:
        count = self._count()
        if self._stock:
            lines = struct.unpack(f"<{count}i", self._take(4 * count))
            return lineinfo.pack(lines) if count else b""
        self._align()
        packed = self._take(count)[:-1]
        if packed:
            lineinfo.unpack(packed, instructions)
        return packed

    def function(self, parent_source: bytes, depth: int) -> Proto:
        if depth > _MAX_DEPTH:
            raise ValueError(f"functions nested more than {_MAX_DEPTH} deep")
        source = self._string()
        proto = Proto(parent_source if source is None else source, self._int(), self._int())
        proto.upvalue_count, proto.parameters, proto.is_vararg, proto.max_stack = self._take(4)
        count = self._count()
        self._align()
        proto.code = list(struct.unpack(f"<{count}I", self._take(4 * count)))
        proto.constants = [self._constant() for _ in range(self._count())]
        proto.protos = [self.function(proto.source, depth + 1) for _ in range(self._count())]
        proto.packed_lines = self._lines(count)
        proto.locals = [LocVar(self._name(), self._int(), self._int()) for _ in range(self._count())]
        proto.upvalues = [self._name() for _ in range(self._count())]
        return proto


def write_stock(proto: Proto) -> bytes:
    """The chunk that a stock 64-bit Lua 5.1 loads."""
    return _Writer(stock=True, integer=False).chunk(_STOCK, proto)


def write_lc(proto: Proto, *, integer: bool = False) -> bytes:
    """The ``.lc`` file that the firmware loads. Raises UsageError if integer firmware cannot hold a number of it."""
    return _Writer(stock=False, integer=integer).chunk(_TARGET_INTEGER if integer else _TARGET, proto)


def integer_constant(value: float | int) -> int:
    """A number as integer firmware holds it: wrapped to 32 bits. Raises UsageError if it has a fraction."""
    if value != value or value in (float("inf"), float("-inf")) or value != int(value):
        raise UsageError(f"integer firmware has no number {value!r}", hint="use whole numbers, or build for float")
    return (int(value) + 0x80000000) % 0x100000000 - 0x80000000


class _Writer:
    def __init__(self, *, stock: bool, integer: bool) -> None:
        self._out = bytearray()
        self._stock, self._integer = stock, integer

    def chunk(self, header: bytes, proto: Proto) -> bytes:
        self._out += header
        self._function(proto, None)
        return bytes(self._out)

    def _ints(self, *values: int) -> None:
        self._out += struct.pack(f"<{len(values)}i", *values)

    def _align(self) -> None:
        if not self._stock:
            self._out += bytes(-len(self._out) % 4)

    def _string(self, text: bytes | None) -> None:
        size = 0 if text is None else len(text) + 1
        self._out += size.to_bytes(8 if self._stock else 4, "little")
        if text is not None:
            self._out += text + b"\0"

    def _constant(self, value: Constant) -> None:
        self._out.append(constant_tag(value))
        if isinstance(value, bool):
            self._out.append(value)
        elif isinstance(value, bytes):
            self._string(value)
        elif value is not None:
            self._out += struct.pack("<i", integer_constant(value)) if self._integer else struct.pack("<d", value)

    def _lines(self, proto: Proto) -> None:
        if self._stock:
            lines = lineinfo.unpack(proto.packed_lines, len(proto.code)) if proto.packed_lines else []
            self._ints(len(lines), *lines)
        else:
            packed = proto.packed_lines + b"\0" if proto.packed_lines else b""
            self._ints(len(packed))
            self._align()
            self._out += packed

    def _function(self, proto: Proto, parent_source: bytes | None) -> None:
        self._string(None if proto.source == parent_source else proto.source)
        self._ints(proto.line_defined, proto.last_line_defined)
        self._out += bytes((proto.upvalue_count, proto.parameters, proto.is_vararg, proto.max_stack))
        self._ints(len(proto.code))
        self._align()
        self._out += struct.pack(f"<{len(proto.code)}I", *proto.code)
        self._ints(len(proto.constants))
        for value in proto.constants:
            self._constant(value)
        self._ints(len(proto.protos))
        for child in proto.protos:
            self._function(child, proto.source)
        self._lines(proto)
        self._ints(len(proto.locals))
        for local in proto.locals:
            self._string(local.name)
            self._ints(local.start_pc, local.end_pc)
        self._ints(len(proto.upvalues))
        for name in proto.upvalues:
            self._string(name)
