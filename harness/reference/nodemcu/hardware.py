"""NodeMCU's modules that stand on the chip: ``tmr``, ``gpio``, ``rtcmem``, ``uart``.

Sources: NodeMCU documentation of these modules; ``app/modules/tmr.c``, ``gpio.c``, ``rtcmem.c``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.reference.nodemcu.state import LuaFault
from harness.reference.pins import IN, OPEN_DRAIN, OUT, PULL_UP, Pin
from harness.reference.timeline import Moment

if TYPE_CHECKING:
    from harness.reference.nodemcu.nodemcu_machine import NodeMcu

#: NodeMCU's pin numbers (documentation of ``gpio``): index -> GPIO.
GPIO_OF = (16, 5, 4, 0, 2, 14, 12, 13, 15, 3, 1, 9, 10)
_SINGLE, _AUTO, _SEMI = 0, 1, 2
_LONGEST_MS = 0x68D7A3
_RTC_SLOTS = 128
_EDGES = {b"up": (1,), b"down": (0,), b"both": (0, 1), b"high": (1,), b"low": (0,)}


@dataclass
class _Timer:
    interval: int = 0  # ms
    mode: int | None = None  # None: not registered
    moment: Moment | None = None
    due_ns: int = 0


class Timers:
    """``tmr``: callbacks come between tasks, from the SDK's software timers; an automatic one keeps its own grid."""

    def __init__(self, machine: NodeMcu) -> None:
        self._machine = machine
        self._board = machine.board
        self._timers: list[_Timer] = []
        self._dog: Moment | None = None
        self.host: dict[str, Callable[..., Any]] = {
            "timer_new": self._new,
            "timer_register": self._register,
            "timer_start": self._start,
            "timer_stop": self._stop,
            "timer_unregister": self._unregister,
            "timer_interval": self._interval,
            "timer_state": self._state,
            "tmr_now": lambda: machine.uptime_ns // 1000 & 0x7FFFFFFF,
            "tmr_time": lambda: machine.uptime_ns // 1_000_000_000,
            "tmr_delay": self._delay,
            "tmr_wdclr": lambda *_: machine.feed(),
            "tmr_softwd": self._softwd,
        }

    def _new(self) -> int:
        self._timers.append(_Timer())
        return self._machine.references + len(self._timers) - 1

    def _of(self, reference: int) -> _Timer:
        return self._timers[reference - self._machine.references]

    def _register(self, reference: int, interval: int, mode: int) -> None:
        timer = self._of(reference)
        if not 1 <= int(interval) <= _LONGEST_MS:
            raise LuaFault("bad argument #2 to 'register' (invalid range)")
        if mode not in (_SINGLE, _AUTO, _SEMI):
            raise LuaFault("bad argument #3 to 'register' (Invalid mode)")
        self._halt(timer)
        timer.interval, timer.mode = int(interval), mode

    def _start(self, reference: int, again: bool = False) -> bool:
        timer = self._of(reference)
        if timer.mode is None or (timer.moment is not None and not again):
            return False
        self._halt(timer)
        self._arm(reference, timer, self._board.clock.now_ns)
        return True

    def _arm(self, reference: int, timer: _Timer, since_ns: int) -> None:
        timer.due_ns = since_ns + timer.interval * 1_000_000
        timer.moment = self._board.timeline.at(timer.due_ns, lambda: self._fire(reference, timer))

    def _fire(self, reference: int, timer: _Timer) -> None:
        timer.moment = None
        if timer.mode == _AUTO:
            self._arm(reference, timer, timer.due_ns)
        self._machine.timer_fired(reference)

    def before(self, reference: int) -> bool:
        """A callback is about to run; False when its timer was unregistered meanwhile."""
        timer = self._of(reference)
        if timer.mode is None:
            return False
        if timer.mode == _SINGLE:
            timer.mode = None
        return True

    def after(self, reference: int) -> bool:
        """The callback has returned; whether nothing holds its function any more."""
        return self._of(reference).mode is None

    def _halt(self, timer: _Timer) -> bool:
        running, timer.moment = timer.moment, None
        self._board.timeline.cancel(running)
        return running is not None

    def _stop(self, reference: int) -> bool:
        return self._halt(self._of(reference))

    def _unregister(self, reference: int) -> None:
        timer = self._of(reference)
        self._halt(timer)
        timer.mode = None

    def _interval(self, reference: int, interval: int) -> None:
        timer = self._of(reference)
        timer.interval = int(interval)
        if self._halt(timer):
            self._arm(reference, timer, self._board.clock.now_ns)

    def _state(self, reference: int) -> tuple[Any, ...]:
        timer = self._of(reference)
        return (None,) if timer.mode is None else (timer.moment is not None, timer.mode)

    def _delay(self, microseconds: int) -> None:
        self._machine.busy_until(self._board.clock.now_ns + int(microseconds) * 1000)
        self._machine.feed()

    def _softwd(self, seconds: int) -> None:
        self._board.timeline.cancel(self._dog)
        self._dog = None
        if seconds > 0:
            at = self._board.clock.now_ns + int(seconds) * 1_000_000_000
            self._dog = self._board.timeline.at(at, self._machine.soft_watchdog_bites)

    def end(self) -> None:
        """The chip restarts: nothing that was armed comes any more."""
        self._board.timeline.cancel(self._dog)
        for timer in self._timers:
            self._halt(timer)


class Gpio:
    """``gpio``: pins by NodeMCU's index. An interrupt posts a task; those that come before it has run are counted."""

    def __init__(self, machine: NodeMcu) -> None:
        self._machine = machine
        self._board = machine.board
        assert self._board.pins is not None
        self._pins = self._board.pins
        self._triggers: dict[str, tuple[int, tuple[int, ...]]] = {}
        self._pending: dict[int, list[int]] = {}  # reference -> level, moment in us, events
        self._board.on_edge = self._edge
        self.host: dict[str, Callable[..., Any]] = {
            "gpio_mode": self._mode,
            "gpio_read": lambda index: self._pin(index).level,
            "gpio_write": self._write,
            "gpio_trig": self._trig,
        }

    def _pin(self, index: int) -> Pin:
        if not 0 <= index < len(GPIO_OF):
            raise LuaFault("bad argument #1 (pin out of range)")
        return self._pins.pin(GPIO_OF[int(index)])

    def _mode(self, index: int, mode: int, pull: int = 0) -> None:
        pin = self._pin(index)
        pin.mode = {1: OUT, 3: OPEN_DRAIN}.get(mode, IN)
        pin.pull = PULL_UP if pull == 1 else 0
        if mode == 2 and index == 0:
            raise LuaFault("bad argument #1 to 'mode' (no interrupt for D0)")
        self._pins.changed(pin)

    def _write(self, index: int, level: int) -> None:
        pin = self._pin(index)
        pin.output = 1 if level else 0
        self._pins.changed(pin)

    def _trig(self, index: int, kind: bytes | None = None, _given: bool = False) -> int:
        if not 1 <= index < len(GPIO_OF):
            raise LuaFault("bad argument #1 to 'trig' (no interrupt for D0)" if index == 0 else "pin out of range")
        name, reference = self._pin(index).name, self._machine.PIN_REFERENCES + int(index)
        if kind is None or kind == b"none":
            self._triggers.pop(name, None)
        elif kind in _EDGES:
            self._triggers[name] = (reference, _EDGES[kind])
        else:
            raise LuaFault(f"bad argument #2 to 'trig' (invalid option '{kind.decode('latin-1')}')")
        return reference

    def _edge(self, pin: Pin) -> None:
        reference, levels = self._triggers.get(pin.name, (0, ()))
        if pin.level not in levels:
            return
        now = self._machine.uptime_ns // 1000 & 0x7FFFFFFF
        seen = self._pending.get(reference)
        if seen is None:
            self._pending[reference] = [pin.level, now, 1]
            self._machine.pin_fired(reference)
        else:
            seen[:] = [pin.level, now, seen[2] + 1]

    def take(self, reference: int) -> list[int]:
        return self._pending.pop(reference)


def rtc_functions(machine: NodeMcu) -> dict[str, Callable[..., Any]]:
    """``rtcmem``: 128 words that outlive all but the loss of power."""
    board = machine.board

    def words() -> bytearray:
        return bytearray(board.backup.ljust(4 * _RTC_SLOTS, b"\0"))

    def read(slot: int, count: int = 1) -> tuple[int, ...] | None:
        slot, count = int(slot), int(count)
        if slot < 0 or count < 1 or slot + count > _RTC_SLOTS:
            return ()
        return struct.unpack_from(f"<{count}i", words(), 4 * slot)

    def write(slot: int, *values: float) -> None:
        if not 0 <= slot <= _RTC_SLOTS:
            raise LuaFault("bad argument #1 to 'write32' (index out of range)")
        if slot + len(values) > _RTC_SLOTS:
            raise LuaFault("RTC mem would overrun")
        content = words()
        for at, value in enumerate(values):
            struct.pack_into("<I", content, 4 * (int(slot) + at), int(value) & 0xFFFFFFFF)
        board.backup = bytes(content)

    return {"rtcmem_read32": read, "rtcmem_write32": write}


class Receiver:
    """``uart.on("data", ...)``: what is typed goes to a callback, in pieces of a length or up to a character."""

    def __init__(self, reference: int) -> None:
        self._reference = reference
        self._limit: int | bytes | None = None
        self._run_input = True
        self._data = bytearray()

    @property
    def takes_all(self) -> bool:
        """The line editor gets nothing."""
        return self._limit is not None and not self._run_input

    def on(self, event: bytes, limit: float | bytes | None, given: bool, run_input: float | None = None) -> int:
        if event != b"data":
            raise LuaFault("bad argument #1 to 'on' (invalid option)")
        self._data.clear()
        self._limit = (limit if isinstance(limit, bytes) else int(limit or 0)) if given else None
        self._run_input = run_input != 0
        return self._reference

    def take(self, byte: int) -> tuple[int, bytes] | None:
        """The callback and its piece, when ``byte`` completes one."""
        if self._limit is None:
            return None
        self._data.append(byte)
        full = byte == self._limit[0] if isinstance(self._limit, bytes) else len(self._data) >= self._limit
        if not full:
            return None
        data = bytes(self._data)
        self._data.clear()
        return self._reference, data


def uart_functions(machine: NodeMcu) -> dict[str, Callable[..., Any]]:
    """As much of ``uart`` as a client of the REPL uses."""

    def setup(_port: int, baud: int, _bits: int, _parity: int, _stop: int, echo: int = 1) -> int:
        machine.editor.echo = echo != 0
        return int(baud)

    def getconfig(_port: int) -> tuple[int, ...]:
        return 115200, 8, 0, 1

    def write(_port: int, *parts: bytes | float) -> None:
        for part in parts:
            machine.write_raw(part if isinstance(part, bytes) else bytes([int(part) & 0xFF]))

    return {
        "uart_setup": setup,
        "uart_getconfig": getconfig,
        "uart_write": write,
        "uart_alt": lambda *_: None,
        "uart_on": machine.receiver.on,
    }
