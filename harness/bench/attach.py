"""One board of the bench made ready for scenarios: locked, started, flashed, its VM answering.

The order matters: the lock before anything touches the port, the image checks before anything is erased,
the identity of the firmware after the reset.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import serial

from harness.bench.firmware import CheckedFirmware, Report, firmware_of
from harness.bench.health import QUARANTINE_AFTER, HealthBook, Quarantined, State
from harness.bench.recovery_ladder import Rung, climb
from harness.bench.reopen import Reopen
from harness.bench.romfs import romfs_region
from harness.bench.virtual_boards import virtual_spec
from harness.errors import BenchFault, FinalFault, FirmwareFailure, UsageError
from harness.flashing.base import ChipIdentity, FlashImage, FlashReport
from harness.flashing.mark import WriteMark
from harness.flashing.methods import WITHOUT_PORT, flasher_for
from harness.formats.romfs import MAGIC
from harness.formats.suite_romfs import suite_files, suite_romfs
from harness.formats.virtual_image import layout
from harness.inventory.discover import find_port
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
from harness.link.deadline import Deadline
from harness.link.ports import OpenPort, is_pty, open_port
from harness.link.session import Port, Session
from harness.link.transcript import Transcript
from harness.link.transcript_files import FOLDER
from harness.power.base import cycle
from harness.power.gpio_line import GpioSwitch
from harness.power.reset import strategy_for
from harness.power.switches import switch_for
from harness.results.run_record import FirmwareRecord
from harness.runtimes.base import BoardRuntime, Facts, Intervention
from harness.runtimes.traits import Means, traits_of
from harness.virtual.bench import RunningBoard, running, start

#: A run that was killed lets go of its boards within this time, in seconds.
_LOCK_PATIENCE = 10.0
#: A port that went comes back within this time, in seconds.
_PORT_PATIENCE = 5.0
#: How long a board's own USB may take to come back after a reset, in seconds.
_USB_PATIENCE = 10.0
#: Characters of an event's words: a board can have a say in them.
_EVENT_LIMIT = 300


#: Is told what happens to a board beside its scenarios: the kind of event, and its words.
Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class Options:
    """How boards are made ready. ``state`` is the bench's state folder."""

    state: Path
    flash: bool = True
    variant: str | None = None
    purpose: str = "harness run"
    #: How long another process may go on holding the board, in seconds.
    wait: float = _LOCK_PATIENCE
    #: Use a board that is in quarantine, to see whether it is well again.
    check: bool = False
    #: Folder of the run's transcripts within ``transcripts``; without one the board's last transcript is replaced.
    run_folder: str = ""

    def transcript_of(self, board: str) -> str:
        """The path of the board's transcript, relative to :attr:`state`."""
        return "/".join(filter(None, (FOLDER, self.run_folder, f"{board}.jsonl")))


class AttachedBoard:
    """A board that answers. Made by :func:`attach`; gives everything back in :meth:`close`."""

    def __init__(self, board: Board, options: Options, report: Report, tell: Tell | None = None) -> None:
        self.board = board
        self._options = options
        self._report = report
        self._tell = tell or (lambda _kind, _text: None)
        self._stack = ExitStack()
        self._link = ExitStack()  # the port and the session on it
        self._firmware: CheckedFirmware | None = None
        self._patience = _PORT_PATIENCE
        self.health = HealthBook(options.state)
        self.traits = traits_of(board.runtime)
        self.address = ""
        #: What can be done to the board when it is a virtual one.
        self.virtual: RunningBoard | None = None
        self.firmware = FirmwareRecord("", "", "")
        self.flashed: FlashReport | None = None
        #: The ROMFS image that the chip holds and the reference must hold too; empty when unknown.
        self.romfs = b""
        self.runtime: BoardRuntime
        self._switch = switch_for(board.power)
        if isinstance(self._switch, GpioSwitch):
            self._stack.callback(self._switch.close)
        self._mark = WriteMark(options.state / "flashing", board.id)
        self.transcript = Transcript(options.state / options.transcript_of(board.id), after=bool(options.run_folder))

    def happened(self, kind: str, text: str) -> None:
        """An event beside the scenarios (:class:`harness.results.run_record.Event`), told and in the transcript."""
        text = " ".join(text.split())[:_EVENT_LIMIT]
        self.transcript.note(f"{kind}: {text}")
        self._tell(kind, text)

    @property
    def can_intervene(self) -> bool:
        return self.runtime.can_intervene

    def _intervene(self, intervention: Intervention) -> None:
        """What a person would do to the board, done to a virtual one."""
        assert self.virtual is not None
        if intervention.what == "power":
            self.virtual.power(on=False)
            self.virtual.power(on=True)
        else:
            self.virtual.lead(intervention.pin, intervention.level)
            self.virtual.lead(intervention.pin, None)

    @property
    def can_reset(self) -> bool:
        return self.runtime.can_reset

    def make_ready(self) -> None:
        """Raises UsageError before anything is touched, BenchFault when the bench does not play along.

        What fails is tried once more, after a power cycle where something here can do that.
        """
        if not self._options.check:
            self.health.require(self.board.id)
        if self._options.flash:
            self._firmware = firmware_of(self.board, self._options.variant, self._report)
        self._report("locking", 0, 0)
        lock = board_lock(
            self.board,
            self._options.state,
            purpose=self._options.purpose,
            timeout=self._options.wait,
            waiting=lambda holder: self._report(f"waiting for {holder}", 0, 0),
        )
        self._stack.enter_context(lock)
        self._stack.callback(lambda: self._link.close())
        if self.board.virtual is not None:
            self._report("starting the virtual board", 0, 0)
            self.virtual = start(virtual_spec(self.board, self._options.state))
            self._stack.callback(self.virtual.stop)
        try:
            self._prepare()
        except FinalFault:
            raise
        except (BenchFault, FirmwareFailure) as problem:
            started = "power cycle" if self.can_power else "new start"
            self.happened("retry", f"made ready again after a {started}: {problem.message}")
            self.health.recovering(self.board.id, problem.message)
            self._report("recovering", 0, 0)
            self._link.close()
            if self.can_power:
                self._power_cycle()
            self._prepare(patience=_PORT_PATIENCE)
            self.happened("recovery", f"by a {started}")
            self.health.recovered(self.board.id, "a new start")

    def _prepare(self, patience: float = 0.0) -> None:
        """Port, flash, VM, identity. ``patience`` in seconds: how long the port may take to appear."""
        firmware = self._firmware
        flashed = firmware is not None and self.board.flash_method != "none"
        before_port = self.board.flash_method in WITHOUT_PORT
        if firmware is not None and before_port:
            self.flashed = self._flash(None, firmware)
        port = self._open(max(patience, _USB_PATIENCE) if flashed and before_port else patience)
        self._link.callback(port.close)
        if firmware is not None and flashed and not before_port:
            self.flashed = self._flash(port, firmware)
        reset = strategy_for(self.board)
        session = Session(port, self.transcript, reopen=self._reopen)
        self._link.callback(session.hang_up)
        seed = random.randrange(1 << 32)
        means = Means(
            reset=(lambda: reset(cast(Any, session.port))) if reset else None,
            intervene=self._intervene if self.virtual else None,
            buffer=self.board.console.buffer,
            nonces=random.Random(seed),
        )
        self.runtime = self.traits.make_client(session, means)
        begin = {
            "runtime": self.board.runtime,
            "seed": seed,
            "buffer": self.board.console.buffer,
            "can_reset": self.runtime.can_reset,
            "can_intervene": self.runtime.can_intervene,
        }
        self.transcript.add("session", json.dumps(begin).encode())
        self._report("waiting for the VM", 0, 0)
        if flashed and not before_port:
            self.runtime.enter(after_reset=True)
        elif reset is not None and not is_pty(port):
            self.runtime.hard_reset()
        else:
            self.runtime.enter()
            self.runtime.soft_reset()  # what an earlier program left on the heap can be all of a small one
        self._identify(firmware)
        if self.traits.mounts_romfs:
            self._check_romfs()

    def _enter_usb_loader(self) -> None:
        """By the VM that runs. Its port then goes."""
        port = self._open(0.0)
        try:
            port.write(self.traits.enters_usb_loader)
            port.flush()
        except (OSError, serial.SerialException):
            pass
        finally:
            port.close()

    def _open(self, patience: float) -> OpenPort:
        """The board's port, wherever it is now."""
        end = Deadline(patience)
        console = self.board.console
        while True:
            try:
                self.address = self._find()
                return open_port(self.address, baud=console.baud, dtr=console.dtr, rts=console.rts)
            except BenchFault:
                if end.passed:
                    raise
            time.sleep(0.1)  # a port appears when it appears; no event for it on all platforms

    def _reopen(self) -> Port:
        """One attempt to have the port again after it went; a real board's by what the board is."""
        port = cast(Port, self._open(0.0) if self.virtual else Reopen(self.board)())
        self.happened("reopened", "its port had gone, and was opened again")
        return port

    def _find(self) -> str:
        if self.virtual is None:
            return find_port(self.board)
        here = running(self._options.state / "virtual").get(self.board.id)
        if here is None:
            raise BenchFault(f"{self.board.id}: the virtual board's process is gone")
        return here.url

    # -- recovery --------------------------------------------------------------------------------

    @property
    def can_power(self) -> bool:
        """Whether something here can cut the board's power."""
        return self.virtual is not None or self._switch is not None

    def _power_cycle(self) -> None:
        if self.virtual is not None:
            self.virtual.power(on=False)
            self.virtual.power(on=True)
        elif self._switch is not None:
            cycle(self._switch, self.board.power.off_seconds)

    def recover(self, reason: str, *, gentle: bool = True) -> str:
        """Have the board back after trouble; returns what helped. Without ``gentle`` the chip is reset at least.

        Raises BenchFault when nothing did.
        """
        self.health.recovering(self.board.id, reason)
        self._patience = _PORT_PATIENCE
        runtime = self.runtime

        def powered() -> None:
            with runtime.session.expecting_disconnect(within=_PORT_PATIENCE):  # a hub port takes the adapter along
                self._power_cycle()
            runtime.enter(after_reset=True)

        first = "Ctrl-C" if self.traits.ctrl_c else "its prompt"
        rungs = [Rung(first, 8.0, runtime.enter), Rung("soft reset", 10.0, runtime.soft_reset)] if gentle else []
        if self.can_reset:
            rungs.append(Rung("line reset", 15.0, runtime.hard_reset))
        elif not gentle:
            rungs.append(Rung("soft reset", 10.0, runtime.soft_reset))
        if self.can_power:
            rungs.append(Rung("power cycle", 20.0 + self.board.power.off_seconds, powered))
        if self._firmware is not None and self.board.flash_method != "none":
            rungs.append(Rung("reflash", 60.0, self._reflash))
        helped = climb(
            [Rung(rung.name, rung.limit, self._proven(rung)) for rung in rungs],
            runtime.session.limited,
            lambda name: self._report(f"recovering: {name}", 0, 0),
        )
        self.happened("recovery" if gentle else "reset", f"by {helped}: {reason}")
        self.health.recovered(self.board.id, helped)
        return helped

    def _proven(self, rung: Rung) -> Callable[[], None]:
        def climbed() -> None:
            session = self.runtime.session
            if session.closed:
                patience, self._patience = self._patience, 0.5  # what did not come then comes at once, or not
                session.reconnect(within=patience)
                session.forget_input()
            rung.climb()
            if self.runtime.run("print(6*7)", timeout=5.0).stdout.strip() != b"42":
                raise BenchFault("the board answers, but not what it was asked")

        return climbed

    def _reflash(self, romfs: bool = True) -> None:
        """Write what differs in the flash from what belongs there."""
        assert self._firmware is not None
        session = self.runtime.session
        session.forget_input()
        self.flashed = self._flash(session.port, self._firmware, romfs=romfs)
        self.runtime.enter(after_reset=True)

    def flash_was_damaged(self) -> bool:
        """Whether the flash no longer held its firmware; it does after this. False where it cannot be told."""
        if self._firmware is None or self.board.flash_method == "none":
            return False
        self._reflash(romfs=False)
        return self.flashed is not None and self.flashed.written > 0

    def _flash(self, port: Any, firmware: CheckedFirmware, *, romfs: bool = True) -> FlashReport:
        cut_off = self._mark.found()
        if cut_off:
            self._report(f"{cut_off}; comparing and writing again", 0, 0)
        progress = self._mark.watched(firmware.record.name, self._report)
        enter = self._enter_usb_loader if self.traits.enters_usb_loader else None
        with flasher_for(self.board, port, progress, enter_loader=enter) as flasher:
            self._check_identity(flasher.identity)
            images = list(firmware.images)
            region = romfs_region(self.board, flasher, images) if romfs else None
            if region is not None:
                self.romfs = suite_romfs()
                if len(self.romfs) > region[1]:
                    raise UsageError(f"{self.board.id}: the suite's ROMFS image does not fit into {region[1]} bytes")
                images.append(FlashImage(region[0], self.romfs, "ROMFS image of the suites"))
            report = flasher.write(images)
        self._mark.clear()
        if cut_off:
            report.warnings.append(f"{cut_off}; it was written again")
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
                raise FinalFault(
                    f"{self.board.id}: expected the chip with {name} {wanted}, at {self.address} is {came}",
                    hint=f"boards were swapped, or identity.{key} is wrong; nothing was written",
                )

    def write_romfs(self, image: bytes) -> FlashReport:
        """Write the chip's ROMFS region alone, as far as it differs, and start the board again.

        :attr:`romfs` is left as it is: what the reference holds is the caller's business. Raises UsageError for
        a board without such a region, or an image that does not fit; BenchFault when the board does not answer.
        """
        session = self.runtime.session
        session.forget_input()
        try:
            progress = self._mark.watched("a ROMFS image", self._report)
            with flasher_for(self.board, session.port, progress) as flasher:
                self._check_identity(flasher.identity)
                region = romfs_region(self.board, flasher, [])
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
            self._mark.clear()
        except UsageError:
            self.runtime.enter(after_reset=True)  # refused, and the application was started again all the same
            raise
        self.runtime.enter(after_reset=True)
        return report

    def write_spare(self, data: bytes) -> bytes:
        """Write where a virtual board's flash holds nothing that its VM uses, and start it again; what is read back.

        For boards without a ROMFS. Raises BenchFault when the board does not take it, or does not answer after it.
        """
        virtual = self.board.virtual
        assert virtual is not None and "romfs" not in self.board.capabilities
        place = layout(self.board.chip, virtual.flash_size)["romfs"][0]
        session = self.runtime.session
        session.forget_input()
        with flasher_for(self.board, session.port, self._mark.watched("spare flash", self._report)) as flasher:
            self._check_identity(flasher.identity)
            flasher.write([FlashImage(place, data.ljust(-len(data) % 4 + len(data), b"\xff"), "spare flash")])
            found = flasher.read(place, len(data))
        self._mark.clear()
        self.runtime.enter(after_reset=True)
        return found

    # -- identity --------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        return self.runtime.facts

    def _identify(self, firmware: CheckedFirmware | None) -> None:
        """The VM that answers must be the firmware that was written."""
        version = self.facts.version
        if firmware is not None:
            self._check_version(version)
        else:
            self.firmware = FirmwareRecord("as found", version, "")

    def identify_again(self) -> None:
        """Ask the VM once more who it is. Raises BenchFault when it is not what was written."""
        self._check_version(self.runtime.read_facts().version)

    def _check_version(self, version: str) -> None:
        expected = self._firmware.record.version if self._firmware is not None else ""
        if not self.traits.image_names_version and self.board.virtual is None:
            return
        if expected and expected not in version:
            raise BenchFault(
                f"{self.board.id}: {expected!r} was written, but {version[:200]!r} answers",
                hint="does the chip boot from another slot (OTA)? Erase its flash once",
            )

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

    def fault(self, reason: str) -> None:
        """A bench fault has happened: it counts against the board's health."""
        before = self.health.of(self.board.id).state
        now = self.health.fault(self.board.id, reason).state
        if now is State.QUARANTINED and before is not now:
            self.happened("quarantine", f"after {QUARANTINE_AFTER} bench faults: {reason}")

    def close(self) -> None:
        self._stack.close()
        self.transcript.close()


def attach(board: Board, options: Options, report: Report, tell: Tell | None = None) -> AttachedBoard:
    """Make ``board`` ready; whatever was taken is given back when that fails. ``tell`` hears of events."""
    attached = AttachedBoard(board, options, report, tell)
    try:
        attached.make_ready()
    except BaseException as problem:
        try:
            if isinstance(problem, BenchFault) and not isinstance(problem, FinalFault | Quarantined):
                attached.fault(problem.message)
        finally:
            attached.close()
        raise
    return attached
