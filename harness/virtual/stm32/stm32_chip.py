"""A virtual STM32: NRST and BOOT0 on the modem lines, option bytes, system-memory boot loader, standby.

Wired as stm32loader expects it: DTR asserted pulls NRST low, RTS asserted pulls BOOT0 low (and RTS let go pulls it
high). BOOT0 is looked at when a reset ends, whatever caused it. While no client drives the lines NRST is pulled up
and BOOT0 down, so the chip starts what its flash holds.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

from harness.chips import STM32_FLASH_BASE, Stm32LoaderView
from harness.errors import UsageError
from harness.virtual.application import ApplicationFactory, Ended, Exit
from harness.virtual.faults import Fault
from harness.virtual.live_board import Surroundings, virtual_parts
from harness.virtual.nor_flash import Flash
from harness.virtual.serial_chip import Boot, SerialChip
from harness.virtual.stm32.bootloader import SYNC, Bootloader
from harness.virtual.stm32.dfu import DfuLoader
from harness.virtual.stm32.options import Options
from harness.virtual.stm32.stm32_boot import boot

#: Seconds that the loader is busy without letting go of the chip: a block's programming, for which a thread costs more.
_IN_PLACE = 0.005
#: How a board's lines may differ from the wiring that stm32loader expects.
LINES = frozenset({"swapped", "reset-inverted", "boot0-inverted", "boot0-unwired"})


def unique_id(mac: bytes) -> bytes:
    """The 96 bits of a board, laid out as ST does: wafer coordinates, wafer number, seven characters of the lot."""
    return mac[2:6] + mac[1:2] + b"VIRTUAL"


class Stm32Chip(SerialChip):
    """``options`` keeps the option bytes; ``lines`` are names of :data:`LINES`. Raises UsageError for others."""

    def __init__(
        self,
        chip: str,
        flash: Flash,
        mac: bytes,
        factory: ApplicationFactory,
        surroundings: Surroundings | None = None,
        *,
        options: Flash | None = None,
        lines: Collection[str] = (),
        faults: tuple[Fault, ...] = (),
    ) -> None:
        unknown = sorted(set(lines) - LINES)
        if unknown:
            raise UsageError(f"no such wiring of NRST and BOOT0: {', '.join(unknown)}; known: {', '.join(LINES)}")
        super().__init__(chip, flash, mac, factory, surroundings, faults)
        self.spec = loader_view(chip)
        self.uid = unique_id(mac)
        self.options = Options(self.spec, options)
        self._wired = frozenset(lines)
        self._fast = surroundings is not None and surroundings.fast
        self._driven: tuple[bool, bool] | None = None  # DTR and RTS; None: nobody drives them
        self._quiet = True  # on a wire without lines: nothing was sent since it was opened
        self._dfu: DfuLoader | None = None

    # -- lines -----------------------------------------------------------------------------------

    @property
    def _nrst_low(self) -> bool:
        if self._driven is None:
            return False
        asserted = self._driven["swapped" in self._wired]
        return asserted != ("reset-inverted" in self._wired)

    @property
    def _boot0(self) -> bool:
        if self._driven is None or "boot0-unwired" in self._wired:
            return False
        asserted = self._driven["swapped" not in self._wired]
        return asserted == ("boot0-inverted" in self._wired)

    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        if self.usb == "none":
            self._drive((dtr, rts))

    def release_lines(self) -> None:
        self._drive(None)

    def _drive(self, lines: tuple[bool, bool] | None) -> None:
        with self._lock:
            if lines is not None and self.faults.lasts("lines-stuck"):
                return
            was_low = self._nrst_low
            self._driven = lines
            if not self._powered or self._nrst_low == was_low:
                return
            if was_low:
                self._out_of_reset("external")
            else:
                self.faults.reset()
                self._hold()

    # -- states ----------------------------------------------------------------------------------

    def _powered_on(self) -> None:
        if not self._nrst_low:
            self._out_of_reset("power-on")

    @property
    def _loads(self) -> bool:
        """Level 2 of the readout protection leaves no way into the boot loader."""
        return self._boot0 and self.options.level < 2

    def _out_of_reset(self, reason: str) -> None:
        if self._loads:
            self._load()
        elif self.usb == "cdc" and reason == "power-on" and self.boot(reason).payload is None:
            # Without firmware it has no port and no way there: somebody has held BOOT0 as it got power.
            self._dfu = DfuLoader(self.spec, self.flash, self.uid)
            self.settled.set()
        else:
            self._run_flash(reason)

    def _run_flash(self, reason: str) -> None:
        self._hold()
        self._parity = "N"
        self._quiet = True  # a client that opens the port again at once may not be seen to have closed it
        self._start(reason)

    def _load(self) -> None:
        self._hold()
        self._baud, self._parity = None, "E"
        self._loader = Bootloader(self.spec, self.flash, self.options, self.uid, self, fast=self._fast)
        self.settled.set()

    def _hold(self) -> None:
        self._dfu = None
        super()._hold()

    @property
    def usb_loader(self) -> DfuLoader | None:
        return self._dfu

    def leave_usb_loader(self) -> None:
        with self._lock:
            if self._dfu is not None:
                self._run_flash("software")

    def _reset_again(self, reason: str) -> bool:
        wanted, self.board.into_loader = self.board.into_loader, False
        if wanted and self.usb == "cdc" and self.options.level < 2:
            self._dfu = DfuLoader(self.spec, self.flash, self.uid)
            return False
        if not (self._loads or (wanted and self.options.level < 2)):
            return True
        # This is the thread of the life that ends, which whoever holds the lock may be waiting for.
        threading.Thread(target=self._load_after, args=(self._life,), name="reset", daemon=True).start()
        return False

    def _load_after(self, life: object) -> None:
        with self._lock:
            if self._life is life is not None:
                self._load()

    def press_buttons_for_sync(self, data: bytes) -> bool:
        """A lone 0x7F as the first that a client sends: nobody's first keystroke is the delete key."""
        with self._lock:
            first, self._quiet = self._quiet, False
            if first and data == bytes([SYNC]) and self._loader is None and self._powered and self.options.level < 2:
                self._load()
                return True
            return False

    def leave_download(self) -> None:
        with self._lock:
            self._quiet = True
            if self._loader is not None and not self._boot0:
                self._run_flash("external")

    def boot(self, reason: str) -> Boot:
        return boot(self.spec, self.flash)

    def last_words(self, end: Exit) -> tuple[str, str]:
        """Nothing: MicroPython's STM32 port resets without a word at a hard fault (ports/stm32/stm32_it.c)."""
        reasons = {
            Ended.CRASH: "panic",
            Ended.WATCHDOG: "watchdog",
            Ended.BROWN_OUT: "brown-out",
            Ended.RESET_PIN: "external",
        }
        return "", reasons.get(end.why, "software")

    # -- what the boot loader asks of its chip ---------------------------------------------------

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        if seconds < _IN_PLACE:
            time.sleep(seconds)
            action()
            return
        loader = self._loader

        def due() -> None:
            with self._lock:
                if self._loader is loader:
                    action()

        timer = threading.Timer(seconds, due)
        timer.daemon = True
        timer.start()

    def go(self, address: int) -> None:
        """Code in RAM is not executed: what hosts put there resets the chip, so that is what it does."""
        offset = address - STM32_FLASH_BASE
        if offset == 0:
            self._run_flash("external")  # a jump: the reset flags are still those of the reset before
        elif 0 < offset < self.flash.size:
            self._hold()  # some other program: nothing of it is heard on this line
        else:
            self.reset()

    def reset(self) -> None:
        self._out_of_reset("software")


def loader_view(chip: str) -> Stm32LoaderView:
    view = virtual_parts(chip).stm32
    assert view is not None
    return view


def flash_of(chip: str, path: Path | None = None) -> Flash:
    """An erased flash with the chip's geometry, or the one kept in the file ``path``."""
    spec = loader_view(chip)
    return Flash(spec.flash_size, path, sector=spec.granule, once=spec.unit if spec.once else 0)
