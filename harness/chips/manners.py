"""What MicroPython's port does beyond the ``machine`` module, on the port's own board for a chip.

Where it mounts its filesystem and what a new one holds, what it calls itself, what an open file takes of the heap,
which pins it knows by which names. :mod:`harness.chips.port_facts` tells the source of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Numbers of native code in ``.mpy`` files (MicroPython ``py/persistentcode.h``).
ARMV6M, ARMV7EM_SINGLE, ARMV7EM_DOUBLE, XTENSA, XTENSAWIN, RV32IMC = 4, 7, 8, 9, 10, 11
_MPY_VERSION, _MPY_SUB_VERSION = 6, 3

#: An open file in the collector's blocks of 16 bytes, in bytes: ``mp_obj_vfs_lfs2_file_t`` with a cache of four times
#: 32 bytes (252 bytes), and ``pyb_file_obj_t`` with no sector of its own (44 bytes).
LITTLEFS_FILE, FAT_FILE = 256, 48


@dataclass(frozen=True, eq=False)
class PinNumbers:
    """The numbers of ``machine.Pin``'s constants; ``pull_down`` None: there is no such name."""

    into: int
    out: int
    open_drain: int
    pull_up: int
    pull_down: int | None


@dataclass(frozen=True, eq=False)
class Manners:
    """``first_files`` are what the first start writes to an empty flash, in this order; it says ``first_words``."""

    platform: str
    """``sys.platform``, and what ``os.uname()`` calls system and node."""
    build: str
    """``sys.implementation._build``."""
    arch: int
    """The native code that ``sys.implementation._mpy`` names."""
    files_at: str
    """Where the filesystem is mounted; also the working directory after the start."""
    path: tuple[str, ...]
    """What ``sys.path`` has after ``''``, ``'.frozen'`` and what ROMFS adds."""
    filesystem: str
    open_file: int
    """Heap of one open file in bytes."""
    first_files: tuple[tuple[str, bytes], ...]
    pin_numbers: PinNumbers
    first_words: bytes = b""
    thread: str = ""
    """``sys.implementation._thread``; empty: there is none."""
    release: str = ""
    """``os.uname().release``; empty: MicroPython's version."""
    buses: tuple[int, ...] = ()
    """What ``machine.freq()`` tells of the bus clocks beside the CPU's, in Hz; empty: it tells one number."""
    frequency_refused: str = "unsupported frequency"
    """Text of the error for a frequency that the port refuses."""
    frequency_fixed: bool = False
    """No frequency can be set: the error is NotImplementedError."""
    no_pins: frozenset[int] = frozenset()
    """Numbers within the range that are no pins."""
    input_only_from: int = 0
    """Pins from this number on refuse to be outputs; 0: none do."""
    board_pins: Mapping[str, str] | None = None
    """The board's names for the chip's pins, which come before the chip's own; None: nobody has written them down."""
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def mpy(self) -> int:
        """``sys.implementation._mpy``."""
        return _MPY_VERSION | (_MPY_SUB_VERSION | self.arch << 2) << 8
