"""A virtual chip: reset lines, boot ROM, download mode, and the application that its flash holds.

EN and IO0 hang on DTR and RTS through the two transistors of a devkit: equal levels are neutral, RTS alone
pulls EN low (reset), DTR alone pulls IO0 low (download mode). EN's capacitor lets it rise late; here IO0
counts as low when it goes low at any time before EN has risen, so that a host whose line changes are slow
reaches download mode as well as a quick one.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import Protocol

from harness.errors import UsageError
from harness.reference.board import ChipReset
from harness.reference.chips import Reset
from harness.virtual.application import AppContext, Application, ApplicationFactory, Ended, Exit
from harness.virtual.board import LiveBoard, Surroundings
from harness.virtual.boot import boot, download_text
from harness.virtual.chips import CHIPS
from harness.virtual.fault_effects import at_boot, decay
from harness.virtual.faults import Fault, Faults
from harness.virtual.flash import Flash
from harness.virtual.rom import Loader

#: Seconds from releasing EN to the moment the chip starts.
EN_DELAY = 0.15
#: Seconds between two tries of a chip that does not boot.
BOOT_LOOP_PAUSE = 0.28
APP_BAUD = 115200
_RECEIVE_LIMIT = 64 * 1024
#: A loader's SYNC up to the first of its 0x55: long enough not to stand in a program's upload by chance.
_SYNC = b"\xc0\x00\x08\x24\x00\x00\x00\x00\x00\x07\x07\x12\x20\x55"
#: What each boot reason is to the board, and to the application.
_CAUSES = {
    "power-on": (Reset.POWER_ON, "power-on"),
    "external": (Reset.PIN, "external"),
    "software": (Reset.MACHINE, "software"),
    "bootloader": (Reset.MACHINE, "software"),
    "panic": (Reset.MACHINE, "software"),
    "watchdog": (Reset.WATCHDOG, "watchdog"),
    "task-watchdog": (Reset.WATCHDOG, "watchdog"),
    "brown-out": (Reset.BROWN_OUT, "brown-out"),
    "deep-sleep": (Reset.DEEP_SLEEP, "deep-sleep"),
}


class _Over(Exception):
    """EN went low, or power is gone, while the chip was asleep."""


class Wire(Protocol):
    """One serial connection to the chip. ``baud`` is the client's rate, None when it cannot be known."""

    @property
    def baud(self) -> int | None: ...
    def send(self, data: bytes) -> None: ...


class Chip:
    """``factory`` makes the application when the flash holds one. Powered off until :meth:`power_on`."""

    def __init__(
        self,
        chip: str,
        flash: Flash,
        mac: bytes,
        factory: ApplicationFactory,
        surroundings: Surroundings | None = None,
        faults: tuple[Fault, ...] = (),
    ) -> None:
        self.spec = CHIPS[chip]
        #: Pins, wires, RTC domain and clock: they outlive every reset.
        self.board = LiveBoard(chip, surroundings)
        self.flash = flash
        self.mac = mac
        self.wires: list[Wire] = []
        self._factory = factory
        self._lock = threading.RLock()
        self._noise = random.Random(mac)
        self._noinit: dict[str, bytes] = {}
        self._baud: int | None = APP_BAUD  # None: autobaud, whatever the host uses
        self._talking: Wire | None = None
        self._dtr = self._rts = False
        self._powered = False
        #: Set once the first boot has led to something: an application, a failure, or download mode.
        self.settled = threading.Event()
        self._timer: threading.Timer | None = None
        self._loader: Loader | None = None
        self._life: _Life | None = None
        #: What goes wrong between the wire and this chip.
        self.faults = Faults(self, faults)
        #: Set by whoever serves the port: takes it away for some seconds (None: for good), perhaps to another name.
        self.on_lost_port: Callable[[float | None, bool], None] = lambda _seconds, _renamed: None

    # -- power and lines -------------------------------------------------------------------------

    @property
    def powered(self) -> bool:
        return self._powered

    def power_on(self) -> None:
        with self._lock:
            if self._powered:
                return
            self._noinit.clear()
            self._powered = True
            if self._io0_low:
                self._download("power-on")
            elif not self._en_low:
                self._start("power-on")

    def power_off(self) -> None:
        with self._lock:
            if self.faults.lasts("power-stuck"):
                return
            self._powered = False
            self.faults.power_cut()
            self._hold()

    def brown_out(self) -> None:
        """The supply dips: the ESP32's detector says so and resets the chip. Raises UsageError on another chip."""
        if self.spec.name != "esp32":
            raise UsageError(f"the {self.spec.name} has no brown-out detector", hint="cut its power instead")
        with self._lock:
            if self._life is not None:
                self.board.post(_dip)

    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        """The client's DTR and RTS; True is asserted, which is low at the chip."""
        with self._lock:
            if self.faults.lasts("lines-stuck"):
                return
            was_low = self._en_low
            self._dtr, self._rts = dtr, rts
            if not self._powered:
                return
            if self._en_low and not was_low:
                self.faults.reset()
                self._hold()
            elif was_low and not self._en_low and self._timer is None:
                self._timer = threading.Timer(EN_DELAY, self._risen)
                self._timer.daemon = True
                self._timer.start()
            if self._timer is not None and self._io0_low:
                self._cancel_timer()
                self._download("external")

    @property
    def _en_low(self) -> bool:
        return self._rts and not self._dtr

    @property
    def _io0_low(self) -> bool:
        return self._dtr and not self._rts

    def _risen(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():  # cancelled while it waited for the lock
                return
            self._timer = None
            if self._powered and not self._en_low:
                self._start("external")

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # -- states ----------------------------------------------------------------------------------

    def _hold(self) -> None:
        """In reset, or without power: nothing runs."""
        self._cancel_timer()
        self._loader = None
        life, self._life = self._life, None
        if life is not None:
            life.end()

    def _start(self, reason: str) -> None:
        self._hold()
        self._life = _Life(self, reason)

    def _download(self, reason: str) -> None:
        self._hold()
        baud, text = download_text(self.spec.name, reason)
        self.emit(text, baud)
        self._baud = None
        self._loader = Loader(self.spec, self.flash, self.mac, self)
        self.settled.set()

    @property
    def downloading(self) -> bool:
        return self._loader is not None

    # -- console ---------------------------------------------------------------------------------

    def emit(self, data: bytes, baud: int | None = None) -> None:
        """Send ``data`` to every wire at ``baud`` (and stay at that rate)."""
        if baud is not None:
            self._baud = baud
        self.deliver(self.faults.to_host(data) if data else data)

    def deliver(self, data: bytes) -> None:
        """Send ``data`` to every wire, as it is."""
        for wire in list(self.wires):
            wire.send(data if self._heard(wire) else self._garbled(data))

    def receive(self, data: bytes, wire: Wire) -> None:
        """Bytes from a client."""
        with self._lock:
            if not self._heard(wire):
                data = self._garbled(data)
            self._talking = wire
            self.feed(self.faults.to_board(data))

    def feed(self, data: bytes) -> None:
        """Bytes that have come through to the chip."""
        with self._lock:
            if self._loader is not None:
                self._loader.feed(data)
            elif self._life is not None:
                self._life.receive(data)

    def press_buttons_for_sync(self, data: bytes) -> bool:
        """On a wire without lines: a loader's SYNC counts as someone holding the buttons."""
        with self._lock:
            if self._loader is None and self._powered and _SYNC in data:
                self._download("external")
                return True
            return False

    def leave_download(self) -> None:
        """On a wire without lines: the client is gone, so the chip starts its application."""
        with self._lock:
            if self._loader is not None:
                self._start("external")

    def _heard(self, wire: Wire) -> bool:
        ours, theirs = self._baud, wire.baud
        return ours is None or theirs is None or abs(ours - theirs) <= 0.03 * theirs

    def _garbled(self, data: bytes) -> bytes:
        return bytes(self._noise.choice(b"\x00\x1c\x80\x8e\x9f\xc6\xe0\xf8\xfc\xfe\xff") for _ in data)

    # -- what a fault does ------------------------------------------------------------------------

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

    # -- what the loader asks of its chip --------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.emit(data)

    def set_baud(self, baud: int) -> None:
        self._baud = baud

    def lock_baud(self) -> None:
        if self._talking is not None:
            self._baud = self._talking.baud

    def run_application(self) -> None:
        self._start("software")


def _dip() -> None:
    raise ChipReset(Reset.BROWN_OUT)


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
    """From the release of EN to the next reset: boots again and again what the flash holds."""

    def __init__(self, chip: Chip, reason: str) -> None:
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
        if self._app is not None:
            self._app.received(data)
            self._console.push(data)
            self._chip.board.ring()

    def _emit(self, data: bytes, baud: int | None = None) -> None:
        if not self._ended.is_set():
            self._chip.emit(data, baud)

    def _run(self, reason: str) -> None:
        chip = self._chip
        while not self._ended.is_set():
            cause, told = _CAUSES[reason]
            if cause is not Reset.DEEP_SLEEP:  # the board has woken by itself
                chip.board.restart(cause)
            found = boot(chip.spec.name, chip.flash, reason)
            for baud, text in found.text:
                self._emit(text, baud)
            if found.payload is None:
                reason = found.again_because
                chip.settled.set()
                self._ended.wait(BOOT_LOOP_PAUSE)
                continue
            self._emit(b"", APP_BAUD)
            noise, found.payload = at_boot(chip.faults, chip.flash, found)
            self._emit(noise)
            if chip.faults.boots("brown-out-loop"):
                chip.settled.set()
                reason = self._reason(Exit(Ended.BROWN_OUT if chip.spec.name == "esp32" else Ended.RESET_PIN))
                self._ended.wait(BOOT_LOOP_PAUSE)
                continue
            context = AppContext(
                chip=chip.spec.name,
                payload=found.payload,
                flash=chip.flash,
                partitions=found.partitions,
                console=self._console,
                reset_cause=told,
                noinit=chip._noinit,
                mac=chip.mac,
                board=chip.board,
            )
            try:
                app = chip._factory(context)
            except ValueError as problem:
                chip.settled.set()
                reason = self._panic(str(problem))
                continue
            self._app = app
            chip.settled.set()
            if self._ended.is_set():  # the reset came while the application was being made
                return
            end = app.run()
            self._app = None
            self._console.forget()
            if end.why is Ended.STOPPED:
                return
            try:
                reason = self._sleep() if end.why is Ended.DEEP_SLEEP else self._reason(end)
            except _Over:
                return

    def _sleep(self) -> str:
        """Deep sleep, to its end: the chip is silent, and deaf to all but its wake sources and EN."""
        board = self._chip.board
        board.fall_asleep()
        board.check = self._check_over
        try:
            board.sleep_through()
        except ChipReset as reset:
            return self._reason(Exit(Ended.BROWN_OUT if reset.cause is Reset.BROWN_OUT else Ended.RESET_PIN))
        return "deep-sleep"

    def _check_over(self) -> None:
        if self._ended.is_set():
            raise _Over

    def _reason(self, end: Exit) -> str:
        """Say on the console what the chip says about how it ended; returns the reason of the next boot."""
        if end.why is Ended.CRASH:
            return self._panic(end.detail)
        if end.why is Ended.WATCHDOG:
            return self._bite()
        if end.why is Ended.BROWN_OUT:
            self._emit(b"\r\nBrownout detector was triggered\r\n\r\n", APP_BAUD)
            return "brown-out"
        return "external" if end.why is Ended.RESET_PIN else "software"

    def _bite(self) -> str:
        if self._chip.spec.name == "esp8266":
            return "watchdog"  # its hardware says nothing before the ROM does
        at = f"E ({self._chip.board.clock.now_ns // 1_000_000}) task_wdt: "
        text = (
            f"{at}Task watchdog got triggered. The following tasks/users did not reset the watchdog in time:\n"
            f"{at} - mp_task (CPU 1)\n{at}Tasks currently running:\n{at}CPU 0: IDLE0\n{at}CPU 1: mp_task\n"
            f"{at}Aborting.\n\nRebooting...\n"
        )
        self._emit(text.replace("\n", "\r\n").encode(), APP_BAUD)
        return "task-watchdog"

    def _panic(self, detail: str) -> str:
        detail = "".join(c if " " <= c <= "~" else "?" for c in detail)[:120]
        if self._chip.spec.name == "esp8266":
            text = (
                f"\nFatal exception 28(LoadProhibitedCause): {detail}\n"
                "epc1=0x40209004, epc2=0x00000000, epc3=0x00000000, excvaddr=0x00000000, depc=0x00000000\n"
            )
        else:
            text = (
                "\nGuru Meditation Error: Core  0 panic'ed (StoreProhibited). Exception was unhandled.\n"
                f"{detail}\n\nBacktrace: 0x400d1234:0x3ffb5a00\n\n\nELF file SHA256: 0000000000000000\n\n"
                "Rebooting...\n"
            )
        self._emit(text.replace("\n", "\r\n").encode(), APP_BAUD)
        self._ended.wait(BOOT_LOOP_PAUSE)
        return "panic"
