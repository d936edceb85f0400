"""What a module takes of the target's heap when it is loaded from a file, and what LFS leaves there.

Sizes are those of the objects on a 32-bit target (NodeMCU app/lua/lobject.h); what the allocator adds to each is not
counted. A loaded module is its functions' prototypes with their vectors, its strings, and the closure of its main
function. From LFS it is that closure alone. What the module's code makes when it runs is the same in both cases, and so
are the strings that it makes then, except that one which the image holds already takes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from harness.formats.lfs.chunk import Proto

POINTER = 4
PROTO = 72
LOCVAR = 12
STRING = 16 + 1  # header and NUL, without the characters
CLOSURE = 20
TVALUE_FLOAT, TVALUE_INTEGER = 12, 8


@dataclass(frozen=True)
class ModuleCost:
    """Bytes of RAM of one module. ``strings`` counts those that no module before it has."""

    name: str
    functions: int
    prototypes: int
    strings: int
    closure: int

    @property
    def in_ram(self) -> int:
        """Loaded from a file."""
        return self.prototypes + self.strings + self.closure

    @property
    def from_lfs(self) -> int:
        return self.closure

    @property
    def saved(self) -> int:
        return self.in_ram - self.from_lfs


def costs(modules: Mapping[str, Proto], *, integer: bool = False) -> list[ModuleCost]:
    """The cost of each module in this order; a string that several have is counted with the first."""
    seen: set[bytes] = set()
    result = []
    for name, proto in modules.items():
        functions = list(_functions(proto))
        strings = {text for function in functions for text in _strings(function)} - seen
        seen |= strings
        result.append(
            ModuleCost(
                name,
                len(functions),
                sum(prototype_bytes(function, integer=integer) for function in functions),
                sum(STRING + len(text) for text in strings),
                CLOSURE + POINTER * proto.upvalue_count,
            )
        )
    return result


def prototype_bytes(proto: Proto, *, integer: bool = False) -> int:
    """One function's prototype and its vectors in RAM, without the functions in it and without strings."""
    tvalue = TVALUE_INTEGER if integer else TVALUE_FLOAT
    lines = len(proto.packed_lines) + 1 if proto.packed_lines else 0
    pointers = POINTER * (len(proto.protos) + len(proto.upvalues))
    return PROTO + tvalue * len(proto.constants) + 4 * len(proto.code) + lines + pointers + LOCVAR * len(proto.locals)


def _functions(proto: Proto) -> list[Proto]:
    return [proto, *(inner for child in proto.protos for inner in _functions(child))]


def _strings(proto: Proto) -> set[bytes]:
    constants = {value for value in proto.constants if isinstance(value, bytes)}
    return {proto.source, *constants, *proto.upvalues, *(local.name for local in proto.locals)}
