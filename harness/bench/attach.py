"""One board of the bench made ready for scenarios: locked, started, flashed, its VM answering.

The order matters: the lock before anything touches the port, the image checks before anything is erased,
the identity of the firmware after the reset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from harness.errors import BenchFault, UsageError
from harness.firmware.inspect import require_for
from harness.firmware.partitions import parse_table
from harness.firmware.virtual_image import VirtualChip, flash_offset, layout
from harness.flashing.esp import EspFlasher, FlashImage, FlashReport
from harness.flashstore.romfs import MAGIC
from harness.flashstore.suite_image import suite_files, suite_romfs
from harness.inventory.discover import find_port
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
from harness.link.ports import open_port
from harness.link.session import Port, Session
from harness.link.transcript import Transcript
from harness.power.reset import strategy_for
from harness.results.record import FirmwareRecord
from harness.runtimes.base import Facts, Hand
from harness.runtimes.micropython import MicroPythonBoard
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.firmware import build_firmware

#: Told what is being done now: a step's name and (done, total) in bytes, (0, 0) where that is not known.
Report = Callable[[str, int, int], None]

#: A run that was killed lets go of its boards within this time, in seconds.
_LOCK_PATIENCE = 10.0
_ESP32_TABLE = (0x8000, 0xC00)


@dataclass(frozen=True)
class Options:
    """How boards are made ready. ``state`` is the bench's state folder."""

    state: Path
    flash: bool = True
    variant: str | None = None


@dataclass(frozen=True)
class _Firmware:
    images: tuple[FlashImage, ...]
    record: FirmwareRecord


def firmware_of(board: Board, variant: str | None, report: Report) -> _Firmware | None:
    """The images that ``board`` is to be flashed with, checked for its chip; None when it has none.

    Raises UsageError for an image that is not for this chip, damaged or missing.
    """
    if board.firmware is None:
        return None
    if board.firmware.build:
        assert board.virtual is not None
        name = variant or board.firmware.variant
        data = build_firmware(
            board.chip,
            variant=name,
            flash_size=board.virtual.flash_size,
            progress=lambda text: report(text, 0, 0),
        )
        sources = [
            (
                flash_offset(cast(VirtualChip, board.chip)),
                data,
                f"virtual firmware{f' ({name})' if name else ''}",
                "firmware",
            )
        ]
    else:
        sources = []
        for image in board.images:
            assert image.offset is not None
            sources.append((image.offset, _read(image.path), image.path.name, image.kind))
    if not sources:
        return None
    size = board.virtual.flash_size if board.virtual else None
    infos = [
        require_for(board.chip, offset, data, size, name=name, kind=kind)  # type: ignore[arg-type]
        for offset, data, name, kind in sources
    ]
    versions = [info.version for info in infos if info.version]
    digest = hashlib.sha256(b"".join(data for _, data, _, _ in sources)).hexdigest()
    record = FirmwareRecord(sources[0][2], versions[0] if versions else "", digest)
    return _Firmware(tuple(FlashImage(offset, data, name) for offset, data, name, _ in sources), record)


def check_images(boards: list[Board]) -> None:
    """Look at the images of all boards before the first one is touched. Raises UsageError."""
    for board in boards:
        if board.images:
            firmware_of(board, None, lambda *_: None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise UsageError(
            f"firmware image {path} cannot be read: {problem.strerror}", hint="check 'firmware' in boards.yaml"
        ) from None


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
        self.runtime: MicroPythonBoard
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
        if self.board.runtime != "micropython":
            raise UsageError(
                f"{self.board.id}: runtime {self.board.runtime} is not supported by this version",
                hint="choose other boards with --boards",
            )
        firmware = firmware_of(self.board, self._options.variant, self._report) if self._options.flash else None
        if firmware is not None and self.board.flash_method not in ("esptool", "none"):
            raise UsageError(
                f"{self.board.id}: flash.method {self.board.flash_method} is not supported by this version",
                hint="give --no-flash to test the firmware that the board holds",
            )
        self._report("locking", 0, 0)
        lock = board_lock(self.board, self._options.state, purpose="harness run", timeout=_LOCK_PATIENCE)
        self._stack.enter_context(lock)
        self.address = self._find()
        console = self.board.console
        port = open_port(self.address, baud=console.baud, dtr=console.dtr, rts=console.rts)
        self._stack.callback(port.close)
        flashed = firmware is not None and self.board.flash_method == "esptool"
        if flashed:
            assert firmware is not None
            self.flashed = self._flash(port, firmware)
        reset = strategy_for(self.board)
        session = Session(cast(Port, port), self.transcript)
        self._stack.callback(session.close)
        self.runtime = MicroPythonBoard(
            session,
            reset=(lambda: reset(cast(Any, session.port))) if reset else None,
            hands=self._hands if self.virtual else None,
            buffer=console.buffer,
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

    def _flasher(self, port: Any) -> EspFlasher:
        flash = self.board.flash
        return EspFlasher(
            self.board.chip,
            port,
            baud=flash.baud,
            progress=self._report,
            connect_attempts=flash.connect_attempts,
            before=flash.before,
            stub=flash.stub,
            console_baud=self.board.console.baud,
        )

    def _flash(self, port: Any, firmware: _Firmware) -> FlashReport:
        with self._flasher(port) as flasher:
            self._check_mac(flasher.identity.mac)
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

    def _check_mac(self, mac: str) -> None:
        wanted = self.board.identity.mac if self.board.identity else None
        if wanted is not None and wanted != mac:
            raise BenchFault(
                f"{self.board.id}: expected the chip with MAC {wanted}, at {self.address} is {mac}",
                hint="boards were swapped, or identity.mac is wrong; nothing was written",
            )

    def _romfs_region(self, flasher: EspFlasher, images: list[FlashImage]) -> tuple[int, int] | None:
        """(offset, size) of the chip's ROMFS region; None when the board has none that is known."""
        if "romfs" not in self.board.capabilities:
            return None
        if self.board.virtual is not None:
            return layout(cast(VirtualChip, self.board.chip), self.board.virtual.flash_size)["romfs"]
        if self.board.chip == "esp8266":
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
            with self._flasher(session.port) as flasher:
                self._check_mac(flasher.identity.mac)
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

    def _identify(self, firmware: _Firmware | None) -> None:
        """The VM that answers must be the firmware that was written."""
        version = self.facts.version
        if firmware is not None:
            expected = firmware.record.version
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


def virtual_spec(board: Board, state: Path, *, keep: bool = False) -> VirtualSpec:
    """The process description of a virtual board."""
    virtual = board.virtual
    assert virtual is not None
    return VirtualSpec(
        id=board.id,
        chip=board.chip,
        state_dir=str(state / "virtual"),
        flash_size=virtual.flash_size,
        mac=virtual.mac or "",
        port=virtual.port or 0,
        pty=virtual.pty,
        keep=keep,
        pace=virtual.pace,
        loopback=board.wiring.loopback,
        button=board.wiring.button,
        gpio16_rst=board.wiring.gpio16_rst,
    )


def attach(board: Board, options: Options, report: Report) -> AttachedBoard:
    """Make ``board`` ready; whatever was taken is given back when that fails."""
    attached = AttachedBoard(board, options, report)
    try:
        attached.make_ready()
    except BaseException:
        attached.close()
        raise
    return attached
