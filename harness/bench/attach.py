"""One board of the bench made ready for scenarios: locked, started, flashed, its VM answering.

The order matters: the lock before anything touches the port, the image checks before anything is erased,
the identity of the firmware after the reset.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.bench.firmware import CheckedFirmware, Report, firmware_of
from harness.bench.virtual_boards import virtual_spec
from harness.errors import BenchFault, UsageError
from harness.firmware.partitions import parse_table
from harness.firmware.virtual_image import VirtualChip, layout
from harness.flashing.base import ChipIdentity, Flasher, FlashImage, FlashReport
from harness.flashing.methods import flasher_for
from harness.flashstore.romfs import MAGIC
from harness.flashstore.suite_image import suite_files, suite_romfs
from harness.inventory.chips import CHIPS
from harness.inventory.discover import find_port
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
from harness.link.ports import open_port
from harness.link.session import Port, Session
from harness.link.transcript import Transcript
from harness.power.reset import strategy_for
from harness.results.record import FirmwareRecord
from harness.runtimes.base import BoardRuntime, Facts, Hand
from harness.runtimes.of_board import require_spoken, runtime_of
from harness.virtual.bench import RunningBoard, start

#: A run that was killed lets go of its boards within this time, in seconds.
_LOCK_PATIENCE = 10.0
_ESP32_TABLE = (0x8000, 0xC00)


@dataclass(frozen=True)
class Options:
    """How boards are made ready. ``state`` is the bench's state folder."""

    state: Path
    flash: bool = True
    variant: str | None = None


class AttachedBoard:
    """A board that answers. Made by :func:`attach`; gives everything back in :meth:`close`."""

    def __init__(self, board: Board, options: Options, report: Report) -> None:
        self.board = board
        self._options = options
        self._report = report
        self._stack = ExitStack()
        self.address = ""
        #: What hands can do to the board when it is a virtual one.
        self.virtual: RunningBoard | None = None
        self.firmware = FirmwareRecord("", "", "")
        self.flashed: FlashReport | None = None
        #: The ROMFS image that the chip holds and the reference must hold too; empty when unknown.
        self.romfs = b""
        self.runtime: BoardRuntime
        self.transcript = Transcript(options.state / "transcripts" / f"{board.id}.jsonl")

    @property
    def has_hands(self) -> bool:
        return self.runtime.has_hands

    def _hands(self, hand: Hand) -> None:
        """What hands do to a virtual board."""
        assert self.virtual is not None
        if hand.what == "power":
            self.virtual.power(on=False)
            self.virtual.power(on=True)
        else:
            self.virtual.lead(hand.pin, hand.level)
            self.virtual.lead(hand.pin, None)

    @property
    def can_reset(self) -> bool:
        return self.runtime.can_reset

    def make_ready(self) -> None:
        """Raises UsageError before anything is touched, BenchFault when the bench does not play along."""
        require_spoken(self.board)
        firmware = firmware_of(self.board, self._options.variant, self._report) if self._options.flash else None
        flashed = firmware is not None and self.board.flash_method != "none"
        self._report("locking", 0, 0)
        lock = board_lock(self.board, self._options.state, purpose="harness run", timeout=_LOCK_PATIENCE)
        self._stack.enter_context(lock)
        self.address = self._find()
        console = self.board.console
        port = open_port(self.address, baud=console.baud, dtr=console.dtr, rts=console.rts)
        self._stack.callback(port.close)
        if flashed:
            assert firmware is not None
            self.flashed = self._flash(port, firmware)
        reset = strategy_for(self.board)
        session = Session(cast(Port, port), self.transcript)
        self._stack.callback(session.close)
        self.runtime = runtime_of(
            self.board,
            session,
            reset=(lambda: reset(cast(Any, session.port))) if reset else None,
            hands=self._hands if self.virtual else None,
        )
        self._report("waiting for the VM", 0, 0)
        if flashed:
            self.runtime.enter(after_reset=True)
        elif reset is not None and self._lines_work(port):
            self.runtime.hard_reset()
        else:
            self.runtime.enter()
            self.runtime.soft_reset()  # what an earlier program left on the heap can be all of a small one
        self._identify(firmware)
        if self.board.runtime == "micropython":
            self._check_romfs()

    @staticmethod
    def _lines_work(port: Any) -> bool:
        return str(port.port).startswith("rfc2217://") or "/pts/" not in str(Path(str(port.port)).resolve())

    def _find(self) -> str:
        virtual = self.board.virtual
        if virtual is None:
            return find_port(self.board)
        self._report("starting the virtual board", 0, 0)
        running = start(virtual_spec(self.board, self._options.state))
        self._stack.callback(running.stop)
        self.virtual = running
        return running.url

    def _flash(self, port: Any, firmware: CheckedFirmware) -> FlashReport:
        with flasher_for(self.board, port, self._report) as flasher:
            self._check_identity(flasher.identity)
            images = list(firmware.images)
            region = self._romfs_region(flasher, images)
            if region is not None:
                self.romfs = suite_romfs()
                if len(self.romfs) > region[1]:
                    raise UsageError(f"{self.board.id}: the suite's ROMFS image does not fit into {region[1]} bytes")
                images.append(FlashImage(region[0], self.romfs, "ROMFS image of the suites"))
            report = flasher.write(images)
        self.firmware = firmware.record
        return report

    def _check_identity(self, found: ChipIdentity) -> None:
        identity = self.board.identity
        if identity is None:
            return
        for key, name, wanted, came in (
            ("mac", "MAC", identity.mac, found.mac),
            ("uid", "unique id", identity.uid, found.uid),
        ):
            if wanted is not None and came and wanted != came:
                raise BenchFault(
                    f"{self.board.id}: expected the chip with {name} {wanted}, at {self.address} is {came}",
                    hint=f"boards were swapped, or identity.{key} is wrong; nothing was written",
                )

    def _romfs_region(self, flasher: Flasher, images: list[FlashImage]) -> tuple[int, int] | None:
        """(offset, size) of the chip's ROMFS region; None when the board has none that is known."""
        if "romfs" not in self.board.capabilities:
            return None
        if self.board.virtual is not None:
            return layout(cast(VirtualChip, self.board.chip), self.board.virtual.flash_size)["romfs"]
        if CHIPS[self.board.chip].family != "esp32":
            return None
        offset, size = _ESP32_TABLE
        table = next(
            (
                image.data[offset - image.offset : offset - image.offset + size]
                for image in images
                if image.offset <= offset < image.offset + len(image.data)
            ),
            None,
        )
        for partition in parse_table(table if table is not None else flasher.read(offset, size)):
            if partition.label == "romfs":
                return partition.offset, partition.size
        return None

    def write_romfs(self, image: bytes) -> FlashReport:
        """Write the chip's ROMFS region alone, as far as it differs, and start the board again.

        :attr:`romfs` is left as it is: what the reference holds is the caller's business. Raises UsageError for
        a board without such a region, or an image that does not fit; BenchFault when the board does not answer.
        """
        session = self.runtime.session
        session.forget_input()
        try:
            with flasher_for(self.board, session.port, self._report) as flasher:
                self._check_identity(flasher.identity)
                region = self._romfs_region(flasher, [])
                if region is None:
                    raise UsageError(
                        f"{self.board.id}: the flash has no ROMFS region that is known",
                        hint="needs the capability 'romfs' and a partition of that name (ESP32)",
                    )
                if len(image) > region[1]:
                    raise UsageError(
                        f"{self.board.id}: {len(image)} bytes do not fit into the {region[1]} of its ROMFS"
                    )
                report = flasher.write([FlashImage(region[0], image, "ROMFS image")])
        except UsageError:
            self.runtime.enter(after_reset=True)  # refused, and the application was started again all the same
            raise
        self.runtime.enter(after_reset=True)
        return report

    # -- identity --------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        return self.runtime.facts

    def _identify(self, firmware: CheckedFirmware | None) -> None:
        """The VM that answers must be the firmware that was written."""
        version = self.facts.version
        if firmware is not None:
            expected = firmware.record.version
            if self.board.runtime == "circuitpython" and self.board.virtual is None:
                expected = ""  # whether a release's application description holds CircuitPython's version is untried
            if expected and expected not in version:
                raise BenchFault(
                    f"{self.board.id}: {expected!r} was written, but {version!r} answers",
                    hint="does the chip boot from another slot (OTA)? Erase its flash once",
                )
        else:
            self.firmware = FirmwareRecord("as found", version, "")

    def _check_romfs(self) -> None:
        """Whether the region holds the suite's image, asked of the VM itself."""
        found = self.runtime.run(
            "import os\ntry:\n names = os.listdir('/rom')\n"
            " print(len(names), sum([os.stat('/rom/' + name)[6] for name in names]))\n"
            "except OSError:\n print('none')"
        ).stdout
        image = self.romfs or (suite_romfs() if "romfs" in self.board.capabilities else b"")
        files = suite_files()
        same = found.strip() == f"{len(files)} {sum(map(len, files.values()))}".encode()
        self.romfs = image if same and image.startswith(MAGIC) else b""

    def close(self) -> None:
        self._stack.close()
        self.transcript.close()


def attach(board: Board, options: Options, report: Report) -> AttachedBoard:
    """Make ``board`` ready; whatever was taken is given back when that fails."""
    attached = AttachedBoard(board, options, report)
    try:
        attached.make_ready()
    except BaseException:
        attached.close()
        raise
    return attached
