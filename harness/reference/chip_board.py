"""What stands round the reference VM and outlives it: clock, pins, wires, RTC domain, reset causes, trace.

A life of the VM ends with a reset of some kind; :meth:`Board.restart` does to the board what that kind of
reset does, as the chip's port (:mod:`harness.chips`) says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.chips import Port, Reset
from harness.errors import FirmwareFailure
from harness.reference.pins import RESET_PIN, Pin, PinName, Pins
from harness.reference.timeline import Clock, Timeline
from harness.reference.trace import Trace

#: ``machine.wake_reason()`` on the ESP32 (``esp_sleep_wakeup_cause_t`` of ESP-IDF).
WAKE_NONE, WAKE_EXT0, WAKE_EXT1, WAKE_TIMER = 0, 2, 3, 4


class ChipReset(Exception):
    """The chip is reset now, or falls into deep sleep, which ends in one."""

    def __init__(self, cause: Reset) -> None:
        super().__init__(cause.value)
        self.cause = cause


@dataclass
class WakeSources:
    """What ends a sleep: a moment, levels of pins (EXT0, EXT1), or a change that a pin's interrupt asks for."""

    at_ns: int | None = None
    ext0: tuple[str, int] | None = None
    ext1: dict[str, int] = field(default_factory=dict)


class Board:
    """The board of one VM. ``chip`` None: only clock and trace."""

    def __init__(self, chip: Port | None, clock: Clock | None = None) -> None:
        self.chip = chip
        self.clock = clock or Clock()
        self.timeline = Timeline()
        self.trace = Trace()
        self.pins = Pins(chip, self._edge) if chip else None
        #: Numbers of UARTs whose TX is wired to their own RX, by pins that the program does not name.
        self.uart_loops: set[int] = set()
        self.cause = Reset.POWER_ON
        self.wake_reason = WAKE_NONE
        self.wake_pins: list[str] = []
        self.sources = WakeSources()
        #: In deep sleep: no VM runs until :meth:`sleep_through` or a reset.
        self.asleep = False
        #: ``machine.bootloader()``: the reset that comes leads there. The reference has none, and starts again.
        self.into_loader = False
        self._woken = False
        self._light = False
        #: What the running VM wants to hear about a pin's change.
        self.on_edge: Callable[[Pin], None] | None = None
        #: Called while time passes; may raise to end the wait, and with it the VM.
        self.check: Callable[[], None] = lambda: None
        self.backup = b""
        self.registers = b""
        self.rtc_length = 0
        self.alarm_ns: int | None = None
        self.alarm_wakes = False
        self._rtc_zero_ns = 0
        self._lose_rtc()

    def note(self, what: str) -> None:
        self.trace.add(self.clock.cost, self.clock.now_ns, what)

    # -- reset -----------------------------------------------------------------------------------

    def restart(self, cause: Reset) -> None:
        """The board as a VM that starts after ``cause`` finds it."""
        self.clock.stop()
        if self.chip and cause in self.chip.lost_at:
            self._lose_rtc()
        elif self.chip and cause in self.chip.memory_lost_at:
            self._lose_memory()
        if cause not in (Reset.DEEP_SLEEP, Reset.SOFT):
            self.wake_reason, self.wake_pins = WAKE_NONE, []
        self.asleep = False
        self.on_edge, self.check = None, lambda: None
        self.cause = cause
        self.sources = WakeSources()
        if cause is not Reset.SOFT:
            self.alarm_ns, self.alarm_wakes = None, False
        self.note(f"start after {cause.value}")
        if self.pins is not None:
            self.pins.reset(soft=cause is Reset.SOFT)

    def _lose_memory(self) -> None:
        if self.chip:
            self.backup = bytes(max(self.chip.rtc_memory, self.chip.backup_memory))
            self.registers = bytes(4 * self.chip.backup_registers)
        self.rtc_length = 0

    def _lose_rtc(self) -> None:
        self._lose_memory()
        self._rtc_zero_ns = self.clock.now_ns

    # -- real-time clock -------------------------------------------------------------------------

    @property
    def rtc_ns(self) -> int:
        """Nanoseconds since 2000-01-01 00:00:00 by the real-time clock; there it starts when it lost power."""
        return self.clock.now_ns - self._rtc_zero_ns

    def set_rtc(self, since_2000_ns: int) -> None:
        self._rtc_zero_ns = self.clock.now_ns - since_2000_ns

    # -- pins ------------------------------------------------------------------------------------

    def drive(self, name: PinName, level: int | None) -> None:
        assert self.pins is not None
        self.pins.drive(name, level)

    def _edge(self, pin: Pin) -> None:
        self.note(f"pin {pin.name} {'high' if pin.level else 'low'}")
        if pin.name == RESET_PIN and not pin.level:
            raise ChipReset(Reset.PIN)
        if self.asleep or self._light:
            self._look_for_wake()
        if self._light and pin.fires_at(pin.level) and (pin.wakes or self._family == "stm32"):
            self._wake(WAKE_NONE)
        if self.on_edge is not None:
            self.on_edge(pin)

    @property
    def _family(self) -> str:
        return self.chip.family if self.chip else ""

    def _look_for_wake(self) -> None:
        assert self.pins is not None
        ext0, ext1 = self.sources.ext0, self.sources.ext1
        if ext0 and self.pins.by_name(ext0[0]).level == ext0[1]:
            self._wake(WAKE_EXT0)
        if ext1:
            # ESP-IDF ext1: any of the pins high, or all of them low.
            wanted = next(iter(ext1.values()))
            hit = [name for name in ext1 if self.pins.by_name(name).level == wanted]
            if hit if wanted else len(hit) == len(ext1):
                self._wake(WAKE_EXT1, hit)

    def _wake(self, reason: int, pins: list[str] | None = None) -> None:
        if not self._woken:
            self._woken = True
            self.wake_reason, self.wake_pins = reason, pins or []

    # -- the passing of time ---------------------------------------------------------------------

    def pass_time(self, until_ns: int | None, stop: Callable[[], bool]) -> None:
        """Let time pass until ``until_ns`` (None: for ever), or until ``stop`` says so after something happened.

        Raises FirmwareFailure when it would be for ever: nothing is left that could happen.
        """
        while True:
            self.check()
            due = self.timeline.next_due
            if due is None or (until_ns is not None and due > until_ns):
                if until_ns is None:
                    raise FirmwareFailure(
                        "the program waits for ever: no timer is running, and nothing will change a pin",
                        hint="let the host change a pin while it waits: vm.drive(pin, level, after_us=...)",
                    )
                self.clock.pass_until(until_ns)
                return
            self.clock.pass_until(due)
            self.timeline.run_due(self.clock.now_ns)
            if stop():
                return

    def light_sleep(self, until_ns: int | None) -> None:
        """``machine.lightsleep``: the clock runs on, and so do timers, but only a wake source ends it."""
        self._light, self._woken = True, False
        self.note("light sleep")
        try:
            self._look_for_wake()
            if not self._woken:
                self.pass_time(until_ns, lambda: self._woken)
            if not self._woken:
                self._wake(WAKE_TIMER)
        finally:
            self._light = False
        self.note("awake")

    def fall_asleep(self) -> None:
        """Deep sleep begins: the VM is gone, its pins let go; the wake sources stay."""
        self.clock.stop()
        self.on_edge, self.check = None, lambda: None
        self.asleep, self._woken = True, False
        self.note("deep sleep")
        if self.pins is not None:
            self.pins.reset()
            self._look_for_wake()

    def sleep_through(self) -> None:
        """Let time pass until the deep sleep ends. Raises FirmwareFailure when nothing will ever end it."""
        if not self._woken:
            at = self.sources.at_ns
            if self.chip and not all(self.pins is None or self.pins.wired(a, b) for a, b in self.chip.wires):
                at = None  # the timer's pulse does not reach the reset input
            try:
                self.pass_time(at, lambda: self._woken)
            except FirmwareFailure:
                raise FirmwareFailure(
                    "the chip is in deep sleep and nothing will wake it",
                    hint="vm.drive() a pin that wakes it, vm.hard_reset() or vm.power_cycle()",
                ) from None
            if not self._woken:
                self._wake(WAKE_TIMER)
        self.restart(Reset.DEEP_SLEEP)
