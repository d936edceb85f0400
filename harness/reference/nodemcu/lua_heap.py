"""The heap of a Lua 5.1 state in the sizes of the target: what its objects would take on a 32-bit chip.

The host's Lua allocates 64-bit objects, so its own figures say nothing about a board. Here the collector's list of
objects and its string table are read from the host state's memory, and each object is given the size that the same
object has in NodeMCU's Lua 5.1 (NodeMCU ``app/lua/lobject.h``, ``lstate.h``; float builds pack a TValue into
12 bytes, integer builds into 8). Garbage counts until it is collected, as on the chip.

What there was at :meth:`LuaHeap.mark_rom` counts as firmware: NodeMCU keeps library tables and functions in flash.
A name of a library that a program uses is a string in RAM there too, unless the LFS holds it, and is counted so; so is
a reserved word that a program has as a text, for the firmware's lexer keeps none. Names of metamethods are the
firmware's own.
Not modelled: the allocator's own header for each block, the stack of the main thread, and what the SDK takes.
"""

from __future__ import annotations

import ctypes
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.errors import BenchFault
from harness.formats.lfs.target_layout import FIRMWARE_STRINGS

STRING, TABLE, FUNCTION, USERDATA, THREAD, PROTO, UPVALUE = 4, 5, 6, 7, 8, 9, 10

#: Lua 5.1.5, 64-bit ``lua_State``: offsets of what is read.
_GLOBAL_STATE, _STACK_SIZE, _CALL_INFOS, _HOOK_COUNT, _OPEN_UPVALUES = 32, 88, 92, 108, 152
#: ``global_State``: string table (address, used, size), list of all objects, bytes in use, main thread.
_STRINGS, _ALL_OBJECTS, _TOTAL_BYTES, _MAIN_THREAD = 0, 40, 120, 176

_HEADER = struct.Struct("<QBBBB")
_TABLE = struct.Struct("<QBBBB4xQQQQQi")
_CLOSURE = struct.Struct("<QBBBB4xQQQ")
_PROTO = struct.Struct("<QBB6xQQQQQQQiiiiii")
_TSTRING = struct.Struct("<QBBB1xIQ")
_VALUE = struct.Struct("<Qi4x")
_NODE = struct.Struct("<Qi4xQi4xQ")
_LOCAL = struct.Struct("<Qii")


@dataclass(frozen=True)
class Sizes:
    """Sizes of the target's objects in bytes; ``number`` is that of ``lua_Number``."""

    value: int = 12
    string: int = 16
    table: int = 32
    closure: int = 20
    proto: int = 72
    local: int = 12
    userdata: int = 24
    thread: int = 112
    call_info: int = 24
    pointer: int = 4

    @property
    def node(self) -> int:
        return 2 * self.value + self.pointer

    @property
    def upvalue(self) -> int:
        return 12 + self.value


FLOAT = Sizes()
INTEGER = Sizes(value=8)


class LuaHeap:
    """``thread`` is the address of any ``lua_State`` of the host state, which must outlive this object, and
    ``empty_table`` that of a table without content. Raises BenchFault for a build of Lua that is laid out otherwise.

    All methods must be called while that state stands still.
    """

    def __init__(self, thread: int, empty_table: int, sizes: Sizes = FLOAT) -> None:
        if (_kind(thread), _kind(empty_table)) != (THREAD, TABLE) or ctypes.sizeof(ctypes.c_void_p) != 8:
            raise BenchFault("the Lua 5.1 of this lupa has another memory layout", hint="install its 64-bit wheel")
        self.sizes = sizes
        self._global: int = _u64(thread + _GLOBAL_STATE)
        self.main_thread = _u64(self._global + _MAIN_THREAD)
        #: A table without a hash part points at one dummy node, which all of them share.
        self._no_nodes = _TABLE.unpack(_bytes(empty_table, _TABLE.size))[7]
        self._rom: set[int] = set()
        self._flash_strings: frozenset[bytes] = frozenset()

    # -- what the host state says ----------------------------------------------------------------

    @property
    def host_bytes(self) -> int:
        """What the host's allocator has given out: never less than what the same objects take on the target."""
        return _u64(self._global + _TOTAL_BYTES)

    @property
    def hook_count(self) -> int:
        """Instructions of the main thread up to its next count hook."""
        return ctypes.c_int32.from_address(self.main_thread + _HOOK_COUNT).value

    # -- what stands in flash --------------------------------------------------------------------

    def mark_rom(self) -> None:
        """From here on, all objects that there are belong to the firmware. They must stay reachable."""
        self._rom = {address for address, _ in self._objects()} | set(self._strings())

    def mark_flash(self, root: int, strings: frozenset[bytes]) -> None:
        """The function at ``root`` stands in LFS with all its prototypes; so do ``strings``, wherever they are used."""
        function = _CLOSURE.unpack(_bytes(root, _CLOSURE.size))
        self._rom.add(root)
        self._mark_protos(_u64(root + 32))
        self._flash_strings = strings
        assert function[1] == FUNCTION

    def _mark_protos(self, address: int) -> None:
        self._rom.add(address)
        proto = _Proto(address)
        for child in struct.iter_unpack("<Q", _bytes(proto.protos, 8 * proto.proto_count)):
            self._mark_protos(child[0])

    # -- sizes -----------------------------------------------------------------------------------

    def used(self) -> int:
        """Bytes of RAM on the target."""
        return sum(self.by_kind().values())

    def by_kind(self) -> Counter[str]:
        """Bytes of RAM on the target: strings, tables, closures, protos, upvalues, userdata, threads."""
        return self._walk()[0]

    def strings(self) -> list[bytes]:
        """The string table in RAM."""
        _, named, dropped = self._walk()
        return [_bytes(address, length) for address, length in self._ram_strings(named, dropped)]

    def _walk(self) -> tuple[Counter[str], set[int], set[int]]:
        size = self.sizes
        total: Counter[str] = Counter()
        named: set[int] = set()  # strings that something in RAM refers to
        dropped: set[int] = set()  # names of locals and upvalues, which only the host keeps
        for address, kind in self._objects():
            if address in self._rom:
                continue
            if kind == TABLE:
                total["tables"] += self._table(address, named)
            elif kind == FUNCTION:
                total["closures"] += self._closure(address, named)
            elif kind == PROTO:
                total["protos"] += self._proto(address, named, dropped)
            elif kind == UPVALUE:
                total["upvalues"] += size.upvalue
                self._value(_bytes(_u64(address + 16), _VALUE.size), named)
            elif kind == USERDATA:
                total["userdata"] += size.userdata + _u64(address + 32)
            elif kind == THREAD and address != self.main_thread:
                total["threads"] += self._thread(address)
        total["upvalues"] += size.upvalue * sum(1 for _ in self._open_upvalues(self.main_thread))
        total["strings"] = sum(size.string + length + 1 for _, length in self._ram_strings(named, dropped))
        return total, named, dropped

    def _ram_strings(self, named: set[int], dropped: set[int]) -> Iterator[tuple[int, int]]:
        """Where the characters of each string in RAM are, and how many."""
        for address in self._strings():
            if address not in named and (address in self._rom or address in dropped):
                continue
            _, _, _, _, _, length = _TSTRING.unpack(_bytes(address, _TSTRING.size))
            text = _bytes(address + 24, length)
            if text in FIRMWARE_STRINGS or text in self._flash_strings:
                continue
            yield address + 24, length

    def _table(self, address: int, named: set[int]) -> int:
        log: int
        count: int
        _, _, _, _, log, _, array, node, _, _, count = _TABLE.unpack(_bytes(address, _TABLE.size))
        size = self.sizes
        nodes = 0 if node == self._no_nodes else 1 << log
        values = _bytes(array, 16 * count) if count else b""
        for start in range(0, len(values), 16):
            self._value(values[start : start + 16], named)
        if nodes:
            for value, value_kind, key, key_kind, _ in _NODE.iter_unpack(_bytes(node, _NODE.size * nodes)):
                if value_kind == STRING:
                    named.add(value)
                if key_kind == STRING and value_kind:
                    named.add(key)
        return size.table + size.value * count + size.node * nodes

    def _closure(self, address: int, named: set[int]) -> int:
        count: int
        _, _, _, is_c, count, _, _, _ = _CLOSURE.unpack(_bytes(address, _CLOSURE.size))
        if is_c:
            values = _bytes(address + 40, 16 * count)
            for start in range(0, len(values), 16):
                self._value(values[start : start + 16], named)
            return self.sizes.closure + self.sizes.value * count
        return self.sizes.closure + self.sizes.pointer * count

    def _proto(self, address: int, named: set[int], dropped: set[int]) -> int:
        proto, size = _Proto(address), self.sizes
        constants = _bytes(proto.constants, 16 * proto.constant_count)
        for start in range(0, len(constants), 16):
            self._value(constants[start : start + 16], named)
        named.add(proto.source)
        # The firmware's compiler keeps line numbers, packed, and drops names (LUAI_OPTIMIZE_DEBUG 1).
        dropped.update(name for (name,) in struct.iter_unpack("<Q", _bytes(proto.upvalues, 8 * proto.upvalue_count)))
        dropped.update(name for name, _, _ in _LOCAL.iter_unpack(_bytes(proto.locals, _LOCAL.size * proto.local_count)))
        lines = _bytes(proto.lines, 4 * proto.line_count)
        return (
            size.proto
            + size.value * proto.constant_count
            + 4 * proto.code_count
            + size.pointer * proto.proto_count
            + packed_lines([line for (line,) in struct.iter_unpack("<i", lines)])
        )

    def _thread(self, address: int) -> int:
        stack: int = ctypes.c_int32.from_address(address + _STACK_SIZE).value
        calls: int = ctypes.c_int32.from_address(address + _CALL_INFOS).value
        open_upvalues = sum(1 for _ in self._open_upvalues(address))
        size = self.sizes
        return size.thread + size.value * stack + size.call_info * calls + size.upvalue * open_upvalues

    @staticmethod
    def _value(raw: bytes, named: set[int]) -> None:
        value, kind = _VALUE.unpack(raw)
        if kind == STRING:
            named.add(value)

    # -- the host's lists ------------------------------------------------------------------------

    def _objects(self) -> Iterator[tuple[int, int]]:
        """Address and kind of every object but strings and open upvalues."""
        address = _u64(self._global + _ALL_OBJECTS)
        while address:
            following, kind, *_ = _HEADER.unpack(_bytes(address, _HEADER.size))
            yield address, kind
            address = following

    def _strings(self) -> Iterator[int]:
        buckets, _used, count = struct.unpack("<QIi", _bytes(self._global + _STRINGS, 16))
        for (address,) in struct.iter_unpack("<Q", _bytes(buckets, 8 * count)):
            while address:
                yield address
                address = _u64(address)

    def _open_upvalues(self, thread: int) -> Iterator[int]:
        address = _u64(thread + _OPEN_UPVALUES)
        while address:
            if address not in self._rom:
                yield address
            address = _u64(address)


class _Proto:
    """What is needed of a host ``Proto``."""

    constant_count: int
    code_count: int
    line_count: int
    proto_count: int

    def __init__(self, address: int) -> None:
        (
            _, _, _, self.constants, self.code, self.protos, self.lines, self.locals, self.upvalues, self.source,
            self.upvalue_count, self.constant_count, self.code_count, self.line_count, self.proto_count,
            self.local_count,
        ) = _PROTO.unpack(_bytes(address, _PROTO.size))  # fmt: skip


def packed_lines(lines: Sequence[int]) -> int:
    """Bytes, with the NUL at the end, of ``lines`` as :func:`harness.formats.lfs.lineinfo.pack` packs them."""
    size, line, at = 1 if lines else 0, 0, 0
    while at < len(lines):
        end = at
        while end < len(lines) and lines[end] == lines[at]:
            end += 1
        delta = lines[at] - line - 1
        if delta:
            value = (-delta - 1 if delta < 0 else delta - 1) >> 6
            size += 1
            while value:
                size += 1
                value >>= 7
        groups = -(-(end - at) // 126)
        size += 2 * groups - 1  # from the second on, each takes back the step of one line
        line, at = lines[at], end
    return size


def _kind(address: int) -> int:
    return _bytes(address, _HEADER.size)[8]


def _u64(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def _bytes(address: int, size: int) -> bytes:
    return ctypes.string_at(address, size) if size else b""
