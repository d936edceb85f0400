"""What a scenario holds in its hands: the board, the reference, and a judge.

A scenario runs programs on both and records measurements; it fails when one of them does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from harness.chips import CHIPS, Chip, Port
from harness.errors import BenchFault, FirmwareFailure, HarnessError, ProgramFailed, Unsuitable, UsageError
from harness.formats.suite_romfs import suite_romfs
from harness.inventory.model import Wiring
from harness.judging.calibration import Calibration, Point, best_fit, work_of
from harness.judging.compare import Judge, Measurement
from harness.judging.earlier import Earlier
from harness.judging.figures import Figure
from harness.judging.limits import Limit
from harness.judging.line_jitter import line_jitter
from harness.judging.outcome import Outcome, worst
from harness.judging.program_mistakes import PROGRAM_ENDED_BADLY, mistake_of
from harness.judging.ready_board import ReadyBoard
from harness.judging.references import Reference
from harness.kinds import TIME, Value, named, stored
from harness.reference.vm import ReferenceVm
from harness.runtimes.abilities import ASKED_CAPABILITIES
from harness.runtimes.ask_names import missing
from harness.runtimes.interface import ChipRuntime, Intervention, Restart, Runtime, Sweeper
from harness.runtimes.own_files import set_aside
from harness.runtimes.pieces import SMALL_HEAP, needs_of
from harness.runtimes.program import Program, agent_source
from harness.runtimes.records import DamagedRecords, Decoded
from harness.runtimes.traits import traits_of_vm

_TIMED = re.compile(r"\bagent\.(time|elapsed)\b")
#: What a VM says that is too small for a program: no heap, no stack.
_TOO_SMALL = ("MemoryError", "maximum recursion depth exceeded")
#: Calibration for a small VM: short loops, and without the two benchmarks that need more stack than it has.
_SMALL_CALIBRATION: dict[str, Any] = {"n": 100, "without": ["sorting", "compiling"]}


class MeasurementFailed(AssertionError):
    """At least one measurement is outside its limit."""


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

    def offer_romfs(self) -> str:
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


def make_folder(runtime: Runtime, path: str) -> None:
    parts = path.strip("/").split("/")
    levels = ["/" + "/".join(parts[: n + 1]) for n in range(len(parts))]
    runtime.run(f"import os\nfor p in {levels!r}:\n try:\n  os.mkdir(p)\n except OSError:\n  pass\ndel p")


def _remove_folders(runtime: Runtime, paths: Iterable[str]) -> None:
    for path in paths:
        runtime.run(f"import os\nos.rmdir({path!r})")


def _is_ours(name: str) -> bool:
    return name.startswith("hx_")


class Scenario:
    """Handed to a scenario as the fixture ``scenario``.

    ``declared`` are the figures that it has promised (``@pytest.mark.figures``): each is taken, or skipped with a
    reason, by its end.
    """

    def __init__(self, bench: BoardBench, declared: Sequence[Figure] = ()) -> None:
        self._bench = bench
        self._judge = bench.judge
        self.declared = tuple(declared)
        self.measurements: list[Measurement] = []
        self._families: set[str] = set()

    def again(self) -> Scenario:
        """The same scenario from its beginning; its times are taken anew, too."""
        if any(one.kind == TIME.name for one in self.measurements):
            self._bench.forget_calibration()
        return Scenario(self._bench, self.declared)

    # -- the two sides ---------------------------------------------------------------------------

    @property
    def bench(self) -> BoardBench:
        return self._bench

    @property
    def board(self) -> ChipRuntime:
        return self._bench.attached.runtime

    @property
    def reference(self) -> ChipRuntime:
        return self._bench.reference

    @property
    def both(self) -> tuple[ChipRuntime, ChipRuntime]:
        return self.board, self.reference

    @property
    def calibration(self) -> Calibration:
        return self._bench.calibration

    @property
    def earlier(self) -> Earlier | None:
        """The times of this board's last good run, if one is kept."""
        return self._bench.earlier()

    @property
    def romfs_in_place(self) -> bool:
        """Whether chip and reference hold the suite's ROMFS image; a VM that can write it itself does so now."""
        return not self.no_romfs

    @property
    def no_romfs(self) -> str:
        """Why they do not, in words; empty when they do."""
        return "" if self._bench.attached.romfs else self._bench.offer_romfs()

    @property
    def no_romfs_region(self) -> str:
        """Why no image can be put into the chip's ROMFS region, in words; empty when one can."""
        attached = self._bench.attached
        return "" if attached.romfs else attached.offer_romfs(image_wanted=False)

    def restore_romfs(self) -> None:
        """The suite's image again, where a flasher wrote it; a VM that writes it itself does so when it is needed."""
        if self._bench.attached.romfs:
            self.write_romfs(suite_romfs())

    @property
    def is_our_build(self) -> bool:
        """Whether the board's firmware is one that the harness made: then there is no allocator beside the model's."""
        return self._bench.attached.our_build

    @property
    def preempts(self) -> bool:
        """Whether a hard handler can come at once: on every board but the virtual ones with the prepared build."""
        bench = self._bench
        return not bench.attached.our_build or (isinstance(bench.reference, ReferenceVm) and bench.reference.from_tree)

    @property
    def lives_in_host_time(self) -> bool:
        """Whether the board's waits take as long on the host: not so for a virtual board with ``pace: fast``."""
        return self._bench.attached.keeps_host_time

    @property
    def can_intervene(self) -> bool:
        """Whether something here can cut the board's power and drive its pins."""
        return self._bench.attached.can_intervene

    @property
    def can_reset(self) -> bool:
        """Whether the harness can reset the chip by its wiring."""
        return self._bench.attached.can_reset

    def write_romfs(self, image: bytes) -> None:
        """Put ``image`` into the ROMFS region of both sides, alone, and start them again."""
        reference = self._bench.reference
        if not isinstance(reference, ReferenceVm):
            raise Unsuitable("the reference of this board's runtime has no ROMFS")
        self._bench.attached.write_romfs(image)
        reference.map_romfs(image)

    def step(self, text: str) -> None:
        """Say what is being done now."""
        self._bench.step(text)

    @property
    def chip(self) -> Chip:
        """The record of the board's chip."""
        return CHIPS[self._bench.attached.board.chip]

    @property
    def port(self) -> Port:
        """What the board's port promises (timers, queue depth), in its firmware's version.

        Raises :class:`Unsuitable` for a chip of whose port nobody knows.
        """
        return self.chip.promised(self._bench.port_version)

    @property
    def timer(self) -> int:
        """A number that ``machine.Timer`` takes: as the port promises, or as the VM said where nobody promises.

        Raises :class:`Unsuitable` where neither does.
        """
        if not self.port_is_unknown:
            return self.port.timer
        number = self._bench.attached.abilities.timer
        if number is None:
            raise Unsuitable("the VM has no machine.Timer")
        return number

    @property
    def port_is_unknown(self) -> bool:
        """Whether :attr:`port` has nothing to tell."""
        return self._bench.unknown

    @property
    def wiring(self) -> Wiring:
        return self._bench.attached.board.wiring

    def run(self, program: Program, *, timeout: float = 60.0, fresh: bool = True, interrupt_at: bytes = b"") -> Pair:
        """Run ``program`` on the board and on the reference; ``timeout`` in seconds for each.

        Each VM is started anew before, unless ``fresh`` is false. The program gets a Ctrl-C as soon as its output
        contains ``interrupt_at``.
        """
        self._bench.attached.note(f"program {program.name}")
        return self._bench.run(program, timeout=timeout, fresh=fresh, interrupt_at=interrupt_at)

    def run_to_reset(
        self, program: Program, *, within: float = 30.0, intervention: Intervention | None = None
    ) -> tuple[Restart, Restart]:
        """Run a program that resets the chip or lets it sleep, on both sides; see :class:`Runtime`."""
        self._bench.attached.note(f"program {program.name}, to a reset")
        try:
            board = program.run_to_reset(self.board, within=within, intervention=intervention)[1]
        except PROGRAM_ENDED_BADLY as problem:
            self._bench.ask_the_reference(
                program, problem, lambda runtime: program.run_to_reset(runtime, within=within)[0]
            )
            raise
        return board, program.run_to_reset(self.reference, within=within, intervention=intervention)[1]

    @property
    def folder(self) -> str:
        """The harness's own folder for files, on both sides. Raises :class:`Unsuitable` where no files can be."""
        return self._bench.folder()

    @property
    def sees_ctrl_c(self) -> bool:
        """Whether Ctrl-C ends a busy loop on the board, as it was asked when it was made ready."""
        return self._bench.attached.abilities.ctrl_c

    @property
    def has_timer(self) -> bool:
        """Whether :attr:`timer` has an answer."""
        return not self.port_is_unknown or self._bench.attached.abilities.timer is not None

    @property
    def paste_window(self) -> int:
        """How many bytes of a program the board's raw paste takes at once; 0 when it has none."""
        return self._bench.attached.abilities.paste_window

    @property
    def path_trouble(self) -> str:
        """What was found to be wrong with a way by which programs reach the board; empty: nothing."""
        return str(getattr(self.board, "path_trouble", ""))

    @property
    def has_files(self) -> bool:
        """Whether files can be written on the board."""
        return bool(self._bench.attached.abilities.base)

    @property
    def no_files(self) -> str:
        """Why none can, for a figure that is skipped."""
        return f"the VM has no filesystem to write to ({self._bench.attached.abilities.no_files})"

    @contextmanager
    def start_file(self, name: str, data: bytes) -> Iterator[None]:
        """For a while ``data`` is what the board runs at its start under ``name``; then its own file is back."""
        folder = self.folder  # raises Unsuitable where there are no files
        abilities, board = self._bench.attached.abilities, self.board
        if not abilities.makes_folders:
            raise Unsuitable(f"the VM makes no folders, so the user's own {name} cannot be kept there meanwhile")
        with set_aside(board, name, base=abilities.base, own_folder=folder) as path:
            board.put(path, data)
            yield

    @contextmanager
    def files(self, contents: Mapping[str, bytes], *, on: Sequence[Runtime] | None = None) -> Iterator[str]:
        """For a while files of these names lie in :attr:`folder`, which is given, on both sides, or ``on`` some.

        A name may have one folder before it (``package/file.py``).
        """
        runtimes = self.both if on is None else on
        folder = self.folder.rstrip("/") if contents and runtimes else ""
        if folder and not self._bench.attached.abilities.makes_folders and not all(map(_is_ours, contents)):
            raise Unsuitable(f"the VM makes no folders, and {', '.join(contents)} could be the user's own")
        paths = [f"{folder}/{name}" for name in contents]
        inner = sorted({f"{folder}/{name.rpartition('/')[0]}" for name in contents if "/" in name})
        try:
            for runtime in runtimes:
                for made in inner:
                    make_folder(runtime, made)
                for path, data in zip(paths, contents.values(), strict=True):
                    runtime.put(path, data)
            yield folder
        except BaseException:
            # What ended the scenario is told; what stays is swept before the next file is put there.
            try:
                self._take_off(runtimes, paths, inner)
            except HarnessError:
                self._bench.littered()
            raise
        self._take_off(runtimes, paths, inner)

    @staticmethod
    def _take_off(runtimes: Sequence[Runtime], paths: Sequence[str], inner: Sequence[str]) -> None:
        """Remove all that can be, then raise the first trouble that there was."""
        troubles = []
        for runtime in runtimes:
            for path in paths:
                try:
                    runtime.remove(path)
                except HarnessError as problem:
                    troubles.append(problem)
            try:
                _remove_folders(runtime, inner)
            except HarnessError as problem:
                troubles.append(problem)
        if troubles:
            raise troubles[0]

    @contextmanager
    def code_py(self, source: bytes) -> Iterator[None]:
        """For a while ``source`` is what both sides run by themselves (CircuitPython); then it is as before."""
        with ExitStack() as stack:
            for runtime in self.both:
                stack.enter_context(set_aside(runtime, "code.py", base="/", own_folder=self.folder))
                runtime.put("code.py", source)
            yield

    def require(self, source: str) -> None:
        """Skip the scenario when the VM lacks what ``source`` uses; see :meth:`BoardBench.require`."""
        self._bench.require(source)

    def soft_reset(self) -> None:
        for runtime in self.both:
            runtime.soft_reset()

    # -- judging ---------------------------------------------------------------------------------

    def compare(
        self,
        pair: Pair,
        *,
        prefix: str = "",
        only: Collection[str] = (),
        loose_times: Mapping[str, str] | None = None,
        asked: Mapping[str, Value | Limit] | None = None,
        source: str = "",
    ) -> None:
        """Judge every figure of ``pair``, or those named in ``only``, by the rules of docs/comparison.md.

        Those in ``asked`` are held against what stands there, because ``source`` says so: a document, or the program
        itself ("the program"). On a virtual board the reference would say what the board says.
        """
        timed = any(
            named(one.kind).calibrated for one in pair.board.observations if not only or one.name in only
        )  # fmt: skip
        self.measurements += self._judge.pair(
            pair.board,
            pair.reference,
            self.calibration if timed else None,
            prefix=prefix,
            only=only,
            loose_times=loose_times,
            weighed=pair.weighed,
            asked=asked,
            source=source,
        )

    def take(
        self,
        figure: Figure,
        measured: Value,
        reference: Value | None = None,
        *,
        limit: Limit | None = None,
        rule: str = "",
        samples: Sequence[float] = (),
        uncertainty: float = 0.0,
        uncertain: str = "",
    ) -> Outcome:
        """Judge one declared figure; ``reference`` is shown beside it.

        ``limit`` is for a figure that was declared without one, because it follows from what this run found. Without
        any limit the figure is held against ``reference`` by the rule of its kind (a time's reference is its cost).
        ``uncertainty`` (in the figure's unit) is what the bench itself may have added to a figure or taken from it, as
        it was measured, and ``uncertain`` says by what ("for …").
        Raises UsageError for a figure that cannot be judged so.
        """
        self._families.add(figure.family)
        if figure.limit is None and limit is None and reference is not None:
            line = self.calibration.plain if figure.kind.calibrated else None
            measurement = self._judge.by_rule(figure, measured, reference, calibration=line, samples=samples)
        else:
            measurement = self._judge.take(
                figure,
                measured,
                reference,
                limit=limit,
                rule=rule,
                samples=samples,
                uncertainty=uncertainty,
                uncertain=uncertain,
            )
        self.measurements.append(measurement)
        return measurement.verdict

    def would_pass(self, figure: Figure, measured: Value, limit: Limit) -> bool:
        """Whether :meth:`take` would find it good: where not, a measurement that this host made late is made again."""
        return self._judge.take(figure, measured, limit=limit).verdict is Outcome.PASS

    def line_jitter(self) -> float:
        """Seconds by which what is sent to the board and back may be late, or early, at this moment."""
        return line_jitter(self.board)

    def skip_figure(self, figure: Figure, reason: str) -> None:
        """A figure that cannot be taken on this board because something is lacking, or not known; the rest is judged.

        A scenario of which all figures were skipped is skipped.
        """
        if not reason or figure.places:
            raise UsageError(f"figure {figure.name!r} is skipped without {'its name' if reason else 'a reason'}")
        self._families.add(figure.family)
        self.measurements.append(self._judge.skip(figure, reason))

    @property
    def untaken(self) -> tuple[Figure, ...]:
        """The figures that were declared and neither taken nor skipped until now."""
        return tuple(figure for figure in self.declared if figure.family not in self._families)

    @property
    def skipped(self) -> str:
        """Why nothing was judged: the reasons, when all figures were skipped; otherwise empty."""
        if self.outcome is not Outcome.SKIPPED:
            return ""
        return "; ".join(dict.fromkeys(m.reason for m in self.measurements))

    @property
    def outcome(self) -> Outcome:
        return worst(m.verdict for m in self.measurements)

    def settle(self) -> None:
        """Raise :class:`MeasurementFailed` when a figure is outside its limit.

        Raises UsageError when a figure was declared and is not there: what was not asked has not passed.
        """
        failed = [m for m in self.measurements if m.verdict is Outcome.FAIL]
        if failed:
            raise MeasurementFailed("; ".join(described(m) for m in failed[:5]))
        if self.untaken:
            names = ", ".join(repr(figure.name) for figure in self.untaken)
            raise UsageError(
                f"declared and neither taken nor skipped: {names}",
                hint="take it with scenario.take, or say with scenario.skip_figure why it cannot be",
            )


def described(m: Measurement) -> str:
    """A judged figure in one sentence."""
    if m.measured is None:
        return f"{m.name} was skipped: {m.reason}"
    return f"{m.name} is {stored(m.kind).written(m.measured, m.unit)}, expected {m.limit}"
