"""A board made ready: its port, its flash, its VM, and proof that what answers is what was written. In this order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from harness.bench.application import LeftApplication
from harness.bench.board_flash import BoardFlash
from harness.bench.board_line import BoardLine
from harness.bench.boot_slot import applications, described
from harness.bench.checked_firmware import CheckedFirmware, Report
from harness.bench.device import Device
from harness.bench.firmware_record import FirmwareRecord
from harness.bench.other_rate import explained, listen
from harness.bench.who_answers import another_board, unproved
from harness.chips import CHIPS
from harness.errors import BenchFault, DoesNotStart, FinalFault, FirmwareFailure, HarnessError, Refused, Unreadable
from harness.extensions import resolve
from harness.flashing.esp_entry import strap
from harness.flashing.flasher import BY_HAND_WITHIN
from harness.formats.romfs import MAGIC
from harness.formats.suite_romfs import suite_files, suite_romfs
from harness.inventory.model import Board
from harness.link.boot_words import cause
from harness.link.coming_back import until_there
from harness.link.deadline import Deadline
from harness.link.panics import printable
from harness.link.ports import no_reset_lines
from harness.link.session import Session
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import BoardRuntime, Sweeper
from harness.runtimes.program import ask
from harness.runtimes.traits import Probe, RuntimeTraits, all_traits
from harness.runtimes.who import ChipNames
from harness.runtimes.wired import Wired

#: How long a board's own USB may take to come back after a reset, in seconds.
_USB_PATIENCE = 10.0
#: What the VM of another runtime may take to answer, in seconds.
_PROBE_PATIENCE = 4.0


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
        self._happened = happened
        #: What the VM can do, once it has been asked.
        self.abilities = Abilities()

    def prepare(self, busy: Deadline, patience: float = 0.0) -> None:
        """``patience`` in seconds: how long the port may take to appear. Another program may have it until ``busy``.

        Raises BenchFault when the bench does not play along, FirmwareFailure when the VM crashes or hangs.
        """
        flash, line = self._flash, self._line
        written_before = flash.can_write and not flash.needs_port
        if written_before:
            flash.write(None, enter_loader=line.enters_usb_loader)
        port = line.open(
            max(patience, _USB_PATIENCE) if written_before else patience,
            busy,
            lambda why: self._report(f"waiting: {why}", 0, 0),
        )
        written_now = flash.can_write and flash.needs_port
        if written_now:
            flash.write(port)
        runtime = line.speak()
        self._report("waiting for the VM", 0, 0)
        verified = written_now and flash.proved
        try:
            if written_now:
                self._enter_after_writing(runtime, no_reset_lines(port))
            else:
                self._enter_as_found(runtime)
        except (DoesNotStart, Unreadable) as problem:
            raise self._better_told(problem, verified=verified) from None
        self._tell_doubts(runtime)
        # What an earlier program left on the heap can be all of a small one; what an application left running prints.
        if self._traits.restarts_without_application:
            runtime.soft_reset()
        self._identify(runtime)
        self._settle_application(runtime)
        self._report("asking the VM what it can do", 0, 0)
        self.abilities = abilities = self._traits.ask_abilities(runtime)
        if isinstance(runtime, Sweeper) and abilities.base:
            with contextlib.suppress(Refused):  # a filesystem that cannot be written holds nothing of ours
                runtime.sweep(abilities.base, abilities.own_folder)
        if self._traits.mounts_romfs:
            image = self._flash.romfs or (suite_romfs() if "romfs" in self._board.capabilities else b"")
            self.check_romfs(image)

    def _better_told(self, problem: DoesNotStart | Unreadable, *, verified: bool) -> BenchFault:
        """``problem`` with what else is known: what was written is proved, what the board says at other rates."""
        pin = strap(self._board.chip)
        if isinstance(problem, DoesNotStart):
            return BenchFault(problem.message, hint=cause(problem.said, verified=verified, strap=pin) or problem.hint)
        session = self._line.runtime.session
        if session.closed or "native_usb" in self._board.capabilities:
            return problem
        baud = self._board.console.baud
        self._report("listening at other baud rates", 0, 0)
        heard = listen(self._line.port, baud, self._line.pulse_reset if self._line.resets else None)
        return explained(heard, baud, problem, verified=verified, strap=pin) or problem

    def _tell_doubts(self, runtime: BoardRuntime) -> None:
        if isinstance(runtime, Wired) and (doubt := runtime.start_doubts):
            self._happened("start", doubt)

    def _settle_application(self, runtime: BoardRuntime) -> None:
        """What an earlier run left aside is put back, or is put where it is to be in this one."""
        settle = self._application.set_aside if self._set_aside else self._application.put_back
        if settle(runtime):  # from here on the board runs what it is to run
            if self._line.resets:
                runtime.hard_reset()
            if self._traits.restarts_without_application or not self._line.resets:
                runtime.soft_reset()

    def _enter_as_found(self, runtime: BoardRuntime) -> None:
        """Raises FinalFault when the VM of another runtime is there instead."""
        try:
            if self._line.resets:
                runtime.hard_reset()
            else:
                runtime.enter()
                if not self._traits.restarts_without_application:
                    runtime.soft_reset()
        except (BenchFault, FirmwareFailure):
            self._refuse_another_vm(runtime)
            raise

    def _refuse_another_vm(self, runtime: BoardRuntime) -> None:
        """After trouble: raises FinalFault when it is because the VM of another runtime is there."""
        if not runtime.session.closed and (came := self._another_vm(runtime.session)):
            raise FinalFault(
                f"{self._board.id}: at {self._line.address} is another board or firmware: expected "
                f"{self._board.runtime}, here answers {came}",
                hint="boards were swapped, or the entry in boards.yaml is wrong; nothing was tested",
            ) from None

    def _another_vm(self, session: Session) -> str:
        """Which other VM answers, in words; empty when none does."""
        for traits in all_traits():
            if not traits.probe or traits.name == self._board.runtime:
                continue
            ask: Probe = resolve(traits.probe)
            session.forget_input()
            with contextlib.suppress(HarnessError):
                if (answer := ask(session, _PROBE_PATIENCE)) is not None and answer.runtime != self._board.runtime:
                    told = " ".join(filter(None, (answer.runtime, answer.version, answer.machine)))
                    return printable(told.encode(), 160)
        return ""

    def _enter_after_writing(self, runtime: BoardRuntime, no_lines: str) -> None:
        try:
            if self._flash.by_hand:
                self._started_by_hand(runtime)
            else:
                runtime.enter(after_reset=True)
        except BenchFault as problem:
            if not no_lines:
                raise
            raise BenchFault(
                f"{self._board.id}: was written and does not answer: this port has no reset lines ({no_lines}), so "
                f"nothing here has started its application: {problem.message}",
                hint="reset the board by hand, or give a port with DTR and RTS; 'flash: {method: none}' never writes",
            ) from None

    def _started_by_hand(self, runtime: BoardRuntime) -> None:
        """Have a person start the application. Raises the last BenchFault when nobody does."""
        self._report(f"written; press EN once to start it (waiting {BY_HAND_WITHIN:g} s)", 0, 0)
        until_there(lambda: runtime.enter(after_reset=True), Deadline(BY_HAND_WITHIN))

    def _prove_identity(self, runtime: BoardRuntime) -> ChipNames:
        """Who answers, asked before anything else. Raises FinalFault for another board."""
        board = self._board
        try:
            facts, names = runtime.facts, self._traits.ask_chip_names(runtime)
        except (BenchFault, FirmwareFailure):
            self._refuse_another_vm(runtime)
            raise
        if other := another_board(board, facts, names):
            raise FinalFault(
                f"{board.id}: at {self._line.address} is another board: {other}",
                hint="boards were swapped, or the entry in boards.yaml is wrong; nothing was tested",
            )
        if doubt := unproved(board, facts, names, asked_loader=self._flash.identity_proved):
            self._happened("identity", doubt)
        return names

    def _identify(self, runtime: BoardRuntime) -> None:
        names = self._prove_identity(runtime)
        if self._flash.firmware is not None:
            self._check_build(self._flash.firmware, names, runtime.facts.version)
        else:
            self._flash.record = FirmwareRecord("as found", runtime.facts.version, "")

    def identify_again(self) -> None:
        """Ask the VM once more who it is. Raises BenchFault when it is not what was written."""
        runtime = self._line.runtime
        names = self._prove_identity(runtime)
        if self._flash.firmware is not None:
            self._check_build(self._flash.firmware, names, runtime.read_facts().version)

    def _check_build(self, firmware: CheckedFirmware, names: ChipNames, version: str) -> None:
        """The VM that answers must be the firmware that was written: by the hash of the build where the VM can read
        its own partition; else a version that its image says must be the one that it tells.

        Two equal versions prove nothing, but then the flash itself was read back, and where the chip starts from.
        """
        board = self._board
        builds = applications(board.chip, firmware.images) if CHIPS[board.chip].family == "esp32" else {}
        hashes = {build.elf_sha256.hex() for build in builds.values() if any(build.elf_sha256)}
        if hashes and names.elf_sha256:
            if names.elf_sha256 in hashes:
                return
            written = " and ".join(described(build) for build in builds.values())
            raise FinalFault(
                f"{board.id}: written was {written}, but what runs is in partition {names.slot}, of the build "
                f"{names.elf_sha256[:12]}…",
                hint="the boot loader took another slot: erase the partition 'otadata' once (esptool erase-region)",
            )
        tells = self._traits.image_names_version or self._device.our_build
        if tells and firmware.told_version and firmware.told_version not in version:
            raise BenchFault(
                f"{board.id}: the image that was written says {firmware.told_version!r}, but {version[:200]!r} answers",
                hint="does the chip start from another place than it was written to?",
            )

    def check_romfs(self, image: bytes) -> bool:
        """Whether the VM has the suite's ``image`` mounted, asked of itself; what the flash is known to hold is it."""
        runtime = self._line.runtime
        said = ask(
            runtime,
            "held",
            first="import os\ntry:\n names = os.listdir('/rom')\n"
            " held = (len(names), sum([os.stat('/rom/' + name)[6] for name in names]))\n"
            "except (OSError, ImportError, AttributeError, TypeError):\n held = None",
        )
        files = suite_files()
        same = said == f"({len(files)}, {sum(map(len, files.values()))})"
        self._flash.romfs = image if same and image.startswith(MAGIC) else b""
        return bool(self._flash.romfs)
