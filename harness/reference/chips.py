"""What differs from chip to chip in MicroPython's ``machine`` module: the one table of it.

Sources are MicroPython's ports: ``ports/esp32/modmachine.c``, ``machine_rtc.c``, ``machine_pin.c``,
``machine_timer.c``; ``ports/esp8266/modmachine.c``, ``machine_rtc.c``, ``machine_pin.c``;
``ports/stm32/modmachine.c``, ``rtc.c``, ``powerctrl.c``, ``timer.c``; ``extmod/machine_timer.c``; and each port's
``mpconfigport.h`` for ``MICROPY_SCHEDULER_DEPTH``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from harness.errors import UsageError


class Reset(Enum):
    """Why a chip starts. The value is how a trace names it."""

    POWER_ON = "power on"
    PIN = "reset pin"
    MACHINE = "machine.reset()"
    WATCHDOG = "watchdog"
    BROWN_OUT = "brown-out"
    DEEP_SLEEP = "deep sleep"
    SOFT = "soft reset"


@dataclass(frozen=True)
class Chip:
    """One chip with MicroPython's port for it.

    ``constants`` are names of the ``machine`` module; ``cause_of`` gives the number that
    ``machine.reset_cause()`` returns after each kind of reset. Sizes are in bytes, frequencies in Hz.
    """

    name: str
    family: str
    constants: dict[str, int]
    cause_of: dict[Reset, int]
    queue_depth: int
    """Capacity of the scheduler's queue (``MICROPY_SCHEDULER_DEPTH``)."""
    rtc_memory: int
    """What ``RTC().memory()`` holds; 0: the port has no such method."""
    backup_memory: int = 0
    """Size of ``machine.mem_backup(0)`` as bytes; 0: the port does not offer bytes."""
    backup_registers: int = 0
    """How many 32-bit backup registers stand at ``stm.RTC + stm.RTC_BKP0R``."""
    lost_at: frozenset[Reset] = frozenset({Reset.POWER_ON})
    """Resets at which RTC memory and the real-time clock are lost. No backup battery is modelled."""
    hard_pin_irq: bool = False
    hard_timer: bool = False
    hard_refused: str = ""
    """Text of the ValueError for ``Timer(hard=True)`` where it is not supported."""
    hardware_timers: int = 0
    one_shot: int = 0
    periodic: int = 1
    frequencies: tuple[int, ...] = ()
    """What ``machine.freq()`` takes; the first is the one after a reset."""
    unique_id: bytes = b""
    pins: int = 0
    """Number of pins with plain numbers, or 0 when pins have names such as ``A0``."""
    rtc_fraction: int = 1
    """Units of the last field of ``RTC().datetime()`` in one second."""
    pyb_timers: tuple[int, ...] = ()
    """Numbers that ``pyb.Timer`` takes."""
    soft_reset_text: bytes = b"MPY: soft reboot\r\n"
    """What the console shows when the VM restarts (``ports/*/main.c``)."""
    wires: tuple[tuple[str, str], ...] = field(default=())
    """Wires that every board with the chip needs for its documented functions."""

    @property
    def kept_bytes(self) -> int:
        """How much a program can keep over a deep sleep: RTC memory, or the backup registers where there is none."""
        return self.rtc_memory or 4 * self.backup_registers

    @property
    def kept_in(self) -> str:
        """Where that is: the piece of ``fixtures/agent/`` that gives a program its ``kept()``."""
        return "kept_in_rtc" if self.rtc_memory else "kept_in_registers"

    @property
    def timer(self) -> int:
        """A timer that ``machine.Timer`` accepts on this chip."""
        return 0 if self.hardware_timers else -1


_ESP32 = Chip(
    name="esp32",
    family="esp32",
    constants={
        "PWRON_RESET": 1,
        "HARD_RESET": 2,
        "WDT_RESET": 3,
        "DEEPSLEEP_RESET": 4,
        "SOFT_RESET": 5,
        "SLEEP": 2,
        "DEEPSLEEP": 4,
        "PIN_WAKE": 2,
        "EXT0_WAKE": 2,
        "EXT1_WAKE": 3,
        "TIMER_WAKE": 4,
        "TOUCHPAD_WAKE": 5,
        "ULP_WAKE": 6,
    },
    cause_of={
        Reset.POWER_ON: 1,
        Reset.PIN: 1,  # EN low powers the whole chip down
        Reset.MACHINE: 2,
        Reset.WATCHDOG: 3,
        Reset.BROWN_OUT: 1,
        Reset.DEEP_SLEEP: 4,
        Reset.SOFT: 5,
    },
    queue_depth=8,
    rtc_memory=2048,
    backup_memory=2048,
    lost_at=frozenset({Reset.POWER_ON, Reset.PIN, Reset.BROWN_OUT}),
    hard_refused="hard Timers are not implemented",
    hardware_timers=4,
    frequencies=(160_000_000, 20_000_000, 40_000_000, 80_000_000, 240_000_000),
    unique_id=bytes.fromhex("240ac4000001"),
    pins=40,
    rtc_fraction=1_000_000,
)

_ESP8266 = Chip(
    name="esp8266",
    family="esp8266",
    constants={
        "PWRON_RESET": 0,
        "WDT_RESET": 1,
        "SOFT_RESET": 4,
        "DEEPSLEEP_RESET": 5,
        "HARD_RESET": 6,
        "DEEPSLEEP": 4,
    },
    cause_of={
        Reset.POWER_ON: 0,
        Reset.PIN: 6,
        Reset.MACHINE: 4,
        Reset.WATCHDOG: 1,
        Reset.DEEP_SLEEP: 5,
        Reset.SOFT: 4,
    },
    queue_depth=4,
    rtc_memory=492,
    hard_timer=True,
    frequencies=(80_000_000, 160_000_000),
    unique_id=bytes.fromhex("00000001"),
    pins=17,
    rtc_fraction=1000,
    wires=(("16", "RST"),),
)

_STM32_CONSTANTS = {
    "SOFT_RESET": 0,
    "PWRON_RESET": 1,
    "HARD_RESET": 2,
    "WDT_RESET": 3,
    "DEEPSLEEP_RESET": 4,
}
_STM32_CAUSES = {
    Reset.POWER_ON: 1,
    Reset.PIN: 2,
    Reset.MACHINE: 2,  # a software reset pulls NRST low, and the pin flag is looked at
    Reset.WATCHDOG: 3,
    Reset.BROWN_OUT: 1,
    Reset.DEEP_SLEEP: 4,
    Reset.SOFT: 0,
}


def _stm32(name: str, hz: int, *, backup_memory: int, backup_registers: int, pyb_timers: tuple[int, ...]) -> Chip:
    return Chip(
        name=name,
        family="stm32",
        constants=_STM32_CONSTANTS,
        cause_of=_STM32_CAUSES,
        queue_depth=8,
        rtc_memory=0,
        backup_memory=backup_memory,
        backup_registers=backup_registers,
        hard_pin_irq=True,
        hard_timer=True,
        one_shot=1,
        periodic=2,
        frequencies=(hz,),
        unique_id=bytes.fromhex("260031000351323332353731"),
        rtc_fraction=256,
        pyb_timers=pyb_timers,
        soft_reset_text=b"MPY: sync filesystems\r\nMPY: soft reboot\r\n",
    )


CHIPS = {
    chip.name: chip
    for chip in (
        _ESP32,
        _ESP8266,
        _stm32("stm32f405", 168_000_000, backup_memory=4096, backup_registers=20, pyb_timers=tuple(range(1, 15))),
        _stm32("stm32l476", 80_000_000, backup_memory=0, backup_registers=32, pyb_timers=(*range(1, 9), 15, 16, 17)),
    )
}


def chip_named(name: str) -> Chip:
    """Raises UsageError for a chip that has no entry in the table."""
    try:
        return CHIPS[name]
    except KeyError:
        raise UsageError(
            f"the reference VM has no chip {name!r}; expected one of {', '.join(CHIPS)}",
        ) from None
