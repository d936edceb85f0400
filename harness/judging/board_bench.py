"""A board that is ready and its reference, side by side: programs run on both, and what is known of the two."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harness.chips import CHIPS
from harness.errors import BenchFault, FirmwareFailure, HarnessError, ProgramFailed, Unsuitable, UsageError
from harness.judging.calibration import Calibration, Point, best_fit, work_of
from harness.judging.compare import Judge
from harness.judging.earlier import Earlier
from harness.judging.program_mistakes import PROGRAM_ENDED_BADLY, mistake_of
from harness.judging.ready_board import ReadyBoard
from harness.judging.references import Reference
from harness.kinds import TIME
from harness.reference.vm import ReferenceVm
from harness.runtimes.abilities import ASKED_CAPABILITIES
from harness.runtimes.ask_names import missing
from harness.runtimes.interface import ChipRuntime, Runtime, Sweeper
from harness.runtimes.own_files import make_folder
from harness.runtimes.pieces import SMALL_HEAP, needs_of
from harness.runtimes.program import Program, agent_source
from harness.runtimes.records import DamagedRecords, Decoded
from harness.runtimes.traits import traits_of_vm

_TIMED = re.compile(r"\bagent\.(time|elapsed)\b")
#: What a VM says that is too small for a program: no heap, no stack.
_TOO_SMALL = ("MemoryError", "maximum recursion depth exceeded")
#: Calibration for a small VM: short loops, and without the two benchmarks that need more stack than it has.
_SMALL_CALIBRATION: dict[str, Any] = {"n": 100, "without": ["sorting", "compiling"]}


@dataclass(frozen=True)
class Pair:
    """What one program reported on the two sides; ``weighed`` what the reference did with its work weighed for the
    board, None where nothing is predicted that way."""

    board: Decoded
    reference: Decoded
    weighed: Decoded | None = None

    def value(self, name: str) -> tuple[float, float]:
        """The number ``name`` of the board and of the reference.

        Raises UsageError for a text, or when neither reported it, BenchFault when one side did.
        """
        self._on_both(name)
        return self.board.value(name), self.reference.value(name)

    def text(self, name: str) -> tuple[str, str]:
        """The text ``name`` of the board and of the reference; raises as :meth:`value` does."""
        self._on_both(name)
        return self.board.text(name), self.reference.text(name)

    def _on_both(self, name: str) -> None:
        if (name in self.board) != (name in self.reference):
            one, other = ("board", "reference") if name in self.board else ("reference", "board")
            raise BenchFault(
                f"the {one} reported {name!r} and the {other} did not",
                hint="does the program depend on the board? Then it cannot be compared",
            )


class BoardBench:
    """One board with its reference: what the scenarios of a board share."""

    def __init__(
        self,
        attached: ReadyBoard,
        reference: Reference,
        step: Callable[[str], None],
        *,
        keep: Callable[[Calibration], None] = lambda _calibration: None,
        earlier: Callable[[], Earlier | None] = lambda: None,
    ) -> None:
        """``keep`` is given the board's calibration once it is measured; ``earlier`` finds its last good times."""
        self._keep = keep
        self.earlier = earlier
        self.attached = attached
        self.reference = reference
        self.step = step
        self._asked: dict[str, bool] = {}
        self._folder = ""
        self._littered = False
        own_tree = isinstance(reference, ReferenceVm) and reference.own_tree
        self.judge = Judge(
            attached.facts, reference.facts, attached.board.limits, same_build=attached.our_build, own_tree=own_tree
        )

    def run(self, program: Program, *, timeout: float = 60.0, fresh: bool = True, interrupt_at: bytes = b"") -> Pair:
        """Run ``program`` on both sides, in a fresh VM or in the one that there is.

        Records that arrive damaged are asked for once more in a fresh VM; a second time is a bench fault.
        """
        line = self.calibration if fresh and self._counts and _TIMED.search(program.source) else None
        pair = self._suitable_run(program, timeout, fresh, interrupt_at)
        if line is None or not line.weights:
            return pair
        assert isinstance(self.reference, ReferenceVm)
        with self.reference.counted(line.weights) as weighing:
            return replace(pair, weighed=program.run(weighing, timeout=timeout, interrupt_at=interrupt_at))

    @property
    def _counts(self) -> bool:
        """Whether the reference's work is counted by kind: not for its own build, which does the same work."""
        return isinstance(self.reference, ReferenceVm) and not self.attached.our_build

    def _suitable_run(self, program: Program, timeout: float, fresh: bool, interrupt_at: bytes) -> Pair:
        self.require(program.source, f"program {program.name}")
        try:
            return self._run(program, timeout, fresh, interrupt_at)
        except FirmwareFailure as problem:
            if self._too_small(problem):
                heap = self.attached.facts.heap_total
                raise Unsuitable(f"program {program.name} is too large for a VM with {heap} bytes of heap") from None
            raise

    def no_romfs(self) -> str:
        """Why board and reference do not hold the suite's ROMFS image, in words; empty when they do."""
        if not self.attached.romfs and (why := self._offer_romfs()):
            return why
        if isinstance(self.reference, ReferenceVm) and not self.reference.mounts_romfs:
            which = self.reference.build or "a build of the VM"
            return f"the reference ({which}) mounts no ROMFS; 'reference' in boards.yaml names another"
        return ""

    def _offer_romfs(self) -> str:
        """See :meth:`harness.judging.ready_board.ReadyBoard.offer_romfs`; the reference gets the same image."""
        if not isinstance(self.reference, ReferenceVm):
            return "the reference of this board's runtime has no ROMFS"
        if why := self.attached.offer_romfs():
            return why
        self.reference.map_romfs(self.attached.romfs)
        return ""

    def has_by_itself(self, capability: str) -> bool:
        """Whether the VM of a board of which nothing is known has said that it has what boards.yaml does not say."""
        return self.unknown and capability in ASKED_CAPABILITIES and bool(self.attached.abilities.rom_size)

    def _too_small(self, problem: HarnessError) -> bool:
        small = self.unknown and self.attached.facts.heap_total < SMALL_HEAP
        return small and any(sign in str(problem) for sign in _TOO_SMALL)

    def folder(self) -> str:
        """The harness's own folder for files, the same path on both sides: what a path costs is then the same, too.

        Raises :class:`Unsuitable` for a board on which no files can be written.
        """
        abilities = self.attached.abilities
        if not abilities.base:
            raise Unsuitable(f"the VM has no filesystem to write to ({abilities.no_files})")
        if self._littered:
            self._sweep()
            self._littered, self._folder = False, ""
        if not self._folder:
            folder = abilities.own_folder
            if abilities.makes_folders:
                make_folder(self.attached.runtime, folder)
            if folder != "/":
                make_folder(self.reference, folder)
            self._folder = folder  # only now: what failed on one side is to be made once more
        return self._folder

    def littered(self) -> None:
        """A scenario could not take off the board what it had put there: done before the folder is used again. A
        module that stays is what the next scenario would import."""
        self._littered = True

    def clean_up(self, recover: Callable[[str], str]) -> None:
        """Take the harness's own folder off the board, after ``recover`` where it does not answer; a file of the
        user's that was set aside is back then. What cannot be now is swept when the board is attached again."""
        try:
            self._sweep()
        except HarnessError as problem:
            with suppress(HarnessError):
                recover(f"what the harness put on it is to be removed: {problem.message}")
                self._sweep()

    def _sweep(self) -> None:
        runtime, abilities = self.attached.runtime, self.attached.abilities
        if isinstance(runtime, Sweeper) and abilities.base:
            runtime.sweep(abilities.base, abilities.own_folder)

    @property
    def unknown(self) -> bool:
        """Whether nothing is known of the port for the board's chip: then it is asked what it can do."""
        return CHIPS[self.attached.board.chip].port is None

    @property
    def port_version(self) -> str:
        """The version by which to ask what the port promises; empty: the newest.

        What the harness built has the newest port, whatever its VM's version is.
        """
        facts = self.attached.facts
        traits = traits_of_vm(facts.name)
        told = traits is not None and traits.version_tells_port and not self.attached.our_build
        return facts.version if told else ""

    def require(self, source: str, what: str = "the scenario") -> None:
        """Raise :class:`Unsuitable` when a board of unknown chip lacks a module that ``source`` uses, or a name of one.

        A known chip is not asked: there a lack is a failure.
        """
        if not self.unknown:
            return
        wanted = set(needs_of(source))
        if "agent." in source:
            wanted |= set(needs_of(agent_source()))
            if _TIMED.search(source):
                wanted.add("time")  # one of two clocks in it, and none for a program that takes no times
        wanted -= {"binascii.crc32", "binascii"} if self.attached.facts.extra.get("crc32") == "no" else set()
        if unasked := sorted(wanted - self._asked.keys()):
            lacking = missing(self.attached.runtime.run, unasked)
            self._asked.update((name, name in lacking) for name in unasked)
        if lacks := sorted(name for name in wanted if self._asked[name]):
            raise Unsuitable(f"the VM has no {', '.join(lacks)} ({what} uses it)")

    def _run(self, program: Program, timeout: float, fresh: bool, interrupt_at: bytes) -> Pair:
        def once(runtime: Runtime) -> Decoded:
            if not fresh:
                return program.run(runtime, timeout=timeout)
            runtime.soft_reset()
            return program.run(runtime, timeout=timeout, interrupt_at=interrupt_at)

        try:
            board = once(self.attached.runtime)
        except PROGRAM_ENDED_BADLY as problem:
            self.ask_the_reference(program, problem, once)
            if not (fresh and isinstance(problem, DamagedRecords)):
                raise
            self.attached.happened("retry", f"{program.name} is run again: {problem.message}")
            board = once(self.attached.runtime)
        return Pair(board, once(self.reference))

    def ask_the_reference(
        self, program: Program, problem: HarnessError, once: Callable[[ChipRuntime], Decoded]
    ) -> None:
        """Raise UsageError when ``program`` ends on the reference as badly as it did on the board (``problem``): then
        it is the program's own mistake, and neither the firmware's nor the bench's. ``once`` runs it."""
        if self._too_small(problem) or (isinstance(problem, ProgramFailed) and not problem.trace):
            return
        if mistake := mistake_of(program, problem, lambda: once(self.reference)):
            raise mistake from None

    @cached_property
    def calibration(self) -> Calibration:
        """This board's speed, measured when first asked for. Raises what the calibration program raises."""
        self.step("calibrating")
        inputs = _SMALL_CALIBRATION if self.attached.facts.heap_total < SMALL_HEAP else {}
        program = Program.load("calibration", **inputs)
        pair = self._suitable_run(program, 180.0, True, b"")
        points = [
            Point(one.name, float(one.value), float(other.value))
            for one, other in zip(pair.board.observations, pair.reference.observations, strict=True)
            if one.kind == TIME.name
        ]
        work = {}
        if self._counts:
            assert isinstance(self.reference, ReferenceVm)
            try:
                work = work_of(program, self.reference)
            except UsageError as problem:  # another build of the VM, with instructions that are not known
                self.attached.note(f"times are predicted from the plain cost: {problem.message}")
        calibration = best_fit(points, work)
        self._keep(calibration)
        return calibration

    def forget_calibration(self) -> None:
        """The next one that is asked for is measured."""
        self.__dict__.pop("calibration", None)
