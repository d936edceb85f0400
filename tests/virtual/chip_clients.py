"""What stands at the wire, the reset lines and the application's place of a virtual chip."""

from __future__ import annotations

import threading

from harness.virtual.application import AppContext
from harness.virtual.serial_chip import SerialChip
from harness.virtual.serve import Echo

MAC = bytes.fromhex("02aabbccddee")


class Listener:
    """A wire that keeps what the chip sent."""

    def __init__(self, baud: int | None = 115200) -> None:
        self.baud = baud
        self.parity: str | None = None
        self._heard = bytearray()
        self._news = threading.Condition()

    def send(self, data: bytes) -> None:
        with self._news:
            self._heard += data
            self._news.notify_all()

    @property
    def heard(self) -> bytes:
        with self._news:
            return bytes(self._heard)

    def wait(self, text: bytes, times: int = 1, within: float = 5.0) -> None:
        with self._news:
            found = self._news.wait_for(lambda: self._heard.count(text) >= times, within)
        assert found, f"{text!r} x{times} expected, came {self.heard[-300:]!r}"

    def clear(self) -> None:
        with self._news:
            self._heard.clear()


class Recorder:
    """Makes echo applications and keeps what the chip gave to each."""

    def __init__(self) -> None:
        self.contexts: list[AppContext] = []

    def __call__(self, context: AppContext) -> Echo:
        self.contexts.append(context)
        return Echo(context)


class Device:
    """A chip with the healthy firmware, at its raw prompt."""

    def __init__(self, chip: SerialChip) -> None:
        self.chip = chip
        self.wire = Listener(None)
        self.chip.wires.append(self.wire)
        self.chip.power_on()
        self.raw()

    def raw(self) -> None:
        """Wait for the next start of the VM, and enter raw mode."""
        self.wire.wait(b">>> ")
        self.wire.clear()
        self.type(b"\x01")
        self.wire.wait(b"raw REPL; CTRL-B to exit\r\n>")

    def type(self, data: bytes) -> None:
        self.chip.receive(data, self.wire)

    def start(self, source: str) -> None:
        self.wire.clear()
        self.type(source.encode() + b"\x04")

    def run(self, source: str) -> bytes:
        self.start(source)
        self.wire.wait(b"\x04>")
        output, error, _ = self.wire.heard.removeprefix(b"OK").split(b"\x04")
        assert error == b""
        return output.replace(b"\r\n", b"\n")

    def turn(self) -> None:
        """Wait until the chip's thread has attended to what was posted."""
        done = threading.Event()
        self.chip.board.post(done.set)
        assert done.wait(5)

    def wait_asleep(self) -> None:
        while not self.chip.board.asleep:
            self.turn()


def esp_reset_pulse(chip: SerialChip) -> None:
    """RTS alone asserted pulls EN low."""
    chip.set_lines(dtr=False, rts=True)
    chip.set_lines(dtr=False, rts=False)


def stm32_reset_pulse(chip: SerialChip, *, boot0: bool = False) -> None:
    """DTR asserted pulls NRST low; RTS asserted pulls BOOT0 low."""
    chip.set_lines(dtr=True, rts=not boot0)
    chip.set_lines(dtr=False, rts=not boot0)
