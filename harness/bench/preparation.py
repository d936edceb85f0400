"""A board made ready: its port, its flash, its VM, and proof that what answers is what was written. In this order."""

from __future__ import annotations

from collections.abc import Callable

from harness.bench.board_flash import BoardFlash
from harness.bench.board_line import BoardLine
from harness.bench.checked_firmware import Report
from harness.bench.device import Device
from harness.bench.firmware_record import FirmwareRecord
from harness.bench.who_answers import another_board, unproved
from harness.errors import BenchFault, FinalFault
from harness.formats.romfs import MAGIC
from harness.formats.suite_romfs import suite_files, suite_romfs
from harness.inventory.model import Board
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import BoardRuntime
from harness.runtimes.traits import RuntimeTraits

#: How long a board's own USB may take to come back after a reset, in seconds.
_USB_PATIENCE = 10.0


class Preparation:
    """Of one board, as often as needed. ``happened`` hears of what is no error: a kind of event, and its words."""

    def __init__(
        self,
        board: Board,
        device: Device,
        traits: RuntimeTraits,
        flash: BoardFlash,
        line: BoardLine,
        report: Report,
        happened: Callable[[str, str], None],
    ) -> None:
        self._board = board
        self._device = device
        self._traits = traits
        self._flash = flash
        self._line = line
        self._report = report
        self._happened = happened
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
            runtime.soft_reset()  # what an earlier program left on the heap can be all of a small one
        self._prove_identity(runtime)
        self._identify(runtime)
        self._report("asking the VM what it can do", 0, 0)
        self.abilities = self._traits.ask_abilities(runtime)
        if self._traits.mounts_romfs:
            self._check_romfs(runtime)

    def _prove_identity(self, runtime: BoardRuntime) -> None:
        """Who answers, asked before anything else. Raises FinalFault for another board."""
        board = self._board
        facts, names = runtime.facts, self._traits.ask_chip_names(runtime)
        if other := another_board(board, facts, names):
            raise FinalFault(
                f"{board.id}: at {self._line.address} is another board: {other}",
                hint="boards were swapped, or the entry in boards.yaml is wrong; nothing was tested",
            )
        if doubt := unproved(board, facts, names, asked_loader=self._flash.identity_proved):
            self._happened("identity", doubt)

    def _identify(self, runtime: BoardRuntime) -> None:
        version = runtime.facts.version
        if self._flash.firmware is not None:
            self._check_version(version)
        else:
            self._flash.record = FirmwareRecord("as found", version, "")

    def identify_again(self) -> None:
        """Ask the VM once more who it is. Raises BenchFault when it is not what was written."""
        runtime = self._line.runtime
        self._prove_identity(runtime)
        self._check_version(runtime.read_facts().version)

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
        same = said.strip() == f"{len(files)} {sum(map(len, files.values()))}".encode()
        self._flash.romfs = image if same and image.startswith(MAGIC) else b""
