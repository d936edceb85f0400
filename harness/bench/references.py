"""Which reference VM stands beside a board, made to its measure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, Self

from harness.bench.attach import AttachedBoard
from harness.reference.chips import CHIPS
from harness.reference.lua import LuaReference
from harness.reference.vm import ReferenceVm
from harness.runtimes.base import ChipRuntime

#: MicroPython's heap tables take 524/512 of the pool, in bits a block (``py/gc.c``, with finaliser table).
_TABLE_BITS = 524
_LARGEST_REFERENCE_HEAP = 4 * 1024 * 1024
#: The reference's own port stands on its heap, and programs are compiled there in one piece.
_SMALLEST_REFERENCE_HEAP = 32 * 1024


class Reference(ChipRuntime, Protocol):
    """A runtime on the host that lives as long as the board's session."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


def reference_for(attached: AttachedBoard, progress: Callable[[str], None]) -> Reference:
    """The reference VM for a board that answers: one entry for each ``runtime`` of boards.yaml."""
    if attached.board.runtime == "nodemcu":
        return _nodemcu(attached)
    return _micropython(attached, progress)


def _micropython(attached: AttachedBoard, progress: Callable[[str], None]) -> ReferenceVm:
    """A reference VM with the board's chip, as far as it is known, a heap of its size and the same ROMFS image.

    A virtual board's ``boot.py`` runs on it, too: what a start file interns shifts later heap figures. A real
    board's does not: it may use hardware.
    """
    facts, romfs = attached.facts, attached.romfs
    boot = attached.runtime.get("/boot.py") if attached.board.virtual else None
    table = min(max(facts.heap_total, _SMALLEST_REFERENCE_HEAP), _LARGEST_REFERENCE_HEAP) // 64
    raw = -(-table * _TABLE_BITS // 8) + 1
    chip = attached.board.chip if attached.board.chip in CHIPS else None
    vm = ReferenceVm(heap_size=raw, romfs=romfs, boot=boot, chip=chip, progress=progress)
    if chip is not None:
        for a, b in attached.board.wiring.loopback:
            vm.wire(a, b)
        if chip == "esp8266" and not attached.board.wiring.gpio16_rst:
            vm.unwire(16, "RST")
    return vm


def _nodemcu(attached: AttachedBoard) -> LuaReference:
    """NodeMCU's Lua side with an LFS region of the board's size and its wires."""
    lfs = int(attached.facts.extra.get("lfs", "0"))
    reference = LuaReference(lfs_size=lfs if lfs % 0x2000 == 0 else 0)
    for a, b in attached.board.wiring.loopback:
        reference.wire(a, b)
    if not attached.board.wiring.gpio16_rst:
        reference.unwire(16, "RST")
    return reference
