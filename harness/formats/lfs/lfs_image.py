"""The image of a Lua Flash Store: strings, functions, an index of the modules, laid out for the VM to use in place.

The layout is NodeMCU's app/lua/lflash.h and lobject.h at 32 bits; the order of everything follows the firmware's
own image writer (app/lua/luac_cross/lflashimg.c), so that the image equals its output byte for byte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.formats.lfs.chunk import Constant, Proto, constant_tag, integer_constant
from harness.formats.lfs.signature import ABSOLUTE, INTEGER, PACKED_TVALUE, SIGNATURE
from harness.formats.lfs.traversal import in_table_order, string_hash

#: The mapped flash, where an absolute image may lie: address and size in bytes (luac.c).
MAPPED_FLASH, MAPPED_SIZE = 0x40210000, 0x100000

MAX_MODULES = 50  # LFIELDS_PER_FLUSH: the index makes its list of names with one SETLIST
DEFAULT_MAX_SIZE = 0x40000
HEADER_SIZE = 32
STRING_HEADER_SIZE = 16
PROTO_SIZE = 72
LFS_MARK = 0x40  # LFSBIT of a TString's `marked`

_EQ, _JMP, _CLOSURE, _RETURN, _LOADK, _NEWTABLE, _SETLIST = 23, 22, 36, 30, 1, 10, 34


@dataclass
class Image:
    """A position-independent image: words, and which of them are addresses (as word offsets from its start)."""

    words: list[int] = field(default_factory=list)
    addresses: set[int] = field(default_factory=set)

    @property
    def size(self) -> int:
        """Bytes that it takes in flash; the relocation bitmap is not part of that."""
        return 4 * len(self.words)

    def relocatable(self) -> bytes:
        """The image and its relocation bitmap: what the loader gets, uncompressed."""
        bitmap = [0] * ((len(self.words) + 31) // 32)
        for at in self.addresses:
            bitmap[at >> 5] |= 1 << (at & 31)
        return struct.pack(f"<{len(self.words) + len(bitmap)}I", *self.words, *bitmap)

    def absolute(self, address: int) -> bytes:
        """The image for one place in mapped flash, to be written there as it is. ``address`` is checked."""
        if address % 4 or not MAPPED_FLASH <= address <= MAPPED_FLASH + MAPPED_SIZE:
            raise UsageError(
                f"an absolute image cannot lie at {address:#x}",
                hint=f"give a multiple of 4 from {MAPPED_FLASH:#x} to {MAPPED_FLASH + MAPPED_SIZE:#x}",
            )
        words = [4 * word + address if at in self.addresses else word for at, word in enumerate(self.words)]
        words[0] |= ABSOLUTE
        return struct.pack(f"<{len(words)}I", *words)


def build_image(
    protos: Sequence[Proto],
    *,
    time: int,
    integer: bool = False,
    include_strings: Iterable[bytes] = (),
    max_size: int = DEFAULT_MAX_SIZE,
) -> Image:
    """Lay out the modules, in this order. Each is named after its source: base name up to the first dot.

    ``time`` is the build time in seconds since 1970 that the index holds. ``include_strings`` go to the string table on
    top of those of the modules. ``max_size`` in bytes. Raises UsageError for too many modules and too large an image.
    """
    if not 1 <= len(protos) <= MAX_MODULES:
        raise UsageError(f"{len(protos)} modules, an image holds 1 to {MAX_MODULES}", hint="make several modules one")
    builder = _Builder(integer)
    index = index_function(protos, time)
    builder.strings([*_strings_of(index), *include_strings])
    builder.image.words[2] = builder.function(index)
    builder.image.addresses.add(2)
    image = builder.image
    image.words[0] = SIGNATURE | (INTEGER if integer else PACKED_TVALUE)
    image.words[1] = image.size
    if image.size > max_size:
        raise UsageError(
            f"the image takes {image.size} bytes, {image.size - max_size} more than the LFS region's {max_size}",
            hint="leave modules out, or make the region larger and say so with --max-size",
        )
    return image


def module_name(source: bytes) -> bytes:
    """The name that ``node.LFS.get`` knows a module by, from its source name ``@path`` (luac.c)."""
    path = source[1:]
    for separator in (b"/", b"\\"):
        if separator in path:
            path = path.rpartition(separator)[2]
            break
    return path.lstrip(b".").partition(b".")[0] or source[1:]


def index_function(protos: Sequence[Proto], time: int) -> Proto:
    """The function behind ``node.flashindex``: a name to its module, any other argument to the time and all names."""
    names = [module_name(proto.source) for proto in protos]
    n = len(names)
    code = []
    for i in range(n):
        code += [_abc(_EQ, 0, 0, 256 | i), _abx(_JMP, 0, 131071 + 2), _abx(_CLOSURE, 1, i), _abc(_RETURN, 1, 2, 0)]
    code += [_abx(_LOADK, 1, n), _abc(_NEWTABLE, 2, _floating_byte(n), 0)]
    code += [_abx(_LOADK, i + 3, i) for i in range(n)]
    code += [_abc(_SETLIST, 2, n, 1), _abc(_RETURN, 1, 3, 0), _abc(_RETURN, 0, 1, 0)]
    return Proto(b"=(luac)", parameters=1, max_stack=n + 3, code=code, constants=[*names, time], protos=list(protos))


def _abc(opcode: int, a: int, b: int, c: int) -> int:
    return opcode | a << 6 | c << 14 | b << 23


def _abx(opcode: int, a: int, bx: int) -> int:
    return opcode | a << 6 | bx << 14


def _floating_byte(n: int) -> int:
    """A table size as NEWTABLE holds it: eeeeexxx, rounded up (lobject.c luaO_int2fb)."""
    exponent = 0
    while n >= 16:
        n = (n + 1) >> 1
        exponent += 1
    return n if n < 8 else (exponent + 1) << 3 | n - 8


def _strings_of(proto: Proto) -> list[bytes]:
    strings = [proto.source]
    if proto.packed_lines:
        strings.append(proto.packed_lines)
    strings += [value for value in proto.constants if isinstance(value, bytes)]
    strings += proto.upvalues
    strings += [local.name for local in proto.locals]
    for child in proto.protos:
        strings += _strings_of(child)
    return strings


class _Builder:
    def __init__(self, integer: bool) -> None:
        self.image = Image([0] * (HEADER_SIZE // 4))
        self._integer = integer
        self._at: dict[bytes, int] = {}

    def _append(self, words: Iterable[int]) -> int:
        start = len(self.image.words)
        self.image.words += words
        return start

    def _point(self, at: int, target: int) -> None:
        if target:
            self.image.words[at] = target
            self.image.addresses.add(at)

    def _pointers(self, targets: list[int]) -> int:
        """A vector of addresses; 0, the NULL of an image, if it is empty."""
        start = self._append([0] * len(targets))
        for i, target in enumerate(targets):
            self._point(start + i, target)
        return start if targets else 0

    def strings(self, strings: list[bytes]) -> None:
        ordered = in_table_order(strings)
        words = self.image.words
        buckets = 2 << (len(ordered).bit_length() - 1)
        vector = self._append([0] * buckets)
        self._point(3, vector)
        words[4], words[5] = len(ordered), buckets
        for text in ordered:
            hashed = string_hash(text)
            bucket = vector + (hashed & (buckets - 1))
            here = self._append([0, constant_tag(text) | LFS_MARK << 8, hashed, len(text)])
            self._point(here, words[bucket])
            self._point(bucket, here)
            padded = text + bytes(4 - len(text) % 4)
            self._append(struct.unpack(f"<{len(padded) // 4}I", padded))
            self._at[text] = here

    def _constant(self, at: int, value: Constant) -> None:
        words = self.image.words
        if isinstance(value, bytes):
            self._point(at, self._at[value])
        elif isinstance(value, bool):
            words[at] = int(value)
        elif value is not None and self._integer:
            words[at] = integer_constant(value) & 0xFFFFFFFF
        elif value is not None:
            words[at : at + 2] = struct.unpack("<2I", struct.pack("<d", value))
        words[at + (1 if self._integer else 2)] = constant_tag(value)

    def function(self, proto: Proto) -> int:
        """Lay out a function after the ones in it; where it is, in words."""
        protos = self._pointers([self.function(child) for child in proto.protos])
        cell = 2 if self._integer else 3
        constants = self._append([0] * (cell * len(proto.constants)))
        for i, value in enumerate(proto.constants):
            self._constant(constants + cell * i, value)
        code = self._append(proto.code)
        lines = self._at[proto.packed_lines] + STRING_HEADER_SIZE // 4 if proto.packed_lines else 0
        names = self._append([0] * (3 * len(proto.locals)))
        for i, local in enumerate(proto.locals):
            self._point(names + 3 * i, self._at[local.name])
            self.image.words[names + 3 * i + 1 : names + 3 * i + 3] = [local.start_pc, local.end_pc]
        upvalues = self._pointers([self._at[name] for name in proto.upvalues])
        record = self._append([0] * (PROTO_SIZE // 4))
        vectors = [
            constants if proto.constants else 0,
            code if proto.code else 0,
            protos,
            lines,
            names if proto.locals else 0,
            upvalues,
            self._at[proto.source],
        ]
        for i, target in enumerate(vectors):
            self._point(record + 2 + i, target)
        flags = (proto.upvalue_count, proto.parameters, proto.is_vararg, proto.max_stack)
        self.image.words[record + 9 :] = [
            len(proto.upvalues),
            len(proto.constants),
            len(proto.code),
            len(proto.protos),
            len(proto.locals),
            proto.line_defined,
            proto.last_line_defined,
            0,
            int.from_bytes(bytes(flags), "little"),
        ]
        return record
