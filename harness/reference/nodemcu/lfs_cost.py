"""What a module takes of the target's heap when it is loaded from a file, and what LFS leaves there.

Sizes are those that Lua asks for on a 32-bit target (:mod:`harness.formats.lfs.target_layout`); what the allocator adds
to each block is not counted. A loaded module is its functions' prototypes with their vectors, its strings, and the
closure of its main function. From LFS it is that closure alone. A string that something in RAM has already takes
nothing: those of the firmware itself, and what ``held`` names. What the module's code makes when it runs is the same in
both cases, and so are the strings that it makes then, except that one which the image holds already takes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from harness.formats.lfs import target_layout
from harness.formats.lfs.chunk import Proto


@dataclass(frozen=True)
class ModuleCost:
    """Bytes of RAM of one module, in ``blocks`` allocations. ``strings`` counts those that nothing has before it."""

    name: str
    functions: int
    prototypes: int
    strings: int
    closure: int
    blocks: int

    @property
    def in_ram(self) -> int:
        """Loaded from a file."""
        return self.code + self.strings

    @property
    def code(self) -> int:
        """The same without its strings."""
        return self.prototypes + self.closure

    @property
    def from_lfs(self) -> int:
        return self.closure

    @property
    def saved(self) -> int:
        return self.in_ram - self.from_lfs

    def plus(self, other: ModuleCost) -> ModuleCost:
        """Both together, under this one's name."""
        sums = (getattr(self, field) + getattr(other, field) for field in _COUNTED)
        return ModuleCost(self.name, *sums)


_COUNTED = ("functions", "prototypes", "strings", "closure", "blocks")


def costs(
    modules: Mapping[str, Proto], *, integer: bool = False, held: Collection[bytes] = frozenset()
) -> list[ModuleCost]:
    """The cost of each module in this order; a string that several have is counted with the first."""
    seen = target_layout.FIRMWARE_STRINGS | set(held)
    result = []
    for name, proto in modules.items():
        functions = _functions(proto)
        strings = strings_of(proto) - seen
        seen |= strings
        result.append(
            ModuleCost(
                name,
                len(functions),
                sum(prototype_bytes(function, integer=integer) for function in functions),
                sum(target_layout.string(len(text)) for text in strings),
                target_layout.lua_closure(proto.upvalue_count),
                sum(map(_blocks, functions)) + len(strings) + 1,
            )
        )
    return result


def prototype_bytes(proto: Proto, *, integer: bool = False) -> int:
    """One function's prototype and its vectors in RAM, without the functions in it and without strings."""
    lines = len(proto.packed_lines) + 1 if proto.packed_lines else 0
    return (
        target_layout.prototype()
        + target_layout.value(integer=integer) * len(proto.constants)
        + target_layout.WORD * (len(proto.code) + len(proto.protos) + len(proto.upvalues))
        + lines
        + target_layout.local_name() * len(proto.locals)
    )


def strings_of(proto: Proto) -> set[bytes]:
    """All strings of a function and of those in it: constants, source, and names where they are kept."""
    return {text for function in _functions(proto) for text in _strings(function)}


def _functions(proto: Proto) -> list[Proto]:
    return [proto, *(inner for child in proto.protos for inner in _functions(child))]


def _strings(proto: Proto) -> set[bytes]:
    constants = {value for value in proto.constants if isinstance(value, bytes)}
    return {proto.source, *constants, *proto.upvalues, *(local.name for local in proto.locals)}


def _blocks(proto: Proto) -> int:
    vectors = (proto.constants, proto.code, proto.protos, proto.packed_lines, proto.locals, proto.upvalues)
    return 1 + sum(bool(vector) for vector in vectors)
