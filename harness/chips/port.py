"""What MicroPython's port for a chip promises: names, numbers, sizes, and since which version.

The fields say what the newest known version has (``NEWEST``); :class:`Since` entries say what it was before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from enum import Enum

from harness.chips.manners import Manners
from harness.errors import Unsuitable

#: The version of MicroPython that the records were last compared with: master of 19 Aug 2026, commit 1c3c201149.
NEWEST = "1.29.0"


class Reset(Enum):
    """Why a chip starts. The value is how a trace names it."""

    POWER_ON = "power on"
    PIN = "reset pin"
    USB = "reset by USB"
    MACHINE = "machine.reset()"
    WATCHDOG = "watchdog"
    BROWN_OUT = "brown-out"
    DEEP_SLEEP = "deep sleep"
    SOFT = "soft reset"


@dataclass(frozen=True)
class Since:
    """From ``version`` on ``field`` is what the record says; older firmware has ``before``."""

    version: str
    field: str
    before: object
    source: str


@dataclass(frozen=True, eq=False)
class Port:
    """One chip with MicroPython's port for it.

    ``constants`` are names of the ``machine`` module; ``cause_of`` gives the number that
    ``machine.reset_cause()`` returns after each kind of reset. Sizes are in bytes, frequencies in Hz.
    """

    name: str
    family: str
    since: str
    """First release of MicroPython that has the chip."""
    constants: Mapping[str, int]
    cause_of: Mapping[Reset, int]
    queue_depth: int
    """Capacity of the scheduler's queue (``MICROPY_SCHEDULER_DEPTH``)."""
    rtc_memory: int
    """What ``RTC().memory()`` holds; 0: the port has no such method."""
    backup_memory: int = 0
    """Size of ``machine.mem_backup(0)`` as bytes; 0: the port does not offer bytes."""
    backup_registers: int = 0
    """How many 32-bit backup registers the chip has."""
    backup_registers_at: int = 0
    """The address of the first."""
    backup_block: str = "RTC"
    """The peripheral of the ``stm`` module that they belong to: RTC or TAMP."""
    lost_at: frozenset[Reset] = frozenset({Reset.POWER_ON})
    """Resets at which RTC memory and the real-time clock are lost. No backup battery is modelled."""
    memory_lost_at: frozenset[Reset] = frozenset()
    """Resets at which RTC memory is lost and the clock is not."""
    wakes_by: tuple[str, ...] = ()
    """What ends a deep sleep, by the names of ``esp32.wake_on_…`` (timer, ext0, ext1, gpio, touch, ulp) or in words."""
    wake_pin: int | None = None
    """A pin that can end a deep sleep by EXT0."""
    hard_pin_irq: bool = False
    hard_timer: bool = False
    hard_refused: str = ""
    """Text of the ValueError for ``Timer(hard=True)``; empty where it is supported, or the word is not known."""
    hardware_timers: int = 0
    """Timers that ``machine.Timer`` takes by number, from 0."""
    virtual_timers: bool = True
    """Whether ``machine.Timer(-1)`` is a timer made in software."""
    one_shot: int = 0
    periodic: int = 1
    clock_hz: int = 0
    """What ``machine.freq()`` says after a reset, on the reference board of the port."""
    frequencies: tuple[int, ...] = ()
    """What ``machine.freq()`` takes; empty: the port computes what comes near."""
    unique_id: bytes = b""
    """An example; its length is the chip's."""
    pins: int = 0
    """Number of pins with plain numbers, or 0 when pins have names such as ``A0``."""
    pin_ports: str = ""
    """The letters of those names."""
    rtc_fraction: int = 1
    """Units of the last field of ``RTC().datetime()`` in one second."""
    rtc_counts_down: bool = False
    """Whether that field counts down."""
    uarts: tuple[int, ...] = ()
    """Numbers that ``machine.UART`` takes; empty: nobody has written it down."""
    pyb_timers: tuple[int, ...] = ()
    """Numbers that ``pyb.Timer`` takes."""
    manners: Manners | None = None
    """Where its files are, what it calls itself and the like; None: nobody has written it down."""
    soft_reset_text: bytes = b"MPY: soft reboot\r\n"
    """What the console shows when the VM restarts (``ports/*/main.c``)."""
    wires: tuple[tuple[str, str], ...] = ()
    """Wires that every board with the chip needs for its documented functions."""
    history: tuple[Since, ...] = ()
    not_known: Mapping[str, str] = field(default_factory=dict)
    """Facts that nobody promises, and why: a field's name, "kept_bytes", or a :class:`Reset`'s value for its cause."""
    sources: tuple[str, ...] = ()
    """Files of MicroPython (and of the chip's SDK) that say so."""

    def __post_init__(self) -> None:
        names = {part.name for part in fields(self)}
        for entry in self.history:
            if entry.field not in names or not numbers_of(entry.version):
                raise ValueError(f"{self.name}: no fact {entry.field!r} changed with version {entry.version!r}")

    def at(self, version: str) -> Port:
        """The port as ``version`` has it; empty, or no version of MicroPython's kind: the newest.

        A preview of a version counts as that version.
        """
        numbers = numbers_of(version)
        if not numbers:
            return self
        before: dict[str, object] = {}
        for entry in sorted(self.history, key=lambda since: numbers_of(since.version), reverse=True):
            if numbers < numbers_of(entry.version):
                before[entry.field] = entry.before
        return replace(self, **before) if before else self  # type: ignore[arg-type]

    def known(self, what: str) -> None:
        """Raises :class:`Unsuitable` for one of :attr:`not_known`."""
        if what in self.not_known:
            raise Unsuitable(f"{what.replace('_', ' ')} of the {self.name} is not known: {self.not_known[what]}")

    def cause(self, reset: Reset) -> str:
        """The constant of ``machine`` that ``reset_cause()`` equals after ``reset``: "PWRON_RESET".

        Raises :class:`Unsuitable` where that is not known.
        """
        if reset not in self.cause_of or reset.value in self.not_known:
            why = self.not_known.get(reset.value, "the port has no cause for it")
            raise Unsuitable(f"the {self.name}'s reset cause after {reset.value} is not known: {why}")
        names = [name for name in self.constants if name.endswith("_RESET")]
        name = next((name for name in names if self.constants[name] == self.cause_of[reset]), "")
        if not name:
            raise Unsuitable(f"the {self.name}'s port has no name for its reset cause after {reset.value}")
        return name

    @property
    def kept_bytes(self) -> int:
        """How much a program can keep over a deep sleep: RTC memory, or the backup registers where there is none."""
        return 0 if "kept_bytes" in self.not_known else self.rtc_memory or 4 * self.backup_registers

    @property
    def kept_in(self) -> str:
        """Where that is: the piece of ``fixtures/agent/`` that gives a program its ``kept()``."""
        return "kept_in_rtc" if self.rtc_memory else "kept_in_registers"

    @property
    def timer(self) -> int:
        """A timer that ``machine.Timer`` accepts on this chip."""
        return 0 if self.hardware_timers else -1


def numbers_of(version: str) -> tuple[int, ...]:
    """1.9.4 as (1, 9, 4); empty for what is no version of MicroPython, such as a CircuitPython's."""
    match = re.match(r"v?(1)\.(\d{1,3})(?:\.(\d{1,3}))?(?!\d)", version)
    return tuple(int(part or 0) for part in match.groups()) if match else ()
