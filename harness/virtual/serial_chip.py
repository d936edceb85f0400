"""What every virtual chip on a serial line has: wires and their rates, power, a loader's stay, an application's life.

What differs from chip family to chip family (reset lines, boot ROM, what the chip says when it dies) is a class of
its own for each: :mod:`harness.virtual.esp_chip` for the ESPs, :mod:`harness.virtual.stm32.stm32_chip`.
"""

from __future__ import annotations

import random
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from harness.chips import Reset
from harness.errors import UsageError
from harness.reference.chip_board import ChipReset
from harness.virtual.application import AppContext, Application, ApplicationFactory, Ended, Exit
from harness.virtual.fault_effects import as_the_board_is, at_boot, decay
from harness.virtual.faults import Fault, Faults
from harness.virtual.live_board import LiveBoard, Surroundings
from harness.virtual.native_usb import Usb
from harness.virtual.nor_flash import Flash

APP_BAUD = 115200
_RECEIVE_LIMIT = 64 * 1024
#: What each boot reason is to the board, and to the application.
_CAUSES = {
    "power-on": (Reset.POWER_ON, "power-on"),
    "external": (Reset.PIN, "external"),
    "usb": (Reset.USB, "usb"),
    "software": (Reset.MACHINE, "software"),
    "bootloader": (Reset.MACHINE, "software"),
    "panic": (Reset.MACHINE, "software"),
    "watchdog": (Reset.WATCHDOG, "watchdog"),
    "task-watchdog": (Reset.WATCHDOG, "watchdog"),
    "rtc-watchdog": (Reset.WATCHDOG, "watchdog"),
    "brown-out": (Reset.BROWN_OUT, "brown-out"),
    "deep-sleep": (Reset.DEEP_SLEEP, "deep-sleep"),
}


class Wire(Protocol):
    """One serial connection to the chip. ``baud`` is the client's rate, None when it cannot be known.

    A wire may have a ``parity`` as well: ``"N"``, ``"E"`` or ``"O"``.
    """

    @property
    def baud(self) -> int | None: ...
    def send(self, data: bytes) -> None: ...


class UsbLoader(Protocol):
    """A boot loader on USB (:mod:`harness.virtual.stm32.dfu`)."""

    memory: str
    serial: str

    def read(self, address: int, size: int) -> bytes: ...
    def write(self, address: int, data: bytes) -> None: ...


class Loader(Protocol):
    """A boot loader that has the line."""

    def feed(self, data: bytes) -> None: ...


@dataclass
class Boot:
    """What a look at the flash led to. ``text`` is (baud, bytes) in order; no ``payload``: it did not boot."""

    text: list[tuple[int, bytes]] = field(default_factory=list)
    payload: bytes | None = None
    partitions: dict[str, tuple[int, int]] = field(default_factory=dict)
    #: Reset reason of the next try when this one failed; "" when the chip hangs and there is none.
    again_because: str = "watchdog"

    def say(self, baud: int, text: str) -> None:
        self.text.append((baud, text.replace("\n", "\r\n").encode("ascii", "replace")))


class _Over(Exception):
    """The chip was reset, or power is gone, while it was asleep."""


class SerialChip(ABC):
    """``factory`` makes the application when the flash holds one. Powered off until :meth:`power_on`."""

    #: Seconds between two tries of a chip that does not boot.
    boot_pause = 0.28
    #: Whether a detector resets it when its supply dips.
    notices_brown_out = False
    #: The chip's identity as ``machine.unique_id`` gives it; b"": the one of the chip's table entry.
    uid = b""

    def __init__(
        self,
        name: str,
        flash: Flash,
        mac: bytes,
        factory: ApplicationFactory,
        surroundings: Surroundings | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.name = name
        #: Pins, wires, RTC domain and clock: they outlive every reset.
        self.board = LiveBoard(name, surroundings)
        self.flash = flash
        self.mac = mac
        self.wires: list[Wire] = []
        #: RAM that no reset clears.
        self.noinit: dict[str, bytes] = {}
        #: Set once the first boot has led to something: an application, a failure, or a boot loader.
        self.settled = threading.Event()
        self._factory = factory
        self._lock = threading.RLock()
        self._noise = random.Random(mac)
        self._baud: int | None = APP_BAUD  # None: autobaud, whatever the host uses
        self._parity = "N"
        self._talking: Wire | None = None
        self._powered = False
        self._loader: Loader | None = None
        self._life: _Life | None = None
        #: Whose USB the console is (:mod:`harness.virtual.native_usb`).
        self.usb: Usb = "none"
        self._usb_there = True
        #: Set by whoever serves the port: the chip's own USB device has come or gone.
        self.on_usb: Callable[[bool], None] = lambda _present: None
        #: What goes wrong between the wire and this chip.
        self.faults = Faults(self, faults)
        #: Set by whoever serves the port: takes it away for some seconds (None: for good), perhaps to another name.
        self.on_lost_port: Callable[[float | None, bool], None] = lambda _seconds, _renamed: None

    def put_behind(self, usb: Usb) -> None:
        """Let its console be a USB device of its own, before it is powered on.

        Raises UsageError for a unit that the chip has not.
        """
        if usb == "serial-jtag":
            raise UsageError(f"the {self.name} has no USB Serial/JTAG unit", hint="expected virtual.usb: none or cdc")
        self.usb = usb
        self._usb_there = usb != "cdc"

    @property
    def usb_loader(self) -> UsbLoader | None:
        """The boot loader that the chip is in, if it is one on USB."""
        return None

    def leave_usb_loader(self) -> None:
        """Start what the flash holds. Raises UsageError on a chip without such a loader."""
        raise UsageError(f"the {self.name} has no USB boot loader that is modelled")

    # -- what a family of chips does in its own way ----------------------------------------------

    @abstractmethod
    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        """The client's DTR and RTS; True is asserted, which is low at the chip."""

    def release_lines(self) -> None:
        """The client is gone: both lines released together, which resets nothing."""
        self.set_lines(dtr=False, rts=False)

    @abstractmethod
    def press_buttons_for_sync(self, data: bytes) -> bool:
        """On a wire without lines: whether ``data`` counts as someone holding the boot loader's buttons."""

    @abstractmethod
    def leave_download(self) -> None:
        """On a wire without lines: the client is gone, so a chip in its boot loader starts its application."""

    @abstractmethod
    def boot(self, reason: str) -> Boot:
        """Look at what is in the flash."""

    @abstractmethod
    def last_words(self, end: Exit) -> tuple[str, str]:
        """What the chip says about how its application ended, and the reason of the next boot."""

    def _powered_on(self) -> None:
        """Power has come: start what the lines ask for."""
        self._start("power-on")

    def _reset_again(self, reason: str) -> bool:
        """Called on the application's thread before each further boot: False when something else starts."""
        return True

    # -- power -----------------------------------------------------------------------------------

    @property
    def powered(self) -> bool:
        return self._powered

    def power_on(self) -> None:
        with self._lock:
            if not self._powered:
                self.noinit.clear()
                self._powered = True
                self.usb_there(self.usb != "cdc")
                self._powered_on()

    def power_off(self) -> None:
        with self._lock:
            if self.faults.lasts("power-stuck"):
                return
            self._powered = False
            self.faults.power_cut()
            self._hold()
            self.usb_there(self.usb == "none")

    def press_reset(self, *, boot: bool = False) -> None:
        """A person presses the reset button, and with ``boot`` holds the other one meanwhile. Raises UsageError on a
        chip without the second."""
        if boot:
            raise UsageError(f"this {self.name} has no boot button")
        self.glitch("external")

    def brown_out(self) -> None:
        """The supply dips. Raises UsageError on a chip that does not notice."""
        raise UsageError(f"the {self.name} has no brown-out detector", hint="cut its power instead")

    # -- states ----------------------------------------------------------------------------------

    def _hold(self) -> None:
        """In reset, or without power: nothing runs."""
        self._loader = None
        life, self._life = self._life, None
        if life is not None:
            life.end()

    def _start(self, reason: str) -> None:
        if self._loader is not None or (self._life is not None and self._life.runs_application):
            self.usb_there(self.usb == "none")
        self._hold()
        self._life = _Life(self, reason)

    @property
    def downloading(self) -> bool:
        return self._loader is not None

    # -- its own USB -----------------------------------------------------------------------------

    def usb_there(self, present: bool) -> None:
        """The device that the console is has come, or gone.

        Who was connected hears and says nothing more from here on, whenever his port goes.
        """
        if present != self._usb_there:
            self._usb_there = present
            if not present:
                self.wires.clear()
            self.on_usb(present)

    # -- console ---------------------------------------------------------------------------------

    def emit(self, data: bytes, baud: int | None = None) -> None:
        """Send ``data`` to every wire at ``baud`` (and stay at that rate)."""
        if baud is not None:
            self._baud = baud
        self.deliver(self.faults.to_host(data) if data else data)

    def deliver(self, data: bytes) -> None:
        """Send ``data`` to every wire, as it is."""
        for wire in list(self.wires):
            wire.send(self._carried(data, wire))

    def receive(self, data: bytes, wire: Wire) -> None:
        """Bytes from a client."""
        with self._lock:
            if self.usb != "none" and wire not in self.wires:
                return
            data = self._carried(data, wire)
            self._talking = wire
            self.feed(self.faults.to_board(data))

    def feed(self, data: bytes) -> None:
        """Bytes that have come through to the chip."""
        with self._lock:
            if self._loader is not None:
                self._loader.feed(data)
            elif self._life is not None:
                self._life.receive(data)

    def _carried(self, data: bytes, wire: Wire) -> bytes:
        """What arrives on the other side, in either direction."""
        ours, theirs = self._baud, wire.baud if self.usb == "none" else None
        if ours is not None and self._loader is None and self.faults.lasts("slow-crystal"):
            ours = ours * 26 // 40
        if ours is not None and theirs is not None and abs(ours - theirs) > 0.03 * theirs:
            return bytes(self._garbled() for _ in data)
        parity: str | None = getattr(wire, "parity", None) if self.usb == "none" else None
        if parity is None or parity == self._parity:
            return data
        # One side's parity bit stands where the other has its stop bit, which is 1: right by chance for every byte
        # with an odd number of ones (even parity against none).
        return bytes(byte if byte.bit_count() % 2 else self._garbled() for byte in data)

    def _garbled(self) -> int:
        return self._noise.choice(b"\x00\x1c\x80\x8e\x9f\xc6\xe0\xf8\xfc\xfe\xff")

    # -- what a fault does -----------------------------------------------------------------------

    def glitch(self, reason: str) -> None:
        """The chip resets, for ``reason``, wherever it is."""
        with self._lock:
            if self._powered:
                self._start(reason)

    def lose_port(self, seconds: float | None, renamed: bool) -> None:
        self.on_lost_port(seconds, renamed)

    def mend(self) -> None:
        """All faults are gone, and the port is back."""
        self.faults.clear()
        self.flash.stuck.clear()
        self.on_lost_port(0.0, False)

    def decay(self, *, stuck: bool, chance: random.Random) -> None:
        decay(self.flash, stuck=stuck, chance=chance)

    # -- what a loader asks of its chip ----------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.emit(data)

    def lock_baud(self) -> None:
        if self._talking is not None:
            self._baud = self._talking.baud


class _Console:
    """The UART as the application sees it."""

    def __init__(self, emit: Callable[[bytes], None]) -> None:
        self._emit = emit
        self._received = bytearray()
        self._news = threading.Condition()
        self._closed = False

    def write(self, data: bytes) -> None:
        self._emit(data)

    def read(self, size: int, timeout: float | None) -> bytes:
        with self._news:
            self._news.wait_for(lambda: self._received or self._closed, timeout)
            data = bytes(self._received[:size])
            del self._received[:size]
            return data

    def waiting(self) -> int:
        return len(self._received)

    def push(self, data: bytes) -> None:
        with self._news:
            # An UART's buffer is finite: what does not fit is lost.
            self._received += data[: _RECEIVE_LIMIT - len(self._received)]
            self._news.notify_all()

    def forget(self) -> None:
        """The chip was reset: what nobody has read is lost."""
        with self._news:
            self._received.clear()

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify_all()


class _Life:
    """From the release of the reset to the next one: boots again and again what the flash holds."""

    def __init__(self, chip: SerialChip, reason: str) -> None:
        self._chip = chip
        self._ended = threading.Event()
        self._app: Application | None = None
        self._console = _Console(self._emit)
        self._thread = threading.Thread(target=self._run, args=(reason,), name="chip", daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        if self._app is not None:
            self._app.stop()
        self._console.close()
        self._chip.board.ring()
        if threading.current_thread() is not self._thread:
            self._thread.join(2.0)

    def receive(self, data: bytes) -> None:
        if (app := self._app) is not None:
            self._console.push(app.received(data))
            self._chip.board.ring()

    @property
    def runs_application(self) -> bool:
        return self._app is not None

    def _emit(self, data: bytes, baud: int | None = None) -> None:
        if not self._ended.is_set():
            self._chip.emit(data, baud)

    def _run(self, reason: str) -> None:
        chip = self._chip
        first = True
        while not self._ended.is_set():
            if not first and not chip._reset_again(reason):
                return
            first = False
            cause, told = _CAUSES[reason]
            if cause is not Reset.DEEP_SLEEP:  # the board has woken by itself
                chip.board.restart(cause)
            booted = as_the_board_is(chip.faults, chip.name, chip.flash, chip.boot(reason))
            for baud, text in booted.text:
                self._emit(text, baud)
            if booted.payload is None:
                chip.usb_there(chip.usb != "cdc")
                reason = booted.again_because
                chip.settled.set()
                self._ended.wait(chip.boot_pause if reason else None)
                continue
            self._emit(b"", APP_BAUD)
            noise, booted.payload = at_boot(chip.faults, chip.flash, booted)
            self._emit(noise)
            if chip.faults.boots("brown-out-loop"):
                chip.settled.set()
                reason = self._say_last_words(Exit(Ended.BROWN_OUT if chip.notices_brown_out else Ended.RESET_PIN))
                self._ended.wait(chip.boot_pause)
                continue
            context = AppContext(
                chip=chip.name,
                payload=booted.payload,
                flash=chip.flash,
                partitions=booted.partitions,
                console=self._console,
                reset_cause=told,
                noinit=chip.noinit,
                mac=chip.mac,
                board=chip.board,
                uid=chip.uid,
            )
            try:
                app = chip._factory(context)
            except ValueError as problem:
                chip.settled.set()
                reason = self._say_last_words(Exit(Ended.CRASH, str(problem)))
                continue
            self._app = app
            if not self._ended.is_set():
                chip.usb_there(True)
            chip.settled.set()
            if self._ended.is_set():  # the reset came while the application was being made
                return
            end = app.run()
            self._app = None
            self._console.forget()
            if end.why is Ended.STOPPED:
                return
            chip.usb_there(chip.usb == "none")
            try:
                reason = self._sleep() if end.why is Ended.DEEP_SLEEP else self._say_last_words(end)
            except _Over:
                return

    def _sleep(self) -> str:
        """Deep sleep, to its end: the chip is silent, and deaf to all but its wake sources and its reset."""
        board = self._chip.board
        board.fall_asleep()
        board.check = self._check_over
        try:
            board.sleep_through()
        except ChipReset as reset:
            return self._say_last_words(Exit(Ended.BROWN_OUT if reset.cause is Reset.BROWN_OUT else Ended.RESET_PIN))
        return "deep-sleep"

    def _check_over(self) -> None:
        if self._ended.is_set():
            raise _Over

    def _say_last_words(self, end: Exit) -> str:
        detail = "".join(c if " " <= c <= "~" else "?" for c in end.detail)[:120]
        words, reason = self._chip.last_words(Exit(end.why, detail))
        if words:
            self._emit(words.replace("\n", "\r\n").encode(), APP_BAUD)
        if end.why is Ended.CRASH:
            self._ended.wait(self._chip.boot_pause)
        return reason
