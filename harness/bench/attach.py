"""One board of the bench made ready for scenarios: locked, started, flashed, its VM answering.

The order matters: the lock before anything touches the port, the image checks before anything is erased,
the identity of the firmware after the reset.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.bench.application import LeftApplication
from harness.bench.board_flash import BoardFlash
from harness.bench.board_line import BoardLine
from harness.bench.checked_firmware import Report, firmware_of
from harness.bench.device import HEARD_WITHIN
from harness.bench.device_of import device_of
from harness.bench.firmware_record import FirmwareRecord
from harness.bench.flash_store import KeptStore, found_before, look_at
from harness.bench.health import QUARANTINE_AFTER, HealthBook, Quarantined, State
from harness.bench.known_facts import keep, known_store
from harness.bench.preparation import Preparation
from harness.bench.recovery import PORT_PATIENCE, Recovery
from harness.errors import BenchFault, FinalFault, FirmwareFailure, HarnessError, Refused, UsageError
from harness.flashing.flasher import ChipIdentity, FlashReport
from harness.formats.suite_romfs import suite_romfs
from harness.inventory.locks import board_lock
from harness.inventory.model import Board
from harness.link.deadline import Deadline
from harness.link.ports import OpenPort
from harness.link.transcript import Transcript
from harness.link.transcript_files import FOLDER
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import BoardRuntime, Facts, LfsTeller, RomWriter
from harness.runtimes.traits import traits_of

#: A run that was killed lets go of its boards within this time, in seconds.
_LOCK_PATIENCE = 10.0
#: Characters of an event's words: a board can have a say in them.
_EVENT_LIMIT = 300


#: Is told what happens to a board beside its scenarios: the kind of event, and its words.
Tell = Callable[[str, str], None]


@dataclass(frozen=True)
class Options:
    """How boards are made ready. ``state`` is the bench's state folder."""

    state: Path
    #: Write the firmware; None: only to a board that may have none otherwise.
    flash: bool | None = True
    #: Set aside what the board runs by itself, whatever the bench file says.
    set_aside: bool = False
    variant: str | None = None
    purpose: str = "harness run"
    #: How long another process may go on holding the board or its port, in seconds.
    wait: float = _LOCK_PATIENCE
    #: Use a board that is in quarantine, to see whether it is well again.
    check: bool = False
    #: A person reads what is reported, and can press a board's buttons.
    attended: bool = False
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
        traits = traits_of(board.runtime)
        self.health = HealthBook(options.state)
        self.device = device_of(board, options.state)
        self._stack.callback(self.device.close)
        self.transcript = Transcript(options.state / options.transcript_of(board.id), after=bool(options.run_folder))
        self._line = BoardLine(board, self.device, traits, self.transcript, self.happened)
        self.device.listen(self.happened, self._line.cut)
        self._flash = BoardFlash(
            board, self.device, options.state, report, lambda: self._line.address, attended=options.attended
        )
        left = LeftApplication(board.id, traits.language, traits.start_files, self.happened)
        self._aside = options.set_aside or board.application == "aside"
        self._left = left
        self._rom_taken = False
        #: What is known of its Lua Flash Store; None for a VM without one.
        self.store: KeptStore | None = None
        self._preparation = Preparation(
            board, self.device, traits, self._flash, self._line, report, self.happened, left, set_aside=self._aside
        )
        self._recovery = Recovery(self.device, traits, self._flash, self._line, report)

    # -- what it is ------------------------------------------------------------------------------

    @property
    def runtime(self) -> BoardRuntime:
        return self._line.runtime

    @property
    def facts(self) -> Facts:
        return self.runtime.facts

    @property
    def abilities(self) -> Abilities:
        """What its VM can do, as it was asked when it was made ready."""
        return self._preparation.abilities

    @property
    def firmware(self) -> FirmwareRecord:
        """What it is tested with."""
        return self._flash.record

    @property
    def flashed(self) -> FlashReport | None:
        """What was written the last time; None when nothing was."""
        return self._flash.written

    @property
    def romfs(self) -> bytes:
        """The ROMFS image that the chip holds and the reference must hold too; empty when unknown."""
        return self._flash.romfs

    @property
    def our_build(self) -> bool:
        """Whether its VM is one that the harness made."""
        return self.device.our_build

    @property
    def keeps_host_time(self) -> bool:
        """Whether its waits take as long on the host."""
        return self.device.keeps_host_time

    @property
    def can_reset(self) -> bool:
        return self.runtime.can_reset

    @property
    def can_intervene(self) -> bool:
        return self.runtime.can_intervene

    @property
    def can_power(self) -> bool:
        """Whether something here can cut its power."""
        return self._recovery.can_power

    @property
    def warnings(self) -> list[str]:
        """What a person should know of it who only had it made ready, a line each."""
        return [f"{self.store.problem}; {self.store.hint}"] if self.store and self.store.problem else []

    # -- what happens to it ----------------------------------------------------------------------

    def happened(self, kind: str, text: str) -> None:
        """An event beside the scenarios (:class:`harness.results.run_record.Event`), told and in the transcript."""
        text = " ".join(text.split())[:_EVENT_LIMIT]
        self.note(f"{kind}: {text}")
        self._tell(kind, text)

    def note(self, text: str) -> None:
        """Words in the transcript."""
        self.transcript.note(text)

    def fault(self, reason: str) -> None:
        """A bench fault has happened: it counts against the board's health."""
        before = self.health.of(self.board.id).state
        now = self.health.fault(self.board.id, reason).state
        if now is State.QUARANTINED and before is not now:
            self.happened("quarantine", f"after {QUARANTINE_AFTER} bench faults: {reason}")

    def require(self) -> None:
        """After trouble: raises FinalFault when that came of the board's not being ours any more."""
        if (gone := self.device.why_gone(HEARD_WITHIN)) is not None:
            raise gone

    # -- life ------------------------------------------------------------------------------------

    def make_ready(self) -> None:
        """Raises UsageError before anything is touched, BenchFault when the bench does not play along.

        What fails is tried once more, after a power cycle where something here can do that.
        """
        options = self._options
        if not options.check:
            self.health.require(self.board.id)
        if self.device.starts_blank if options.flash is None else options.flash:
            self._flash.firmware = firmware_of(self.board, options.variant, self._report)
        self._report("locking", 0, 0)
        busy = Deadline(options.wait)
        lock = board_lock(
            self.board,
            options.state,
            purpose=options.purpose,
            timeout=options.wait,
            waiting=lambda holder: self._report(f"waiting for {holder}", 0, 0),
        )
        self._stack.enter_context(lock)
        self.device.start(self._report, busy.left)
        self._stack.callback(self.device.close)
        self._stack.callback(self._line.hang_up)
        self._stack.callback(self._give_back)
        self._stack.callback(self._blank_romfs)
        try:
            self._preparation.prepare(busy)
        except FinalFault:
            raise
        except (BenchFault, FirmwareFailure) as problem:
            self.require()
            started = "power cycle" if self.can_power else "new start"
            self.happened("retry", f"made ready again after a {started}: {problem.message}")
            self.health.recovering(self.board.id, problem.message)
            self._report("recovering", 0, 0)
            self._line.hang_up()
            before = self.flashed
            self._recovery.power_cycle()
            self._preparation.prepare(busy, patience=PORT_PATIENCE)
            if before is not None and self.flashed is not None and self.flashed is not before:
                self.flashed.after(before)
            self.happened("recovery", f"by a {started}")
            self.health.recovered(self.board.id, "a new start")

        written = self.flashed is not None and self.flashed.written > 0
        self.store = self._look_at_store(written=written)
        keep(options.state, self.board.id, self.facts, self.abilities, self.store)
        for warning in self.warnings:
            self.happened("lfs", warning)
        self._stack.callback(self._keep_store)

    def _look_at_store(self, *, written: bool = False) -> KeptStore | None:
        """What is known of the board's Lua Flash Store now; None for a VM without one."""
        before = found_before(known_store(self._options.state, self.board.id), self._flash.lfs_before)
        runtime = self.runtime
        if not isinstance(runtime, LfsTeller):
            return None
        now = None
        with suppress(HarnessError):  # a hint, for which no run is given up
            now = runtime.lfs_state()
        if now is None:
            return before
        return look_at(before, now, runtime.lfs_start_words, own=runtime.loaded_own_lfs, written=written)

    def _keep_store(self) -> None:
        """The suites may have loaded an image of theirs."""
        runtime = self._line.runtime if self._line.speaks else None
        if isinstance(runtime, LfsTeller) and runtime.loaded_own_lfs:
            with suppress(HarnessError):
                keep(self._options.state, self.board.id, self.facts, self.abilities, self._look_at_store())

    def _give_back(self) -> None:
        """Put back what was set aside; what cannot be now is by whoever attaches to the board next."""
        if not self._aside or not self._line.speaks:
            return
        try:
            self._left.put_back(self.runtime)
        except HarnessError as problem:
            self.happened("application", f"not put back yet: {problem.message}")

    def close(self) -> None:
        self._stack.close()
        self.transcript.close()

    # -- after trouble ---------------------------------------------------------------------------

    def recover(self, reason: str, *, gentle: bool = True) -> str:
        """Have the board back after trouble; returns what helped. Without ``gentle`` the chip is reset at least.

        Raises BenchFault when nothing did, FinalFault at once for a board that is not ours any more.
        """
        self.require()
        self.health.recovering(self.board.id, reason)
        helped = self._recovery.recover(gentle=gentle)
        self.happened("recovery" if gentle else "reset", f"by {helped}: {reason}")
        self.health.recovered(self.board.id, helped)
        return helped

    def flash_was_damaged(self) -> bool:
        """Whether the flash no longer held its firmware; it does after this. False where it cannot be told."""
        if not self._flash.can_write:
            return False
        self._recovery.reflash(romfs=False)
        return self.flashed is not None and self.flashed.written > 0

    def identify_again(self) -> None:
        """Ask the VM once more who it is. Raises BenchFault when it is not what was written."""
        self._preparation.identify_again()

    # -- its flash -------------------------------------------------------------------------------

    def write_romfs(self, image: bytes) -> FlashReport:
        """Write the chip's ROMFS region alone, as far as it differs, and start the board again.

        :attr:`romfs` is left as it is: what the reference holds is the caller's business. Raises UsageError for
        a board without such a region, or an image that does not fit; BenchFault when the board does not answer.
        """
        runtime = self.runtime
        if not self._flash.can_write and self.abilities.rom_size and isinstance(runtime, RomWriter):
            started = time.monotonic()
            runtime.write_rom(image)
            runtime.soft_reset()
            self._flash.romfs = image if image == suite_romfs() else b""
            identity = ChipIdentity(self.board.chip, "", "", None)
            return FlashReport(identity, written=len(image), seconds=time.monotonic() - started)
        with self._restarted() as port:
            return self._flash.write_romfs(port, image, self._line.enters_usb_loader)

    def offer_romfs(self, *, image_wanted: bool = True) -> str:
        """Have the suites' image in the ROMFS segment of a VM that writes it itself: why not, empty when it is there.

        Without ``image_wanted`` it is enough that the segment can be written. Without the capability ``romfs`` in
        boards.yaml only a segment is taken in which nobody has anything; it is blank again in the end.
        """
        image, size, runtime = suite_romfs(), self.abilities.rom_size, self.runtime
        if self._flash.can_write or not size or not isinstance(runtime, RomWriter):
            return "the chip's ROMFS region does not hold the suite's image; run without --no-flash"
        if len(image) > size:
            return f"the VM's ROMFS segment has {size} bytes, the suite's image {len(image)}"
        if not self._rom_taken:
            start = runtime.rom_start(32)
            blank = not start.strip(b"\xff") or not start.strip(b"\0")
            if not blank and start != image[: len(start)] and "romfs" not in self.board.capabilities:
                return "the VM's ROMFS segment is in use; with capabilities: [romfs] in boards.yaml it is written over"
            self._rom_taken = True
        if image_wanted and not self._flash.romfs and not self._preparation.check_romfs(image):
            self.write_romfs(image)
            if not self._preparation.check_romfs(image):
                return "the VM took a ROMFS image and does not mount it"
        return ""

    def _blank_romfs(self) -> None:
        """A segment that was taken from nobody is nobody's again."""
        runtime = self._line.runtime if self._rom_taken else None
        if isinstance(runtime, RomWriter) and "romfs" not in self.board.capabilities:
            with suppress(HarnessError):
                runtime.write_rom(b"\xff" * 64)

    def write_spare(self, data: bytes) -> bytes:
        """Write where the flash holds nothing that its VM uses, and start the board again; what is read back.

        Raises UsageError for a board of which no such place is known, BenchFault when it does not take it or does not
        answer after it.
        """
        with self._restarted() as port:
            return self._flash.write_spare(port, data, self._line.enters_usb_loader)

    @contextmanager
    def _restarted(self) -> Iterator[OpenPort]:
        """Inside, the port is for a flasher, which in the end starts the application."""
        self.runtime.session.forget_input()
        try:
            yield self._line.port
        except UsageError:
            self.runtime.enter(after_reset=True)  # refused, and the application was started again all the same
            raise
        self.runtime.enter(after_reset=True)


def attach(board: Board, options: Options, report: Report, tell: Tell | None = None) -> AttachedBoard:
    """Make ``board`` ready; whatever was taken is given back when that fails. ``tell`` hears of events."""
    attached = AttachedBoard(board, options, report, tell)
    try:
        attached.make_ready()
    except BaseException as problem:
        try:
            if isinstance(problem, BenchFault) and not isinstance(problem, FinalFault | Quarantined | Refused):
                attached.fault(problem.message)
        finally:
            attached.close()
        raise
    return attached
