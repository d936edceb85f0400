"""Modules in flash that execute in place, kept as a stack.

The model of MicroPython issue #4124 (execute from flash): a module that was pushed can be used after the next reset,
only the top one can be popped, and what was popped is erased at the next reset, because until then objects in RAM may
refer to it. Each module is a ROMFS image on sectors of its own. A table of them lies in the region's first sectors
and is replaced as a whole, so a power cut at any step leaves the stack as it was before or after the operation.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Protocol

from harness.errors import BenchFault, UsageError
from harness.formats.romfs import MAGIC, build_romfs
from harness.reference.flash.flash_region import SECTOR, Region
from harness.reference.flash.module_update import ImageStore

#: Sectors of the table. Each change of the stack erases one of them in turn.
TABLE_SECTORS = 4
#: Longest name of a module, in bytes of UTF-8.
MAX_NAME = 32
_ENTRY = struct.Struct(f"<{MAX_NAME}sBIII")  # name, state, offset, size, checksum of the image


class State(IntEnum):
    """Where a module stands between two resets."""

    PUSHED = 1  # usable after the next reset
    READY = 2
    POPPED = 3  # still there; erased at the next reset


@dataclass(frozen=True)
class Module:
    """A module's ROMFS image: ``offset`` in the region and ``size``, both in bytes."""

    name: str
    state: State
    offset: int
    size: int
    checksum: int

    @property
    def end(self) -> int:
        """Where the next module's sectors start."""
        return self.offset + -(-self.size // SECTOR) * SECTOR


class Machine(Protocol):
    """What the modules are mapped into: a reference VM that was made with a ``boot``."""

    def put(self, path: str, data: bytes) -> None: ...

    def map_romfs(self, image: bytes) -> None: ...


class ModuleStack:
    """The stack in ``region``, as its table says; after a ``PowerCut`` make a new one.

    Raises ValueError for a region without room for one module, BenchFault for a table that is none.
    """

    def __init__(self, region: Region) -> None:
        if region.size <= TABLE_SECTORS * SECTOR:
            raise ValueError(f"a module stack takes more than {TABLE_SECTORS * SECTOR} bytes, came {region.size}")
        self._region = region
        self._table = ImageStore(region, size=TABLE_SECTORS * SECTOR, slots=TABLE_SECTORS)
        self._modules = _unpack(self._table.read() or b"", region.size)

    @property
    def modules(self) -> list[Module]:
        """From the bottom to the top, popped ones included until they are erased."""
        return list(self._modules)

    @property
    def free(self) -> int:
        """Bytes above the top module; what was popped counts after the next reset."""
        return self._region.size - self._end

    @property
    def _end(self) -> int:
        return self._modules[-1].end if self._modules else TABLE_SECTORS * SECTOR

    def push(self, name: str, image: bytes) -> Module:
        """Write a ROMFS image on top; it can be used after the next reset.

        Raises UsageError for a name that is not an identifier or is taken, for something that is not a ROMFS image,
        when there is no room, and while popped modules wait for the reset that erases them.
        """
        self._check(name, image)
        module = Module(name, State.PUSHED, self._end, len(image), zlib.crc32(image))
        for sector in range(module.offset, module.end, SECTOR):
            if not self._region.blank(sector, SECTOR):  # left behind by a push that the power did not let end
                self._region.erase(sector, SECTOR)
        self._region.program(module.offset, image)
        self._write([*self._modules, module])
        return module

    def _check(self, name: str, image: bytes) -> None:
        if not name.isidentifier() or len(name.encode()) > MAX_NAME:
            raise UsageError(f"{name!r} is no name for a module: an identifier of up to {MAX_NAME} bytes is")
        if not image.startswith(MAGIC):
            raise UsageError(f"what is pushed as {name!r} is not a ROMFS image", hint="make one with build_romfs()")
        if self._modules and self._modules[-1].state is State.POPPED:
            raise UsageError("the top of the stack was popped and is erased at the next reset", hint="reset first")
        if any(module.name == name for module in self._modules):
            raise UsageError(f"a module {name!r} is on the stack already", hint="pop it first, or take another name")
        if len(image) > self.free:
            raise UsageError(
                f"the flash region is full: {name!r} takes {len(image)} bytes, {self.free} are free",
                hint="pop modules and reset",
            )
        if _ENTRY.size * (len(self._modules) + 1) > self._table.capacity:
            raise UsageError(f"the table is full: it holds {len(self._modules)} modules", hint="pop some and reset")

    def pop(self, name: str) -> None:
        """Mark the top module; the next reset erases it. Raises UsageError when ``name`` is not the top."""
        kept = [module for module in self._modules if module.state is not State.POPPED]
        if not kept or kept[-1].name != name:
            top = f"the top is {kept[-1].name!r}" if kept else "the stack is empty"
            raise UsageError(f"{name!r} cannot be popped: {top}", hint="only the top module can be")
        self._write([replace(m, state=State.POPPED) if m.name == name else m for m in self._modules])

    def reset(self, machine: Machine | None = None) -> list[Module]:
        """What happens at a reset: popped modules are erased, pushed ones are ready. Returns those that can be used.

        With ``machine`` it is reset too and has them mounted. Raises BenchFault when a module's bytes have changed.
        """
        if any(module.state is not State.READY for module in self._modules):
            for module in self._modules:
                if module.state is State.POPPED:
                    self._region.erase(module.offset, module.end - module.offset)
            kept = [replace(m, state=State.READY) for m in self._modules if m.state is not State.POPPED]
            self._write(kept)
        for module in self._modules:
            checksum = zlib.crc32(self._region.read(module.offset, module.size))
            if checksum != module.checksum:
                raise BenchFault(
                    f"module {module.name!r} in flash has changed: checksum 0x{checksum:08x}, "
                    f"pushed with 0x{module.checksum:08x}",
                    hint="something else wrote to the region; pop the module, reset, and push it again",
                )
        if machine is not None:
            machine.put("/boot.py", self._boot_script())
            machine.map_romfs(build_romfs({"flash": self._region.read(0, self._region.size)}))
        return self.modules

    def _boot_script(self) -> bytes:
        """Mounts each module where it lies: what a port's C code would do before ``boot.py``.

        The file is the whole region, and its memoryview has the mapped address (``extmod/vfs_rom.c``), as the
        one that ``vfs.rom_ioctl(2, segment)`` gives on a board.
        """
        places = {module.name: (module.offset, module.offset + module.size) for module in self._modules}
        return f"""def _stack():
    import sys, vfs
    flash = memoryview(open("/rom/flash", "rb"))
    places = {places!r}
    for name in places:
        start, end = places[name]
        vfs.mount(vfs.VfsRom(flash[start:end]), "/" + name + ".rom")
        sys.path.append("/" + name + ".rom")
_stack()
del _stack
""".encode()

    def _write(self, modules: list[Module]) -> None:
        self._table.update(
            b"".join(_ENTRY.pack(m.name.encode(), m.state, m.offset, m.size, m.checksum) for m in modules)
        )
        self._modules = modules


def _unpack(table: bytes, region_size: int) -> list[Module]:
    modules: list[Module] = []
    try:
        for name, state, offset, size, checksum in _ENTRY.iter_unpack(table):
            modules.append(Module(name.rstrip(b"\0").decode(), State(state), offset, size, checksum))
        places = [TABLE_SECTORS * SECTOR, *(module.end for module in modules)]
        if [module.offset for module in modules] != places[:-1] or places[-1] > region_size:
            raise ValueError("the modules do not lie one after the other in the region")
    except (struct.error, ValueError) as problem:
        raise BenchFault(
            f"the flash region holds a table that is not one of modules: {problem}",
            hint="something else uses the region; erase its first sectors",
        ) from None
    return modules
