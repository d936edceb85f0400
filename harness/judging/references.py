"""Which reference VM stands beside a board, made to its measure."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, Self

from harness.chips import CHIPS, Port
from harness.errors import ProgramFailed, Refused
from harness.extensions import resolve
from harness.judging.chosen_reference import Chosen, choose
from harness.judging.ready_board import ReadyBoard
from harness.reference.circuitpython_reference import CircuitPythonReference
from harness.reference.guest_rom import OWN_CODE
from harness.reference.nodemcu.lua_reference import LuaReference
from harness.reference.vm import ReferenceVm
from harness.runtimes.circuitpython.circuitpython_board import CODE_FILE, MAKE_FOLDER
from harness.runtimes.interface import ChipRuntime, Runtime
from harness.runtimes.program import ask
from harness.runtimes.traits import traits_of

_TOTAL = "import gc\nprint(gc.mem_alloc()+gc.mem_free())"
#: MicroPython's heap tables take 524/512 of the pool, in bits a block (``py/gc.c``, with finaliser table).
_TABLE_BITS = 524
_LARGEST_REFERENCE_HEAP = 4 * 1024 * 1024
#: The reference's own port stands on its heap, and programs are compiled there in one piece.
_SMALLEST_REFERENCE_HEAP = 32 * 1024


class Reference(ChipRuntime, Protocol):
    """A runtime on the host that lives as long as the board's session."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


#: Makes the reference for a board that answers; ``progress`` hears of what takes time.
ReferenceMaker = Callable[[ReadyBoard, Callable[[str], None]], Reference]


def reference_for(attached: ReadyBoard, progress: Callable[[str], None]) -> Reference:
    """The reference VM for a board that answers, as its runtime's traits have it."""
    maker: ReferenceMaker = resolve(traits_of(attached.board.runtime).reference)
    return maker(attached, progress)


def micropython_reference(attached: ReadyBoard, progress: Callable[[str], None]) -> ReferenceVm:
    """A reference VM with the board's chip, as far as it is known, a heap of its size and the same ROMFS image.

    The ``boot.py`` of a VM that the harness built runs on it, too: what a start file interns shifts later heap figures.
    That of another one does not: it may use hardware.
    """
    romfs = attached.romfs
    port = CHIPS[attached.board.chip].port
    files_at = _files_at(attached.abilities.base, port)
    boot = None
    if attached.our_build:
        with suppress(Refused):  # there is none: it is set aside, or somebody took it away
            boot = attached.runtime.get(f"{files_at.rstrip('/')}/boot.py")
    chip = attached.board.chip
    own_code = OWN_CODE if port is not None and not attached.our_build else 0
    raw = _raw_heap(attached.facts.heap_total + own_code)
    if CHIPS[chip].port is None and attached.abilities.timer is not None:
        chip = "esp32"  # so that programs with timers find some; nothing is compared with what its port promises
    version = "" if attached.our_build else attached.facts.version  # what the harness built has the newest port
    chosen = (
        Chosen(why="the board is a virtual one")
        if attached.our_build
        else choose(attached.board, attached.facts, progress)
    )
    vm = ReferenceVm(
        heap_size=raw,
        module=chosen.module,
        romfs=romfs,
        boot=boot,
        chip=chip,
        version=version,
        files_at=files_at if port is not None else "",
        progress=progress,
    )
    vm.build, vm.own_tree = f"{chosen.label} ({chosen.why})", chosen.own
    if CHIPS[chip].port is not None:
        for a, b in attached.board.wiring.loopback:
            vm.wire(a, b)
        if attached.board.wiring.uart is not None:
            vm.wire_uart(attached.board.wiring.uart)
        if chip == "esp8266" and not attached.board.wiring.gpio16_rst:
            vm.unwire(16, "RST")
    return vm


def _files_at(base: str, port: Port | None) -> str:
    """Where the reference mounts its files, so that a path of the board leads to them: ``base`` is where the board's
    can be written, empty when nowhere. A port that has nothing at ``/`` has them in a folder of it."""
    if port is None or port.manners is None or port.manners.files_at == "/":
        return "/"
    return "/" + base.strip("/").partition("/")[0] if base else port.manners.files_at


def nodemcu_reference(attached: ReadyBoard, _progress: Callable[[str], None]) -> LuaReference:
    """NodeMCU's Lua side with an LFS region of the board's size and its wires."""
    lfs = int(attached.facts.extra.get("lfs", "0"))
    reference = LuaReference(lfs_size=lfs if lfs % 0x2000 == 0 else 0)
    for a, b in attached.board.wiring.loopback:
        reference.wire(a, b)
    if not attached.board.wiring.gpio16_rst:
        reference.unwire(16, "RST")
    return reference


#: The heap's tables step by so many bytes of the heap. A region is larger by less than a step, and its tables.
_HEAP_STEP = 64
#: So many slashes before a name are more than what is left of any region.
_LONG_NAME = 100


def _less_room(board: Runtime, trial: Runtime) -> int:
    """By how many bytes the board's region is smaller than that of ``trial``, the largest that leads to the same heap.

    The heap takes whole steps, and the supervisor's own allocations have what is over: where they first cost the heap
    a step tells how much that is.
    """
    ours, theirs = _room_beside_the_heap(board), _room_beside_the_heap(trial)
    return _HEAP_STEP if ours is None or theirs is None else -(-(theirs - ours) // 4) * 4


def _room_beside_the_heap(runtime: Runtime) -> int | None:
    """The longest name of a next code file that takes nothing from the heap, in bytes; None where none ever does.

    A name has to be a file's: it is made as long as needed by slashes before it, which change nothing.
    """

    def heap_with(slashes: int | None) -> int:
        name = None if slashes is None else "/" * slashes + CODE_FILE
        runtime.run(f"import supervisor\nsupervisor.set_next_code_file({name!r})")
        runtime.soft_reset()
        said = re.findall(rb"^(\d{1,9})\r?$", runtime.run(_TOTAL).stdout, re.MULTILINE)
        return int(said[-1]) if said else 0

    try:
        runtime.run(MAKE_FOLDER)
        runtime.put(CODE_FILE, b"")
    except Refused:
        return None
    whole = heap_with(None)
    try:
        fits, takes = -1, _LONG_NAME
        if heap_with(takes) >= whole:
            return None
        while takes - fits > 1:
            middle = (fits + takes) // 2
            fits, takes = (middle, takes) if heap_with(middle) >= whole else (fits, middle)
        return fits
    finally:
        heap_with(None)


def _raw_heap(total: int) -> int:
    """The raw heap in bytes, tables included, in which a program finds ``total``."""
    table = min(max(total, _SMALLEST_REFERENCE_HEAP), _LARGEST_REFERENCE_HEAP) // 64
    return -(-table * _TABLE_BITS // 8) + 1


def circuitpython_reference(attached: ReadyBoard, progress: Callable[[str], None]) -> CircuitPythonReference:
    """A supervised reference VM with the board's chip, as far as it is known (an ESP32 otherwise), and its memory."""
    chip = CHIPS[attached.board.chip if CHIPS[attached.board.chip].port is not None else "esp32"]
    try:
        said = ask(attached.runtime, "len(alarm.sleep_memory)", first="import alarm")
    except ProgramFailed:  # a build without
        said = ""
    size = int(said) if said.isdigit() and len(said) < 6 else 0

    def with_region(region: int) -> CircuitPythonReference:
        return CircuitPythonReference(
            region_size=region, sleep_memory=min(size, 65536), chip=chip.name, progress=progress
        )

    if attached.our_build and chip.virtual is not None:
        reference = with_region(chip.virtual.circuitpython_region)
    else:
        least = (_raw_heap(attached.facts.heap_total) + 3) & ~3
        with with_region(least + _HEAP_STEP) as trial:
            reference = with_region(max(least, least + _HEAP_STEP - _less_room(attached.runtime, trial)))
    assert reference.vm.board.pins is not None
    for a, b in attached.board.wiring.loopback:
        reference.vm.board.pins.wire(a, b)
    return reference
