"""A virtual ESP: reset lines, boot ROM, download mode, and the application that its flash holds.

EN and IO0 hang on DTR and RTS through the two transistors of a devkit: equal levels are neutral, RTS alone
pulls EN low (reset), DTR alone pulls IO0 low (download mode). EN's capacitor lets it rise late; here IO0
counts as low when it goes low at any time before EN has risen, so that a host whose line changes are slow
reaches download mode as well as a quick one.
"""

from __future__ import annotations

import threading

from harness.chips import Reset, chip_named
from harness.chips.manners import RV32IMC
from harness.reference.chip_board import ChipReset
from harness.virtual.application import ApplicationFactory, Ended, Exit
from harness.virtual.boot import boot, download_text
from harness.virtual.faults import Fault
from harness.virtual.live_board import Surroundings, virtual_parts
from harness.virtual.native_usb import DownloadLatch, Usb
from harness.virtual.nor_flash import Flash
from harness.virtual.rom import Loader
from harness.virtual.serial_chip import Boot, SerialChip

#: Seconds from releasing EN to the moment the chip starts.
EN_DELAY = 0.15
#: Seconds until the RTC's watchdog resets a chip whose loader was told to arm it: after the host has locked it again,
#: and within the half second that it then waits.
WATCHDOG_DELAY = 0.4
#: Seconds between two tries of a chip that does not boot.
BOOT_LOOP_PAUSE = 0.28
#: A loader's SYNC up to the first of its 0x55: long enough not to stand in a program's upload by chance.
_SYNC = b"\xc0\x00\x08\x24\x00\x00\x00\x00\x00\x07\x07\x12\x20\x55"


class Chip(SerialChip):
    """An ESP8266, or a chip of the ESP32 family."""

    boot_pause = BOOT_LOOP_PAUSE

    def __init__(
        self,
        chip: str,
        flash: Flash,
        mac: bytes,
        factory: ApplicationFactory,
        surroundings: Surroundings | None = None,
        faults: tuple[Fault, ...] = (),
        *,
        fuses: tuple[str, ...] = (),
        revision: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(chip, flash, mac, factory, surroundings, faults)
        view = virtual_parts(chip).esptool
        assert view is not None
        self.spec = view.burnt(fuses, revision)
        self.notices_brown_out = chip != "esp8266"
        manners = chip_named(chip).promised().manners
        self._risc_v = manners is not None and manners.arch == RV32IMC
        # machine.unique_id(): the MAC address, on the ESP8266 its last three bytes as a little-endian word.
        self.uid = mac[:2:-1] + b"\0" if chip == "esp8266" else mac
        self._dtr = self._rts = False
        self._timer: threading.Timer | None = None
        self._latch = DownloadLatch()

    def put_behind(self, usb: Usb) -> None:
        if usb == "serial-jtag" and chip_named(self.name).has_serial_jtag:
            self.usb = usb
        else:
            super().put_behind(usb)

    # -- power and lines -------------------------------------------------------------------------

    def _powered_on(self) -> None:
        if self._io0_low:
            self._download("power-on")
        elif not self._en_low:
            self._start("power-on")

    def brown_out(self) -> None:
        """The supply dips: an ESP32's detector says so and resets the chip. Raises UsageError on an ESP8266."""
        if not self.notices_brown_out:
            super().brown_out()
        with self._lock:
            if self._life is not None:
                self.board.post(_brown_out)

    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        with self._lock:
            if self.faults.lasts("lines-stuck") or self.usb == "cdc":
                return
            if self.usb == "serial-jtag":
                self._usb_lines(dtr, rts)
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

    def _usb_lines(self, dtr: bool, rts: bool) -> None:
        if not self._powered:
            self._latch = DownloadLatch()
            return
        if not self.wires:  # its port has gone, or is about to: its host lets go of both lines
            dtr = rts = False
        wanted = self._latch.lines(dtr=dtr, rts=rts)
        if wanted == "reset":
            self.faults.reset()
            self._hold()
        elif wanted == "download":
            self._download("usb")
        elif wanted == "application":
            self.usb_there(False)
            self._start("usb")

    @property
    def _en_low(self) -> bool:
        return self._rts and not self._dtr

    @property
    def _io0_low(self) -> bool:
        return self._dtr and not self._rts and not self.faults.lasts("strap-high")

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
        self._cancel_timer()
        super()._hold()

    def _download(self, reason: str) -> None:
        self._hold()
        self.usb_there(True)
        baud, text = download_text(self.name, reason)
        self.emit(text, baud)
        self._baud = None
        self._loader = Loader(self.spec, self.flash, self.mac, self)
        self.settled.set()

    def _start(self, reason: str) -> None:
        if self.faults.lasts("strap-low"):
            self._download(reason)
        else:
            super()._start(reason)

    def press_reset(self, *, boot: bool = False) -> None:
        with self._lock:
            if boot and self._powered:
                self._download("external")
            else:
                self.glitch("external")

    def press_buttons_for_sync(self, data: bytes) -> bool:
        with self._lock:
            if self._loader is None and self._powered and _SYNC in data:
                self._download("external")
                return True
            return False

    def leave_download(self) -> None:
        with self._lock:
            if self._loader is not None:
                self._start("external")

    def boot(self, reason: str) -> Boot:
        return boot(self.name, self.flash, reason)

    # -- what the loader asks of its chip --------------------------------------------------------

    def set_baud(self, baud: int) -> None:
        self._baud = baud

    def run_application(self) -> None:
        self._start("software")

    def watchdog_armed(self) -> None:
        self._cancel_timer()
        self._timer = threading.Timer(WATCHDOG_DELAY, self._bitten)
        self._timer.daemon = True
        self._timer.start()

    def _bitten(self) -> None:
        with self._lock:
            if self._timer is not threading.current_thread():
                return
            self._timer = None
            if self._powered:
                self._start("rtc-watchdog")

    # -- last words ------------------------------------------------------------------------------

    def last_words(self, end: Exit) -> tuple[str, str]:
        if end.why is Ended.CRASH:
            return self._panic(end.detail), "panic"
        if end.why is Ended.WATCHDOG:
            return self._watchdog_words()
        if end.why is Ended.BROWN_OUT:
            return "\nBrownout detector was triggered\n\n", "brown-out"
        return "", "external" if end.why is Ended.RESET_PIN else "software"

    def _watchdog_words(self) -> tuple[str, str]:
        if self.name == "esp8266":
            return "", "watchdog"  # its hardware says nothing before the ROM does
        at = f"E ({self.board.clock.now_ns // 1_000_000}) task_wdt: "
        text = (
            f"{at}Task watchdog got triggered. The following tasks/users did not reset the watchdog in time:\n"
            f"{at} - mp_task (CPU {0 if self._risc_v else 1})\n{at}Tasks currently running:\n"
            + (f"{at}CPU 0: mp_task\n" if self._risc_v else f"{at}CPU 0: IDLE0\n{at}CPU 1: mp_task\n")
            + f"{at}Aborting.\n\nRebooting...\n"
        )
        return text, "task-watchdog"

    def _panic(self, detail: str) -> str:
        if self.name == "esp8266":
            return (
                f"\nFatal exception 28(LoadProhibitedCause): {detail}\n"
                "epc1=0x40209004, epc2=0x00000000, epc3=0x00000000, excvaddr=0x00000000, depc=0x00000000\n"
            )
        # ESP-IDF, "Fatal Errors": RISC-V names its faults otherwise, and shows registers in place of a backtrace.
        fault, trace = "StoreProhibited", "Backtrace: 0x400d1234:0x3ffb5a00"
        if self._risc_v:
            fault, trace = "Store access fault", "Core  0 register dump:\nMEPC    : 0x42001234  RA      : 0x42001200"
        return (
            f"\nGuru Meditation Error: Core  0 panic'ed ({fault}). Exception was unhandled.\n"
            f"{detail}\n\n{trace}\n\n\nELF file SHA256: 0000000000000000\n\n"
            "Rebooting...\n"
        )


def _brown_out() -> None:
    raise ChipReset(Reset.BROWN_OUT)
