"""A build of a VM module that counts its own work by kind, made by rewriting its code.

Each straight piece of code adds, as it begins, what it holds of each kind to a counter: an exported global of the
module. A piece ends where control can go elsewhere: at a branch, at a label, and at a call, out of which an exception
may lead. So the counts are exact, the same on every run and every host, and by :data:`FUEL_WEIGHTS` together they are
the fuel that the module as it was would have used: wasmtime (``func_environ.rs``) takes one for each instruction but
the labels, ``drop``, ``nop``, ``return`` and ``unreachable``, one for each entry of a function, and one for each byte
that is copied or filled. (One for each page that memory grows by is left out.)

The rewritten module is twice as large and several times slower; nothing but calibration and the prediction of times
runs it.

WebAssembly core specification 3.0, "Binary Format": "Instructions", "Modules"; for exceptions the older proposal
(``try``, ``catch``, ``delegate``) as well, which compilers still emit.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from enum import IntEnum

import wasmtime

from harness.reference.engine.wasm_module import leb128, read_leb128, sections

#: Changed whenever the same module gives another counted build, or kinds mean something else.
COUNTING = 1
#: What a counter is exported as, with the kind's name behind it.
EXPORT = "harness.work."


class Work(IntEnum):
    """A kind of work. All but ``COPIED`` count instructions."""

    PLAIN = 0  # constants, locals, globals: mostly gone in machine code
    ALU = 1  # 32-bit arithmetic, comparison, select
    MULTIPLY = 2  # 32-bit multiplication and division
    LOAD = 3
    STORE = 4
    BRANCH = 5  # br, br_if, if
    DISPATCH = 6  # br_table: the VM's bytecodes
    CALL = 7  # direct calls
    INDIRECT = 8  # through a table: methods of types, functions of modules
    ENTRY = 9  # a function begins
    WIDE = 10  # 64-bit integers
    WIDE_HEAVY = 11  # their multiplication and division
    FLOAT = 12  # addition, comparison, conversion
    FLOAT_HEAVY = 13  # multiplication, division, square root
    THROW = 14  # try, throw, catch
    BULK = 15  # memory.copy, memory.fill and other instructions on memory and tables
    COPIED = 16  # bytes that those moved


#: By these weights the counts come to the fuel of the module as it was.
FUEL_WEIGHTS = (1.0,) * len(Work)

_I32, _I64 = 0x7F, 0x7E
_BLOCK, _LOOP, _IF, _ELSE, _TRY, _CATCH, _THROW, _RETHROW = 2, 3, 4, 5, 6, 7, 8, 9
_THROW_REF, _END, _BR, _BR_IF, _BR_TABLE, _RETURN, _CALL, _CALL_INDIRECT = 10, 11, 12, 13, 14, 15, 16, 17
_RETURN_CALL, _RETURN_CALL_INDIRECT, _DELEGATE, _CATCH_ALL, _TRY_TABLE = 18, 19, 24, 25, 31
_GLOBAL_GET, _GLOBAL_SET, _I64_CONST, _I64_ADD, _I64_EXTEND_U = 0x23, 0x24, 0x42, 0x7C, 0xAD
_MEMORY_COPY, _MEMORY_FILL = 10, 11
_IMPORTS, _GLOBALS, _EXPORTS, _CODE = 2, 6, 7, 10
#: The sections from the globals on, in their order; tags (13) and memories come before.
_FROM_GLOBALS = (6, 7, 8, 9, 12, 10, 11)

_FREE = {0x00, 0x01, _BLOCK, _LOOP, _ELSE, _END, _RETURN, 0x1A}
#: After these a piece ends.
_ENDS = {
    *(_BLOCK, _LOOP, _IF, _ELSE, _TRY, _CATCH, _THROW, _RETHROW, _THROW_REF, _END, _BR, _BR_IF, _BR_TABLE, _RETURN),
    *(_CALL, _CALL_INDIRECT, _RETURN_CALL, _RETURN_CALL_INDIRECT, _DELEGATE, _CATCH_ALL, _TRY_TABLE, 0x00),
}
#: Labels behind which a piece is counted: control arrives there, and nothing can stand before them.
_LABELS = {_CATCH, _CATCH_ALL, _DELEGATE}


def _kinds() -> dict[int, Work]:
    kinds = {
        _IF: Work.BRANCH, _BR: Work.BRANCH, _BR_IF: Work.BRANCH, _BR_TABLE: Work.DISPATCH,
        _CALL: Work.CALL, _RETURN_CALL: Work.CALL, _CALL_INDIRECT: Work.INDIRECT, _RETURN_CALL_INDIRECT: Work.INDIRECT,
        _TRY: Work.THROW, _CATCH: Work.THROW, _THROW: Work.THROW, _RETHROW: Work.THROW, _THROW_REF: Work.THROW,
        _DELEGATE: Work.THROW, _CATCH_ALL: Work.THROW, _TRY_TABLE: Work.THROW,
        0x1B: Work.ALU, 0x1C: Work.ALU, 0x25: Work.BULK, 0x26: Work.BULK, 0x3F: Work.BULK, 0x40: Work.BULK,
        0xD0: Work.PLAIN, 0xD1: Work.ALU, 0xD2: Work.PLAIN,
    }  # fmt: skip
    ranges = (
        (0x20, 0x24, Work.PLAIN), (0x28, 0x35, Work.LOAD), (0x36, 0x3E, Work.STORE), (0x41, 0x44, Work.PLAIN),
        (0x45, 0x4F, Work.ALU), (0x50, 0x5A, Work.WIDE), (0x5B, 0x66, Work.FLOAT), (0x67, 0x6B, Work.ALU),
        (0x6C, 0x70, Work.MULTIPLY), (0x71, 0x78, Work.ALU), (0x79, 0x7D, Work.WIDE), (0x7E, 0x82, Work.WIDE_HEAVY),
        (0x83, 0x8A, Work.WIDE), (0x8B, 0xA6, Work.FLOAT), (0x91, 0x91, Work.FLOAT_HEAVY),
        (0x94, 0x95, Work.FLOAT_HEAVY), (0x9F, 0x9F, Work.FLOAT_HEAVY), (0xA2, 0xA3, Work.FLOAT_HEAVY),
        (0x8B, 0x8C, Work.ALU), (0x98, 0x9A, Work.ALU), (0xA6, 0xA6, Work.ALU),  # signs
        (0xA7, 0xA7, Work.WIDE), (0xA8, 0xAB, Work.FLOAT), (0xAC, 0xAD, Work.WIDE), (0xAE, 0xBB, Work.FLOAT),
        (0xBC, 0xBF, Work.ALU), (0xC0, 0xC1, Work.ALU), (0xC2, 0xC4, Work.WIDE),
    )  # fmt: skip
    for first, last, kind in ranges:
        kinds.update(dict.fromkeys(range(first, last + 1), kind))
    return kinds


_KINDS = _kinds()


class _Code:
    """Goes through the bytes of one function's body."""

    def __init__(self, data: bytes, at: int) -> None:
        self.data, self.at = data, at

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def number(self) -> int:
        value, self.at = read_leb128(self.data, self.at)
        return value

    def skip_number(self) -> None:
        """A signed or long one, whose value does not matter."""
        while self.data[self.at] >= 0x80:
            self.at += 1
        self.at += 1

    def instruction(self) -> tuple[int, int]:
        """The opcode, and for 0xFC the one that follows; what belongs to it is passed over.

        Raises ValueError for one that is not known here.
        """
        op, sub = self.byte(), 0
        if op in (_BLOCK, _LOOP, _IF, _TRY):
            self.skip_number()  # a value type is a negative number of one byte
        elif op in (_THROW, _RETHROW, _BR, _BR_IF, _CALL, _RETURN_CALL, _CATCH, _DELEGATE) or (
            0x20 <= op <= 0x26 or op in (0x3F, 0x40, 0x41, 0x42, 0xD0, 0xD2)
        ):
            self.skip_number()
        elif op == _BR_TABLE:
            for _ in range(self.number() + 1):
                self.skip_number()
        elif op in (_CALL_INDIRECT, _RETURN_CALL_INDIRECT):
            self.skip_number()
            self.skip_number()
        elif op == _TRY_TABLE:
            self.skip_number()
            for _ in range(self.number()):
                if self.byte() < 2:  # catch, catch_ref: with a tag
                    self.skip_number()
                self.skip_number()
        elif op == 0x1C:
            for _ in range(self.number()):
                self.skip_number()
        elif 0x28 <= op <= 0x3E:
            if self.number() & 0x40:  # the number of a memory follows
                self.skip_number()
            self.skip_number()
        elif op == 0x43:
            self.at += 4
        elif op == 0x44:
            self.at += 8
        elif op == 0xFC:
            sub = self.number()
            for _ in range({8: 2, 9: 1, 10: 2, 11: 1, 12: 2, 13: 1, 14: 2, 15: 1, 16: 1, 17: 1}.get(sub, 0)):
                self.skip_number()
            if sub > 17:
                raise ValueError(f"instruction 0xfc {sub} is not known")
        elif op not in _KINDS and op not in _FREE and op not in _ENDS:
            raise ValueError(f"instruction 0x{op:02x} is not known")
        return op, sub


def kind_of(op: int, sub: int = 0) -> Work | None:
    """The kind of an instruction; None for those that use no fuel."""
    if op in _FREE:
        return None
    if op == 0xFC:
        return Work.FLOAT if sub < 8 else Work.BULK
    return _KINDS[op]


def _pieces(code: _Code, end: int) -> Iterator[tuple[int, int, dict[Work, int], list[int]]]:
    """Each straight piece: from where to where, its counts, and where it copies or fills memory."""
    start, counts, bulk = code.at, {Work.ENTRY: 1}, list[int]()
    while code.at < end:
        at = code.at
        op, sub = code.instruction()
        kind = kind_of(op, sub)
        if kind is not None:
            counts[kind] = counts.get(kind, 0) + 1
        if op == 0xFC and sub in (_MEMORY_COPY, _MEMORY_FILL):
            bulk.append(at)
        if op in _ENDS:
            yield start, code.at, counts, bulk
            start, counts, bulk = code.at, {}, []


def _rewritten_body(data: bytes, at: int, end: int, first_global: int) -> bytes:
    """One function's body with its counting; ``first_global`` is the index of the first counter."""
    code = _Code(data, at)
    for _ in range(code.number()):
        code.skip_number()
        code.skip_number()
    out = bytearray(data[at : code.at])
    scratch = leb128(first_global + len(Work))
    for start, stop, counts, bulk in _pieces(code, end):
        first = data[start]
        piece = b"".join(_add(first_global + kind, number) for kind, number in counts.items())
        if first in _LABELS:
            head = _Code(data, start)
            head.instruction()
            out += data[start : head.at] + piece
            start = head.at
        else:
            out += piece
        for place in bulk:
            out += data[start:place]
            counter = leb128(first_global + Work.COPIED)
            out += bytes([_GLOBAL_SET]) + scratch + bytes([_GLOBAL_GET]) + scratch
            out += bytes([_GLOBAL_GET]) + scratch + bytes([_I64_EXTEND_U, _GLOBAL_GET]) + counter
            out += bytes([_I64_ADD, _GLOBAL_SET]) + counter
            start = place
        out += data[start:stop]
    return bytes(out)


def _add(index: int, number: int) -> bytes:
    counter = leb128(index)
    more = leb128(number)
    if more[-1] & 0x40:  # the constant is signed
        more = more[:-1] + bytes([more[-1] | 0x80, 0])
    return bytes([_GLOBAL_GET]) + counter + bytes([_I64_CONST]) + more + bytes([_I64_ADD, _GLOBAL_SET]) + counter


def is_counted(module: wasmtime.Module) -> bool:
    """Whether a compiled module is a counted build."""
    return any(export.name.startswith(EXPORT) for export in module.exports)


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + leb128(len(content)) + content


@functools.lru_cache(maxsize=2)
def counted(module: bytes) -> bytes:
    """``module`` with its counters. Raises ValueError when it holds an instruction that is not known here."""
    found = list(sections(module))
    contents = dict(found)
    globals_before, at_globals = read_leb128(contents.get(_GLOBALS, b"\0"), 0)
    exports_before, at_exports = read_leb128(contents.get(_EXPORTS, b"\0"), 0)
    first_global = globals_before + (_imported_globals(contents[_IMPORTS]) if _IMPORTS in contents else 0)
    counters = bytes([_I64, 1, _I64_CONST, 0, _END]) * len(Work)
    scratch = bytes([_I32, 1, 0x41, 0, _END])  # for a length
    more_globals = leb128(globals_before + len(Work) + 1) + contents.get(_GLOBALS, b"\0")[at_globals:]
    more_exports = leb128(exports_before + len(Work)) + contents.get(_EXPORTS, b"\0")[at_exports:]
    for work in Work:
        name = (EXPORT + work.name.lower()).encode()
        more_exports += leb128(len(name)) + name + b"\3" + leb128(first_global + work)
    rewritten = {
        _GLOBALS: more_globals + counters + scratch,
        _EXPORTS: more_exports,
        _CODE: _rewritten_code(contents[_CODE], first_global) if _CODE in contents else b"",
    }
    out, due = bytearray(module[:8]), [_GLOBALS, _EXPORTS]
    for kind, content in found:
        while due and kind in _FROM_GLOBALS and _FROM_GLOBALS.index(kind) >= _FROM_GLOBALS.index(due[0]):
            out += _section(due[0], rewritten[due.pop(0)])
        if kind not in (_GLOBALS, _EXPORTS):
            out += _section(kind, rewritten.get(kind, content))
    return bytes(out)


def _rewritten_code(content: bytes, first_global: int) -> bytes:
    count, at = read_leb128(content, 0)
    out = bytearray(leb128(count))
    for _ in range(count):
        size, at = read_leb128(content, at)
        body = _rewritten_body(content, at, at + size, first_global)
        out += leb128(len(body)) + body
        at += size
    return bytes(out)


def _imported_globals(content: bytes) -> int:
    code = _Code(content, 0)
    found = 0
    for _ in range(code.number()):
        for _ in range(2):
            size = code.number()
            code.at += size
        kind = code.byte()
        if kind in (1, 2):  # a table has its element's type before its limits
            code.at += kind == 1
            for _ in range(1 + (code.byte() & 1)):
                code.skip_number()
        elif kind == 3:
            found += 1
            code.at += 2
        else:  # a function, or a tag with its attribute
            code.at += kind == 4
            code.skip_number()
    return found
