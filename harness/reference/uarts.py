"""UARTs of a chip during one life of the VM: bytes that take their time, buffers, and the interrupts they cause.

What a UART sends is heard by itself where its TX is wired to its RX: by the pins that the program gave it, or because
the board says so (``wiring.uart``). The bits are no levels of the pins: ``Pin.value()`` does not see them. As the
ports have it (MicroPython ``ports/esp32/machine_uart.c``, ``ports/stm32/machine_uart.c``, ``ports/stm32/uart.c``):

- an ESP32 writes into a buffer, an STM32 waits until the last byte is out;
- IRQ_RXIDLE comes on the STM32 when the line was idle for one character, on the ESP32 at the second tick of a timer
  after the last byte, which starts with the first one: 20 bit times, at least 500 µs.

Not modelled: breaks, parity and framing errors, flow control, inverted lines, and that an ESP32 with a ``timeout_char``
hands over bytes in groups.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.chips import Port
from harness.reference.chip_board import Board
from harness.reference.engine.guest_memory import GuestMemory
from harness.reference.guest_rom import NOTHING
from harness.reference.interrupts import Interrupts
from harness.reference.timeline import Moment

_MS = 1_000_000
#: What the ESP32's ``write`` does not wait for, in bytes: its hardware's FIFO and the driver's ``txbuf``.
_SENT_LATER = 128 + 256
_SHORTEST_IDLE_NS = 500_000
#: Answers of :meth:`Uarts.read` beside a number of bytes; the guest asks again when its callbacks have run.
_NONE_CAME, _CALLBACKS_FIRST = -1, -2


@dataclass
class Uart:
    """One of them, as opened. Times in nanoseconds, ``room`` in bytes."""

    number: int
    baud: int
    byte_ns: int
    timeout_ns: int
    char_timeout_ns: int
    room: int
    tx: int
    rx: int
    slot: int = -1
    trigger: int = 0
    hard: bool = False
    flags: int = 0
    free_ns: int = 0
    """When all that was written is out."""
    received: bytearray = field(default_factory=bytearray)
    first_ns: int | None = None
    """When the first byte came of a message whose end is not known yet."""
    moments: list[Moment] = field(default_factory=list)
    """Bytes on the line."""
    idle: Moment | None = None
    reading_until_ns: int | None = None
    seen: int = 0


class Uarts:
    """``deliver`` calls a slot's handler: (slot, hard, what it is)."""

    def __init__(
        self,
        board: Board,
        chip: Port,
        memory: Callable[[], GuestMemory],
        interrupts: Interrupts,
        deliver: Callable[[int, bool, str], None],
    ) -> None:
        self._board = board
        self._stm32 = chip.family == "stm32"
        self.idle_trigger, self.byte_trigger = (0x10, 0x20) if self._stm32 else (0x1000, 1)
        self._memory = memory
        self._interrupts = interrupts
        self._deliver = deliver
        self._uarts: dict[int, Uart] = {}

    # -- what the guest asks for -----------------------------------------------------------------

    def open(self, settings: str) -> None:
        """Numbers: UART, baud rate, bits of a byte on the line, two time-outs in ms, size of the buffer, pins."""
        number, baud, bits, timeout, char_timeout, room, tx, rx = (int(word) for word in settings.split())
        before = self._uarts.get(number)
        if baud <= 0:
            baud = before.baud if before else 115200
        if self._stm32:
            char_timeout = max(char_timeout, 13000 // baud + 2)
        uart = Uart(
            number,
            baud,
            bits * 1_000_000_000 // baud,
            max(0, timeout) * _MS,
            max(0, char_timeout) * _MS,
            room,
            before.tx if before and tx < 0 else tx,
            before.rx if before and rx < 0 else rx,
        )
        if before:
            self._silence(before)
            uart.slot, uart.trigger, uart.hard = before.slot, before.trigger, before.hard
        self._uarts[number] = uart

    def close(self, number: int) -> None:
        self._silence(self._uarts.pop(number))

    def end(self) -> None:
        """The VM has ended."""
        for number in list(self._uarts):
            self.close(number)

    def any(self, number: int) -> int:
        return len(self._uarts[number].received)

    def write(self, number: int, address: int, size: int) -> int:
        uart, now = self._uarts[number], self._board.clock.now_ns
        data = self._memory().read(address, size)
        start = max(now, uart.free_ns)
        uart.free_ns = start + size * uart.byte_ns
        if self._hears_itself(uart):
            self._board.timeline.cancel(uart.idle)
            uart.moments = [moment for moment in uart.moments if moment.at_ns > now]
            for at, byte in enumerate(data, 1):
                uart.moments.append(self._on_the_line(uart, start + at * uart.byte_ns, byte))
        back = uart.free_ns - (0 if self._stm32 else _SENT_LATER * uart.byte_ns)
        if back > now:
            self._board.pass_time(back, lambda: False)
        return size

    def read(self, number: int, address: int, size: int) -> int:
        """Bytes that were put at ``address``, or that none came, or that callbacks are to be run first."""
        uart, clock = self._uarts[number], self._board.clock
        if uart.reading_until_ns is None:
            uart.seen, uart.reading_until_ns = 0, clock.now_ns + uart.timeout_ns
        while True:
            have = len(uart.received)
            if have > uart.seen:
                if self._stm32 or not uart.seen:
                    uart.reading_until_ns = clock.now_ns + uart.char_timeout_ns
                uart.seen = have
            if have >= size or clock.now_ns >= uart.reading_until_ns:
                break
            if self._interrupts.callbacks_waiting:
                return _CALLBACKS_FIRST
            self._board.pass_time(
                uart.reading_until_ns,
                lambda: len(uart.received) != uart.seen or self._interrupts.callbacks_waiting,
            )
        uart.reading_until_ns = None
        data = bytes(uart.received[:size])
        del uart.received[:size]
        self._memory().write(address, data)
        return len(data) or (_NONE_CAME if size else 0)

    def irq(self, number: int, slot: int, mode: int) -> None:
        uart = self._uarts[number]
        uart.slot, uart.trigger, uart.hard = slot, mode & 0x1FFF, bool(mode & 0x2000)

    def irq_off(self, slot: int) -> None:
        """The handler in ``slot`` ended by an exception."""
        for uart in self._uarts.values():
            if uart.slot == slot:
                uart.trigger = 0

    def flags(self, number: int, trigger: int) -> int:
        """Why the handler was called last; with a ``trigger`` that is set, and the one before returned."""
        uart = self._uarts[number]
        if trigger == NOTHING:
            return uart.flags
        before, uart.trigger = uart.trigger, trigger
        return before

    # -- the line --------------------------------------------------------------------------------

    def _hears_itself(self, uart: Uart) -> bool:
        pins = self._board.pins
        if uart.tx < 0 or uart.rx < 0 or pins is None:
            return uart.number in self._board.uart_loops
        return pins.wired(pins.name(uart.tx), pins.name(uart.rx))

    def _on_the_line(self, uart: Uart, at_ns: int, byte: int) -> Moment:
        return self._board.timeline.at(at_ns, lambda: self._came(uart, at_ns, byte))

    def _came(self, uart: Uart, at_ns: int, byte: int) -> None:
        if len(uart.received) < uart.room:
            uart.received.append(byte)
        if uart.first_ns is None:
            uart.first_ns = at_ns
        if uart.free_ns <= at_ns:
            uart.idle = self._board.timeline.at(self._idle_at(uart, uart.first_ns, at_ns), lambda: self._idle(uart))
        self._tell(uart, self.byte_trigger)

    def _idle_at(self, uart: Uart, first_ns: int, last_ns: int) -> int:
        """When the end is noticed of a message whose first and last byte came at those times."""
        if self._stm32:
            return last_ns + uart.byte_ns
        period = max(_SHORTEST_IDLE_NS, 20 * 1_000_000_000 // uart.baud)
        return first_ns + ((last_ns - first_ns) // period + 2) * period

    def _idle(self, uart: Uart) -> None:
        uart.first_ns = uart.idle = None
        self._tell(uart, self.idle_trigger)

    def _tell(self, uart: Uart, why: int) -> None:
        if uart.trigger & why and uart.slot >= 0:
            uart.flags = why
            self._deliver(uart.slot, uart.hard, f"uart {uart.number} {'idle' if why == self.idle_trigger else 'byte'}")

    def _silence(self, uart: Uart) -> None:
        for moment in (*uart.moments, uart.idle):
            self._board.timeline.cancel(moment)
