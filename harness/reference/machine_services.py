"""The host's half of the guest's ``machine`` module: what a service does when the guest asks for it.

The guest writes a service's number and up to three small integers into a page of registers and reads the
clock; :meth:`Services.ring` is called there. Nothing is allocated in the guest, so a handler that may not
allocate can still read a pin. Errors and their texts are those of MicroPython's ports.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from harness.chips import Port, Reset
from harness.errors import UsageError
from harness.reference.chip_board import Board, ChipReset
from harness.reference.engine.engine_vm import Vm
from harness.reference.engine.tree_vm import HardCall, TreeVm
from harness.reference.guest_rom import BACKUP, NOTHING, REGISTERS, TEXT, TEXT_SIZE, Service
from harness.reference.interrupts import Interrupts
from harness.reference.pins import OPEN_DRAIN, OUT, Pin
from harness.reference.timeline import Moment
from harness.reference.uarts import Uarts

_MS = 1_000_000
#: Shortest period of a timer: ESP-IDF's timers count microseconds.
_SHORTEST_NS = 1000
#: What this build's ``sleep_ms`` waits at a time (``MICROPY_INTERNAL_WFE`` of the unix port), in nanoseconds.
_SLICE_NS = 500_000
_FOREVER = 0x3FFFFFFF
_EPOCH = datetime(2000, 1, 1)
#: Numbers by which the guest knows the kinds of error.
_VALUE_ERROR, _OS_ERROR, _TYPE_ERROR, _NOT_IMPLEMENTED = range(4)


#: Does what a service is for, with the guest's three small integers.
Handler = Callable[[int, int, int], "int | None"]


class _Refused(Exception):
    """The service refuses; the guest raises the error of that kind with that text."""

    def __init__(self, text: str, kind: int = _VALUE_ERROR) -> None:
        super().__init__(text)
        self.kind = kind


@dataclass
class _Timer:
    slot: int
    period_ns: int
    one_shot: bool
    hard: bool
    started_ns: int
    moment: Moment | None = None


class Services:
    """The peripherals of a chip during one life of the VM."""

    def __init__(self, board: Board, chip: Port, vm: Vm | TreeVm, interrupts: Interrupts) -> None:
        self._board = board
        self._chip = chip
        self._vm = vm
        self._interrupts = interrupts
        assert board.pins is not None
        self._pins = board.pins
        self._page = 0
        self._handlers = 0
        self._none = 0
        self._timers: dict[int, _Timer] = {}
        # A seeded defect changes how events are delivered, so `_deliver` is looked up when one comes.
        self.uarts = Uarts(
            board, chip, lambda: vm.machine.memory, interrupts, lambda slot, hard, what: self._deliver(slot, hard, what)
        )
        self._watchdog: Moment | None = None
        self._watchdog_ns = 0
        self._masked = False
        self._held_back: list[Callable[[], None]] = []
        self._frequency = chip.clock_hz
        self._refusal = _Refused("")
        #: Until when the built-in ``sleep_ms`` goes on, on the guest's monotonic clock; None: it does not run.
        self.sleeps_until_ns: int | None = None
        self._services: dict[int, Handler] = {
            int(service): getattr(self, f"_{service.name.lower()}") for service in Service
        }

    @property
    def masked(self) -> bool:
        """Interrupts are held back, by ``machine.disable_irq()``."""
        return self._masked

    def wrap(self, service: Service, around: Callable[[Handler], Handler]) -> None:
        """Let something else be done when the guest asks for a service."""
        self._services[service] = around(self._services[service])

    def attach(self, argument: str) -> str:
        """The guest's ``_board`` module starts: it tells where its objects are, and hears where the page is."""
        words = [int(part) for part in argument.split()]
        slots, self._handlers, dispatcher = words[-3:]
        self._vm.replace_functions(words[:-3])
        memory = self._vm.machine.memory
        self._interrupts.attach(slots, dispatcher)
        self._none = memory.read_u32(memory.read_u32(slots + 12))
        self._page = memory.grow(65536)
        memory.write(self._page + BACKUP, self._board.backup)
        memory.write(self._page + REGISTERS, self._board.registers)
        self._board.on_edge = self._edge
        return str(self._page)

    def end(self) -> None:
        """The VM has ended: keep what outlives it, stop what does not."""
        if self._page:
            memory = self._vm.machine.memory
            self._board.backup = memory.read(self._page + BACKUP, len(self._board.backup))
            self._board.registers = memory.read(self._page + REGISTERS, len(self._board.registers))
        for timer in self._timers.values():
            self._board.timeline.cancel(timer.moment)
        self._board.timeline.cancel(self._watchdog)
        self._timers.clear()
        self.uarts.end()
        self._page = 0

    def ring(self) -> bool:
        """Do what the registers ask for; False when that is nothing."""
        if not self._page:
            return False
        memory = self._vm.machine.memory
        number, a, b, c = struct.unpack("<Iiii", memory.read(self._page, 16))
        if not number:
            return False
        memory.write_u32(self._page, 0)
        result, error = 0, 0
        try:
            result = self._services[number](a, b, c) or 0
        except _Refused as refusal:
            self._refusal = refusal
            error = 1
        except (LookupError, ValueError, OverflowError):
            pass  # a program wrote nonsense into the page
        memory.write(self._page + 16, struct.pack("<iI", result, error))
        if number == Service.ERROR_TEXT:
            memory.write_u32(self._page + 20, self._refusal.kind)
        return True

    def _put_text(self, data: bytes) -> int:
        self._vm.machine.memory.write(self._page + TEXT, data[:TEXT_SIZE])
        return min(len(data), TEXT_SIZE)

    def _take_text(self, size: int) -> str:
        size = max(0, min(size, TEXT_SIZE))
        return self._vm.machine.memory.read(self._page + TEXT, size).decode("utf-8", "replace")

    def _error_text(self, _a: int, _b: int, _c: int) -> int:
        return self._put_text(str(self._refusal).encode())

    # -- interrupts ------------------------------------------------------------------------------

    def _deliver(self, slot: int, hard: bool, what: str) -> None:
        if self._masked:
            self._held_back.append(lambda: self._deliver(slot, hard, what))
            return
        memory = self._vm.machine.memory
        items, count = memory.read_u32(self._handlers + 12), memory.read_u32(self._handlers + 8)
        entry = memory.read_u32(items + 4 * slot) if 0 <= slot < count else self._none
        if entry == self._none:
            return
        function, argument = struct.unpack("<II", memory.read(memory.read_u32(entry + 12), 8))
        if function == self._none:
            self._board.note(what)
        elif hard:
            self._interrupts.hard(
                slot, HardCall(function, argument, lambda raised: self._failed(slot, entry, raised)), what
            )
        else:
            self._interrupts.soft(function, argument, what)

    def _failed(self, slot: int, entry: int, exception: int) -> None:
        """A hard handler of a build from a source tree has ended; by an exception it is disabled."""
        if not exception:
            return
        memory = self._vm.machine.memory
        memory.write_u32(memory.read_u32(entry + 12), self._none)
        self._irq_off(slot, 0, 0)
        pin = next((pin for pin in self._pins if pin.slot == slot), None)
        line = "" if pin is None else f"ExtInt interrupt handler line {self._pins.key(pin.name) & 15}"
        assert isinstance(self._vm, TreeVm)
        self._vm.say(f"uncaught exception in {line or 'timer callback'}\r\n".encode())

    def _edge(self, pin: Pin) -> None:
        if pin.slot >= 0 and pin.fires_at(pin.level):
            pin.flags = pin.trigger
            self._deliver(pin.slot, pin.hard, f"pin {pin.name} interrupt")

    def _schedule(self, _a: int, _b: int, _c: int) -> int:
        return self._interrupts.soft(*self._interrupts.passed_objects())

    def _irq_off(self, slot: int, _b: int, _c: int) -> None:
        for pin in self._pins:
            if pin.slot == slot:
                pin.trigger = 0
        if slot in self._timers:
            self._timer_stop(slot, 0, 0)
        self.uarts.irq_off(slot)
        self._board.note("handler disabled after an uncaught exception")

    def _lock(self, masked: int, _b: int, _c: int) -> int:
        before, self._masked = self._masked, bool(masked)
        while not self._masked and self._held_back:
            self._held_back.pop(0)()
        return int(before)

    # -- sleep and reset -------------------------------------------------------------------------

    def end_of_wait(self, duration: int) -> tuple[int, bool]:
        """The VM waits for ``duration`` nanoseconds: until when by the board's clock, and whether callbacks end it.

        One slice of ``sleep_ms`` stands for all of them: whatever can be served at its next check ends the wait.
        """
        clock, until = self._board.clock, self.sleeps_until_ns
        if until is not None and duration == _SLICE_NS and not self._interrupts.locked:
            return clock.now_ns + until - clock.since_start_ns, True
        return clock.now_ns + duration, False

    def _sleep_hint(self, ms: int, _b: int, _c: int) -> None:
        # A callback's own sleep must not be cut short by what it cannot serve while it runs.
        if not self._interrupts.locked:
            self.sleeps_until_ns = self._board.clock.since_start_ns + ms * _MS

    def _sleep_end(self, _a: int, _b: int, _c: int) -> None:
        if not self._interrupts.locked:
            self.sleeps_until_ns = None

    def _idle(self, _a: int, _b: int, _c: int) -> None:
        # A real port returns at its next tick, which comes every millisecond.
        self._board.pass_time(self._board.clock.now_ns + _MS, lambda: True)

    def _wait(self, ms: int, flag: int, _c: int) -> None:
        if self._interrupts.callbacks_waiting or self._vm.machine.memory.read(flag, 1) != b"\0":
            return
        self._board.pass_time(None if ms < 0 else self._board.clock.now_ns + ms * _MS, lambda: True)

    def _wake_time(self, ms: int) -> int | None:
        if ms != _FOREVER:
            return self._board.clock.now_ns + max(0, ms) * _MS
        return self._board.alarm_ns if self._board.alarm_wakes else None

    def _light_sleep(self, ms: int, _b: int, _c: int) -> None:
        self._board.light_sleep(self._wake_time(ms))

    def _deep_sleep(self, ms: int, _b: int, _c: int) -> None:
        self._board.sources.at_ns = self._wake_time(ms)
        raise ChipReset(Reset.DEEP_SLEEP)

    def _reset(self, into_loader: int, _b: int, _c: int) -> None:
        self._board.into_loader = into_loader == 1
        raise ChipReset(Reset.MACHINE)

    def _reset_cause(self, _a: int, _b: int, _c: int) -> int:
        return self._chip.cause_of[self._board.cause]

    def _wake_reason(self, _a: int, _b: int, _c: int) -> int:
        return self._board.wake_reason

    def _wake_pins(self, _a: int, _b: int, _c: int) -> int:
        return self._put_text(" ".join(self._board.wake_pins).encode())

    def _wake_ext0(self, key: int, level: int, _c: int) -> None:
        self._board.sources.ext0 = None if key == NOTHING else (self._pins.by_key(key).name, level)

    def _wake_ext1(self, key: int, level: int, _c: int) -> None:
        if key == NOTHING:
            self._board.sources.ext1 = {}
        else:
            self._board.sources.ext1[self._pins.by_key(key).name] = level

    def _wdt(self, timeout_ms: int, _b: int, _c: int) -> None:
        if timeout_ms:
            self._watchdog_ns = timeout_ms * _MS
        if self._watchdog_ns:
            self._board.timeline.cancel(self._watchdog)
            due = self._board.clock.now_ns + self._watchdog_ns
            self._watchdog = self._board.timeline.at(due, self._bark)

    def _bark(self) -> None:
        raise ChipReset(Reset.WATCHDOG)

    # -- identity --------------------------------------------------------------------------------

    def _unique_id(self, _a: int, _b: int, _c: int) -> int:
        return self._put_text(self._chip.unique_id)

    def _freq(self, khz: int, _b: int, _c: int) -> int:
        manners = self._chip.manners
        if khz:
            hertz = khz * 1000
            if manners is not None and not manners.buses:
                hertz -= hertz % 1_000_000  # the ESP ports look at whole megahertz
            fixed = manners is not None and manners.frequency_fixed
            if fixed or hertz not in (*self._chip.frequencies, self._chip.clock_hz):
                text = manners.frequency_refused if manners is not None else "unsupported frequency"
                raise _Refused(text, _NOT_IMPLEMENTED if fixed else _VALUE_ERROR)
            self._frequency = hertz
        return self._frequency // 1000

    def _clocks(self, _a: int, _b: int, _c: int) -> int:
        buses = self._chip.manners.buses if self._chip.manners is not None else ()
        return self._put_text(" ".join(map(str, (self._chip.clock_hz, *buses))).encode())

    # -- pins ------------------------------------------------------------------------------------

    def _pin_key(self, size: int, is_text: int, is_number: int) -> int:
        name, by_name = self._take_text(size), bool(self._chip.pin_ports)
        if by_name and not is_text:
            kind = "int" if is_number else "object"
            raise _Refused(f"can't convert '{kind}' object to str implicitly", _TYPE_ERROR)
        try:
            return self._pins.guest_key(name, is_text=bool(is_text))
        except UsageError:
            raise _Refused(f"Pin({name}) doesn't exist" if by_name else "invalid pin") from None

    def _pin_repr(self, key: int, _b: int, _c: int) -> int:
        pin = self._pins.by_key(key)
        if not self._chip.pin_ports:
            return self._put_text(f"Pin({pin.name})".encode())
        mode = {OUT: "OUT", OPEN_DRAIN: "OPEN_DRAIN"}.get(pin.mode, "IN")
        pull = {1: ", pull=Pin.PULL_UP", 2: ", pull=Pin.PULL_DOWN"}.get(pin.pull, "")
        return self._put_text(f"Pin(Pin.cpu.{pin.name}, mode=Pin.{mode}{pull})".encode())

    def _pin_init(self, key: int, mode: int, rest: int) -> None:
        pin = self._pins.by_key(key)
        level, pull = rest & 15, (rest >> 4) - 2
        manners = self._chip.manners
        inputs_from = manners.input_only_from if manners is not None else 0
        if inputs_from and key >= inputs_from and mode in (OUT, OPEN_DRAIN):
            raise _Refused("pin can only be input")
        if self._chip.family == "esp8266" and key == 16 and pull > 0:
            raise _Refused("Pin(16) doesn't support pull")
        if level < 2:
            pin.output = level
        if pull >= 0:
            pin.pull = pull
        if mode >= 0:
            pin.mode = mode
        self._pins.changed(pin)

    def _pin_value(self, key: int, level: int, _c: int) -> int:
        pin = self._pins.by_key(key)
        if level == NOTHING:
            return pin.level
        pin.output = int(level != 0)
        if pin.mode in (OUT, OPEN_DRAIN):
            self._pins.changed(pin)
        return 2

    def _pin_irq(self, key: int, slot: int, mode: int) -> None:
        pin = self._pins.by_key(key)
        pin.slot, pin.trigger = slot, mode & 0xFF
        pin.hard, pin.wakes = bool(mode & 0x100), bool(mode & 0x200)
        if pin.wakes and pin.trigger in (4, 5):
            self._board.sources.ext0 = (pin.name, int(pin.trigger == 5))

    def _pin_trigger(self, key: int, trigger: int, _c: int) -> int:
        pin = self._pins.by_key(key)
        before = pin.trigger
        if trigger != NOTHING:
            pin.trigger = trigger & 0xFF
        return before

    def _pin_flags(self, key: int, _b: int, _c: int) -> int:
        pin = self._pins.by_key(key)
        flags, pin.flags = pin.flags, 0
        return flags

    # -- timers ----------------------------------------------------------------------------------

    def _timer_start(self, flags: int, ms: int, ns: int) -> None:
        now = self._board.clock.now_ns
        timer = _Timer(flags >> 2, max(_SHORTEST_NS, ms * _MS + ns), bool(flags & 1), bool(flags & 2), now)
        self._timers[timer.slot] = timer
        self._arm(timer, now)

    def _arm(self, timer: _Timer, from_ns: int) -> None:
        timer.started_ns = from_ns
        timer.moment = self._board.timeline.at(from_ns + timer.period_ns, lambda: self._fire(timer))

    def _fire(self, timer: _Timer) -> None:
        assert timer.moment is not None
        if timer.one_shot:
            del self._timers[timer.slot]
        else:
            self._arm(timer, timer.moment.at_ns)
        self._deliver(timer.slot, timer.hard, f"timer {timer.slot}")

    def _timer_stop(self, slot: int, _b: int, _c: int) -> None:
        timer = self._timers.pop(slot, None)
        if timer is not None:
            self._board.timeline.cancel(timer.moment)

    def _timer_value(self, slot: int, _b: int, _c: int) -> int:
        timer = self._timers.get(slot)
        return (self._board.clock.now_ns - timer.started_ns) // _MS if timer else 0

    # -- UARTs -----------------------------------------------------------------------------------

    def _uart_open(self, size: int, _b: int, _c: int) -> None:
        self.uarts.open(self._take_text(size))

    def _uart_close(self, number: int, _b: int, _c: int) -> None:
        self.uarts.close(number)

    def _uart_any(self, number: int, _b: int, _c: int) -> int:
        return self.uarts.any(number)

    def _uart_read(self, number: int, address: int, size: int) -> int:
        return self.uarts.read(number, address, size)

    def _uart_write(self, number: int, address: int, size: int) -> int:
        return self.uarts.write(number, address, size)

    def _uart_irq(self, number: int, slot: int, mode: int) -> None:
        self.uarts.irq(number, slot, mode)

    def _uart_flags(self, number: int, trigger: int, _c: int) -> int:
        return self.uarts.flags(number, trigger)

    # -- real-time clock -------------------------------------------------------------------------

    def _get_datetime(self, _a: int, _b: int, _c: int) -> int:
        seconds, ns = divmod(self._board.rtc_ns, 1_000_000_000)
        at = _EPOCH + timedelta(seconds=seconds)
        stm32 = self._chip.family == "stm32"  # its days of the week begin with 1
        fraction = ns * self._chip.rtc_fraction // 1_000_000_000
        if self._chip.rtc_counts_down:
            fraction = self._chip.rtc_fraction - 1 - fraction
        fields = (at.year, at.month, at.day, at.weekday() + stm32, at.hour, at.minute, at.second, fraction)
        return self._put_text(" ".join(map(str, fields)).encode())

    def _set_datetime(self, size: int, _b: int, _c: int) -> None:
        try:
            fields = [int(part) for part in self._take_text(size).split()]
            year, month, day, _weekday, hour, minute, second = fields[:7]
            when = datetime(year, month, day, hour, minute, second)
        except ValueError:
            raise _Refused("invalid date or time") from None
        whole = when - _EPOCH
        self._board.set_rtc((whole.days * 86400 + whole.seconds) * 1_000_000_000)

    def _rtc_length(self, size: int, _b: int, _c: int) -> int:
        if size != NOTHING:
            if size > self._chip.rtc_memory:
                raise _Refused("buffer too long")
            self._board.rtc_length = size
        return self._board.rtc_length

    def _rtc_alarm(self, ms: int, _b: int, _c: int) -> None:
        self._board.alarm_ns = self._board.clock.now_ns + ms * _MS if ms > 0 else None
        if self._chip.family == "stm32":  # RTC().wakeup wakes without more ado
            self._board.alarm_wakes = self._board.alarm_ns is not None

    def _rtc_left(self, _a: int, _b: int, _c: int) -> int:
        due = self._board.alarm_ns
        return max(0, due - self._board.clock.now_ns) // _MS if due is not None else 0

    def _rtc_wake(self, wakes: int, _b: int, _c: int) -> None:
        self._board.alarm_wakes = bool(wakes)
