"""A board made ready: its port, its flash, its VM, and proof that what answers is what was written. In this order."""

from __future__ import annotations

from harness.bench.application import LeftApplication
from harness.bench.board_flash import BoardFlash
from harness.bench.board_line import BoardLine
from harness.bench.checked_firmware import Report
from harness.bench.device import Device
from harness.bench.firmware_record import FirmwareRecord
from harness.errors import BenchFault
from harness.formats.romfs import MAGIC
from harness.formats.suite_romfs import suite_files, suite_romfs
from harness.inventory.model import Board
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import BoardRuntime
from harness.runtimes.traits import RuntimeTraits

#: How long a board's own USB may take to come back after a reset, in seconds.
_USB_PATIENCE = 10.0


class Preparation:
    """Of one board, as often as it is needed."""

    def __init__(
        self,
        board: Board,
        device: Device,
        traits: RuntimeTraits,
        flash: BoardFlash,
        line: BoardLine,
        report: Report,
        application: LeftApplication,
        *,
        set_aside: bool = False,
    ) -> None:
        self._application = application
        self._set_aside = set_aside
        self._board = board
        self._device = device
        self._traits = traits
        self._flash = flash
        self._line = line
        self._report = report
        #: What the VM can do, once it has been asked.
        self.abilities = Abilities()

    def prepare(self, patience: float = 0.0) -> None:
        """``patience`` in seconds: how long the port may take to appear.

        Raises BenchFault when the bench does not play along, FirmwareFailure when the VM crashes or hangs.
        """
        flash, line = self._flash, self._line
        written_before = flash.can_write and not flash.needs_port
        if written_before:
            flash.write(None, enter_loader=line.enters_usb_loader)
        port = line.open(max(patience, _USB_PATIENCE) if written_before else patience)
        written_now = flash.can_write and flash.needs_port
        if written_now:
            flash.write(port)
        runtime = line.speak()
        self._report("waiting for the VM", 0, 0)
        if written_now:
            runtime.enter(after_reset=True)
        elif line.resets:
            runtime.hard_reset()
        else:
            runtime.enter()
            if not self._traits.restarts_without_application:
                runtime.soft_reset()
        # What an earlier program left on the heap can be all of a small one; what an application left running prints.
        if self._traits.restarts_without_application:
            runtime.soft_reset()
        self._settle_application(runtime)
        self._identify(runtime)
        self._report("asking the VM what it can do", 0, 0)
        self.abilities = self._traits.ask_abilities(runtime)
        if self._traits.mounts_romfs:
            self._check_romfs(runtime)

    def _settle_application(self, runtime: BoardRuntime) -> None:
        """What an earlier run left aside is put back, or is put where it is to be in this one."""
        runtime.read_facts()  # what cannot take in this program is no question of files
        settle = self._application.set_aside if self._set_aside else self._application.put_back
        if settle(runtime):  # from here on the board runs what it is to run
            if self._line.resets:
                runtime.hard_reset()
            if self._traits.restarts_without_application or not self._line.resets:
                runtime.soft_reset()

    def _identify(self, runtime: BoardRuntime) -> None:
        version = runtime.facts.version
        if self._flash.firmware is not None:
            self._check_version(version)
        else:
            self._flash.record = FirmwareRecord("as found", version, "")

    def identify_again(self) -> None:
        """Ask the VM once more who it is. Raises BenchFault when it is not what was written."""
        self._check_version(self._line.runtime.read_facts().version)

    def _check_version(self, version: str) -> None:
        """The VM that answers must be the firmware that was written."""
        firmware = self._flash.firmware
        expected = firmware.record.version if firmware is not None else ""
        tells = self._traits.image_names_version or self._device.our_build
        if tells and expected and expected not in version:
            raise BenchFault(
                f"{self._board.id}: {expected!r} was written, but {version[:200]!r} answers",
                hint="does the chip boot from another slot (OTA)? Erase its flash once",
            )

    def _check_romfs(self, runtime: BoardRuntime) -> None:
        """Whether the region holds the suite's image, asked of the VM itself."""
        said = runtime.run(
            "import os\ntry:\n names = os.listdir('/rom')\n"
            " print(len(names), sum([os.stat('/rom/' + name)[6] for name in names]))\n"
            "except OSError:\n print('none')"
        ).stdout
        image = self._flash.romfs or (suite_romfs() if "romfs" in self._board.capabilities else b"")
        files = suite_files()
        same = f"{len(files)} {sum(map(len, files.values()))}".encode() in said.splitlines()
        self._flash.romfs = image if same and image.startswith(MAGIC) else b""
