"""The flash of one board: what belongs there, what was written, and what is written beside the firmware.

The identity of the chip is checked each time before anything is written, and a note in the bench's state folder says
that a write goes on, so that the next run can tell of one that was cut off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from harness.bench.boot_slot import another_application, unconfirmed_update
from harness.bench.checked_firmware import CheckedFirmware, Report
from harness.bench.device import Device
from harness.bench.firmware_record import FirmwareRecord
from harness.chips import CHIPS
from harness.errors import BenchFault, FinalFault, UsageError
from harness.flashing.flasher import ChipIdentity, Flasher, FlashImage, FlashJob, FlashReport, Progress
from harness.flashing.mark import WriteMark
from harness.flashing.methods import flasher_for, needs_port
from harness.formats.lfs.region import FoundImage, find_image
from harness.formats.suite_romfs import suite_romfs
from harness.inventory.model import Board
from harness.link.ports import OpenPort


class BoardFlash:
    """``state`` is the bench's state folder, ``report`` hears of each step, ``address`` says where the board is. A port
    that is given is the board's console, open and with nobody else on it; when a write ends, the chip starts its
    application. ``attended``: a person reads what ``report`` hears, and can press buttons."""

    def __init__(
        self,
        board: Board,
        device: Device,
        state: Path,
        report: Report,
        address: Callable[[], str],
        *,
        attended: bool = False,
    ) -> None:
        self._attended = attended
        self._board = board
        self._device = device
        self._report = report
        self._address = address
        self._mark = WriteMark(state / "flashing", board.id)
        #: What belongs in the flash; None when the board is tested with what it holds.
        self.firmware: CheckedFirmware | None = None
        #: What is kept of it with the results.
        self.record = FirmwareRecord("", "", "")
        #: The last time that the firmware was written.
        self.written: FlashReport | None = None
        #: Whether the boot loader has told MAC or unique id, and it is the one of the bench file.
        self.identity_proved = False
        #: The ROMFS image that the chip holds and the reference must hold too; empty when unknown.
        self.romfs = b""
        #: What a NodeMCU board's Lua Flash Store held before the firmware was written the first time; None: not known.
        self.lfs_before: FoundImage | None = None

    @property
    def can_write(self) -> bool:
        """Whether there is firmware, and a way to write it."""
        return self.firmware is not None and self._board.flash_method != "none"

    @property
    def proved(self) -> bool:
        """Whether the flash is known to hold what was written the last time."""
        return self.written is not None and self.written.proved

    @property
    def by_hand(self) -> bool:
        """Whether a person had to bring the chip into its boot loader the last time."""
        return self.written is not None and self.written.by_hand

    @property
    def needs_port(self) -> bool:
        """Whether it is written over the console's port. Otherwise the port may come and go with it."""
        return needs_port(self._board)

    def write(
        self, port: OpenPort | None, *, romfs: bool = True, enter_loader: Callable[[], None] | None = None
    ) -> FlashReport:
        """Write what differs in the flash from what belongs there, and with ``romfs`` the suites' ROMFS image.

        ``enter_loader`` brings a board that runs into its USB boot loader.
        """
        assert self.firmware is not None
        cut_off = self._mark.found()
        if cut_off:
            self._report(f"{cut_off}; comparing and writing again", 0, 0)
        progress = self._mark.watched(self.firmware.record.name, self._report)
        with flasher_for(self._job(port, progress, enter_loader)) as flasher:
            self._check_identity(flasher.identity)
            images = list(self.firmware.images)
            region = self._device.romfs_region(flasher, images) if romfs else None
            if region is not None:
                offset, size = region
                self.romfs = suite_romfs()
                if len(self.romfs) > size:
                    raise UsageError(f"{self._board.id}: the suite's ROMFS image does not fit into {size} bytes")
                images.append(FlashImage(offset, self.romfs, "ROMFS image of the suites", size))
            if self.written is None and self._tells_of_lfs:
                self.lfs_before = find_image(flasher.read)
            self.written = flasher.write(images)
            self._check_start(flasher, images)
        self._mark.clear()
        if cut_off:
            self.written.warnings.append(f"{cut_off}; it was written again")
        self.record = self.firmware.record
        return self.written

    def write_romfs(self, port: OpenPort, image: bytes, enter_loader: Callable[[], None] | None = None) -> FlashReport:
        """Write the ROMFS region alone, as far as it differs; :attr:`romfs` stays as it is.

        Raises UsageError for a board without such a region, or an image that does not fit.
        """
        with flasher_for(self._job(port, self._mark.watched("a ROMFS image", self._report), enter_loader)) as flasher:
            self._check_identity(flasher.identity)
            region = self._device.romfs_region(flasher, [])
            if region is None:
                raise UsageError(
                    f"{self._board.id}: the flash has no ROMFS region that is known",
                    hint="needs the capability 'romfs' and a partition of that name (ESP32)",
                )
            offset, size = region
            if len(image) > size:
                raise UsageError(f"{self._board.id}: {len(image)} bytes do not fit into the {size} of its ROMFS")
            report = flasher.write([FlashImage(offset, image, "ROMFS image", size)])
        self._mark.clear()
        return report

    def write_spare(self, port: OpenPort, data: bytes, enter_loader: Callable[[], None] | None = None) -> bytes:
        """Write where the flash holds nothing that its VM uses; what is read back there.

        Raises UsageError for a board of which no such place is known.
        """
        place = self._device.spare_flash
        if place is None:
            raise UsageError(f"{self._board.id}: no place in its flash is known to be free")
        with flasher_for(self._job(port, self._mark.watched("spare flash", self._report), enter_loader)) as flasher:
            self._check_identity(flasher.identity)
            padded = data.ljust(-len(data) % 4 + len(data), b"\xff")
            flasher.write([FlashImage(place, padded, "spare flash")])
            came = flasher.read(place, len(data))
        self._mark.clear()
        return came

    def _job(
        self, port: OpenPort | None, progress: Progress, enter_loader: Callable[[], None] | None = None
    ) -> FlashJob:
        address = self._address()
        if port is None:
            with contextlib.suppress(BenchFault):  # a board that only shows up while it is written has none yet
                address = self._device.find()
        return FlashJob(self._board, port, progress, address, enter_loader, self._attended)

    @property
    def _tells_of_lfs(self) -> bool:
        """Whether its flash can be read for a Lua Flash Store before it is written: the ESP8266's ROM reads none."""
        board = self._board
        known = board.runtime == "nodemcu" and CHIPS[board.chip].family == "esp8266"
        return known and board.flash_method == "esptool" and board.flash.stub

    def _check_start(self, flasher: Flasher, images: list[FlashImage]) -> None:
        board = self._board
        if board.flash_method != "esptool" or CHIPS[board.chip].family != "esp32":
            return
        if (update := unconfirmed_update(flasher, images)) and self.written is not None:
            self.written.warnings.append(update)
        if other := another_application(flasher, board.chip, images):
            self._mark.clear()
            raise FinalFault(
                f"{board.id}: {other}",
                hint="erase its partition 'otadata' once (esptool erase-region), or write the image to that partition",
            )

    def _check_identity(self, chip: ChipIdentity) -> None:
        self.identity_proved |= require_identity(self._board, chip, self._address())


def require_identity(board: Board, chip: ChipIdentity, address: str) -> bool:
    """Whether ``chip``, found at ``address``, is proved to be the board's. Raises FinalFault when it is another's."""
    proved, identity = False, board.identity
    if identity is None:
        return proved
    for key, name, wanted, came in (
        ("mac", "MAC", identity.mac, chip.mac),
        ("uid", "unique id", identity.uid, chip.uid),
    ):
        proved |= wanted is not None and came == wanted
        if wanted is not None and came and wanted != came:
            raise FinalFault(
                f"{board.id}: expected the chip with {name} {wanted}, at {address} is {came}",
                hint=f"boards were swapped, or identity.{key} is wrong; nothing was written",
            )
    return proved
