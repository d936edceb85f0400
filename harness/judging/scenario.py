"""What a scenario holds in its hands: the board, the reference, and a judge.

A scenario runs programs on both and records measurements; it fails when one of them does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from harness.chips import CHIPS, Chip, Port
from harness.errors import HarnessError, Unsuitable, UsageError
from harness.formats.suite_romfs import suite_romfs
from harness.inventory.model import Wiring
from harness.judging.board_bench import BoardBench, Pair
from harness.judging.calibration import Calibration
from harness.judging.compare import Measurement
from harness.judging.earlier import Earlier
from harness.judging.figures import Figure
from harness.judging.limits import Limit
from harness.judging.line_jitter import line_jitter
from harness.judging.outcome import Outcome, worst
from harness.judging.program_mistakes import PROGRAM_ENDED_BADLY
from harness.kinds import TIME, Value, named, stored
from harness.reference.vm import ReferenceVm
from harness.runtimes.interface import ChipRuntime, Intervention, Restart, Runtime
from harness.runtimes.own_files import make_folder, set_aside
from harness.runtimes.program import Program


class MeasurementFailed(AssertionError):
    """At least one measurement is outside its limit."""


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
        return self._bench.no_romfs()

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

    @property
    def has_own_usb(self) -> bool:
        """Whether the board's port is the chip's own USB, which goes at each reset and in deep sleep."""
        return "native_usb" in self._bench.attached.board.capabilities

    @property
    def can_reset_asleep(self) -> bool:
        """Whether a reset works in deep sleep too: a port that is the chip's own USB takes its lines along."""
        return self.can_reset and not self.has_own_usb

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

    @property
    def wired_pins(self) -> dict[str, Any]:
        """Inputs of a program: the first two pins that are wired together, "out" and "in".

        Raises :class:`Unsuitable` where there are none.
        """
        if not self.wiring.loopback:
            raise Unsuitable("no two pins are wired together (wiring.loopback in boards.yaml)")
        out, pin = self.wiring.loopback[0]
        return {"out": out, "in": pin}

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
