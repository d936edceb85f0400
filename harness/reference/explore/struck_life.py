"""One program, run again and again from one state, with its interrupt at chosen moments of a build from a source tree.

The driver (``harness/reference/engine/guest/explore_struck.py``) says "turn" at the start of each turn. There the host
has kept the guest's memory and what it keeps for the guest itself (pins, timers, files), and there it puts both back.
A run that does not come back there (a crash, a callback that never ends) costs a new VM.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from enum import Enum
from importlib import resources
from typing import TypeVar

from harness.chips import Reset, chip_named
from harness.errors import FirmwareFailure, UsageError
from harness.reference.chip_board import Board
from harness.reference.engine.engine_vm import VmConfig, without_port_frames
from harness.reference.engine.guest_files import MemoryFiles, Mode
from harness.reference.engine.tree_vm import HardCall, Level, Moment, TreeVm
from harness.reference.engine.wasm_machine import Crashed, Stopped
from harness.reference.explore.feeder import Feeder
from harness.reference.explore.host_state import keep
from harness.reference.explore.rewind import OUTPUT_LIMIT, SETUP_LIMIT, Ending
from harness.reference.life import Life
from harness.reference.timeline import Metered
from harness.reference.vm import configured

#: What a run that was told to end may still cost, in instructions.
_GRACE = 2_000_000
#: Virtual time that one run may take, in nanoseconds: an hour.
_TIME_LIMIT = 3600 * 1_000_000_000
_SMALL_0 = 1
#: How a report writes a moment: ``35`` is between two bytecodes, ``c12`` in C code, ``g3`` in a collection.
LETTERS = {Moment.BYTECODE: "", Moment.C_CODE: "c", Moment.POLL: "p", Moment.COLLECTION: "g", Moment.WAIT: "w"}

T = TypeVar("T")


class Then(Enum):
    """What a strike is: the interrupt, or a marker that shows where that is."""

    INTERRUPT = "call the interrupt"
    LOCATE = "raise a marker"


@dataclass(frozen=True, order=True)
class Spot:
    """A moment of ``main()``: the ``number``-th of its kind, from 0; those of callbacks are not counted."""

    kind: Moment
    number: int

    def __str__(self) -> str:
        return f"{LETTERS[self.kind]}{self.number}"


@dataclass(frozen=True)
class StruckJob:
    """One run: where it is struck, in order, at which level, and what it may cost in instructions. ``then`` is what the
    last strike is."""

    strikes: tuple[Spot, ...]
    level: Level
    limit: int
    then: Then = Then.INTERRUPT


@dataclass
class StruckRun:
    """What one run did.

    ``moments`` is how many there were of each kind in ``main()``, callbacks' not counted. ``bytecodes`` is how many
    bytecodes had begun at each strike, and ``passed`` how many moments of each kind were over at the first one; a
    second may come at the same moment. ``late``: a callback ran after ``main()``. ``callback_error`` is its traceback.
    """

    ending: Ending = Ending.RETURNED
    output: bytes = b""
    error: bytes = b""
    callback_error: bytes = b""
    entered: int = 0
    late: bool = False
    moments: dict[Moment, int] = field(default_factory=dict)
    bytecodes: list[int] = field(default_factory=list)
    passed: dict[Moment, int] = field(default_factory=dict)
    located: bytes = b""


class _Restart(Exception):
    """The present VM cannot go on."""


@dataclass(frozen=True)
class Subject:
    """The program and the VM it runs on. ``board`` makes a new one for each life; ``files`` are by absolute path."""

    module: bytes
    config: VmConfig
    board: Callable[[], Board]
    source: str
    files: dict[str, bytes]

    def drive(self, jobs: Generator[StruckJob, StruckRun, T]) -> T:
        """Run the jobs that the generator yields, send it each one's run, and return what it returns.

        Raises UsageError for a program that fails before its ``main()``, or has no ``main`` and ``interrupt``.
        """
        feeder = Feeder(jobs)
        while not feeder.finished:
            _StruckLife(self, feeder).finish()
        assert feeder.result is not None
        return feeder.result[0]


def subject_of(
    module: bytes, source: str, *, heap_size: int, chip: str | None = None, version: str = "", files: dict[str, bytes]
) -> Subject:
    """``source`` on the VM ``module``, with the modules of ``chip`` as MicroPython's ``version`` has them.

    Raises UsageError for a chip that there is not.
    """
    port = chip_named(chip).port_at(version) if chip else None
    config = configured(VmConfig(heap_size=heap_size), module, port)
    if port is None:
        config = replace(config, path=("/lib",))

    def board() -> Board:
        made = Board(port)
        made.restart(Reset.POWER_ON)
        return made

    return Subject(module, config, board, source, files)


class _Rewound:
    """The cost of a machine without that of the runs that were taken back."""

    def __init__(self, machine: Metered) -> None:
        self._machine = machine
        self.taken_back = 0

    @property
    def cost(self) -> int:
        return self._machine.cost - self.taken_back


def _guest(name: str) -> bytes:
    return resources.files("harness.reference.engine").joinpath("guest", name).read_bytes()


def _files(contents: dict[str, bytes]) -> MemoryFiles:
    files = MemoryFiles()
    for path, data in contents.items():
        folders = path.split("/")[1:-1]
        for depth in range(1, len(folders) + 1):
            folder = "/" + "/".join(folders[:depth])
            above = folder.rpartition("/")[0] or "/"
            if (folders[depth - 1], True) not in files.listdir(above):
                files.mkdir(folder)
        files.open(path, Mode(write=True, create=True)).write(data)
    return files


class _StruckLife(Life):
    """One VM that runs jobs until there is none left, or until it cannot go on."""

    memory_outlives_it = True

    def __init__(self, subject: Subject, feeder: Feeder[StruckJob, StruckRun, T]) -> None:
        self._programs = [subject.source.encode(), _guest("explore_struck.py")]
        self._feeder = feeder
        self._run_now: StruckRun | None = None
        self._kept = b""
        self._put_back: Callable[[], None] = lambda: None
        self._callback = self._marker = self._cut = 0
        self._left: list[Spot] = []
        self._excluded = [0] * len(Moment)
        self._at_strike = [0] * len(Moment)
        self._cutting = self._main_ended = self._ended = self._wakes = False
        self._begun_ns = 0
        self._problem: bytearray = bytearray()
        self._callback_problem: bytearray = bytearray()
        files = {"/lib/scheduler.py": _guest("scheduler_struck.py"), **subject.files}
        super().__init__(subject.module, subject.config, _files(files), subject.board())

    def _meter(self) -> Metered:
        self._rewound = _Rewound(self.vm.machine)
        return self._rewound

    def finish(self) -> None:
        """Wait until the VM cannot go on, or until all jobs are done. Raises what its jobs, or its start, raised."""
        try:
            self._thread.join()
            self._finish()
        except BaseException:
            self.end()
            raise
        finally:
            self.vm.machine.close()

    def _finish(self) -> None:
        failure, run = self._failure, self._run_now
        if isinstance(failure, _Restart):
            if run is None:
                return
        elif isinstance(failure, Crashed) and run is not None:
            run.ending, self._problem[:] = Ending.CRASHED, str(failure).encode()
        elif failure is not None:
            if isinstance(failure, Crashed):
                raise UsageError(f"the program crashed the VM before its main() started: {failure}") from None
            raise failure
        elif run is None:
            if not self._feeder.finished:
                raise UsageError("the program ended the VM before its main() started", hint="it called sys.exit()")
            return
        elif self.ended_by is not Reset.SOFT:
            run.ending, self._problem[:] = Ending.RESET, self.ended_by.value.encode()
        else:
            run.ending, self._problem[:] = Ending.RAISED, b"SystemExit"
        assert run is not None
        self._deliver(run)

    def _deliver(self, run: StruckRun) -> None:
        self._run_now = None
        if not self._ended:
            run.output = bytes(self._out)
            if not run.moments:
                self._count(run)
        run.callback_error = without_port_frames(self._callback_problem)
        problem = without_port_frames(self._problem)
        if self._job.then is Then.LOCATE:
            run.located = problem
        else:
            run.error = problem
        self._feeder.deliver(run)

    def _count(self, run: StruckRun) -> None:
        run.moments = self._passed()

    @property
    def _job(self) -> StruckJob:
        assert self._feeder.job is not None
        return self._feeder.job

    @property
    def _vm(self) -> TreeVm:
        assert self._tree is not None
        return self._tree

    # -- what the guest's driver says ------------------------------------------------------------

    def _host_call(self, name: str, argument: str) -> str:
        if name == "explore":
            self._callback, self._hard, self._marker, self._cut = map(int, argument.split())
        elif name == "turn":
            self._begin()
        elif name == "left":
            self._leave()
        elif name == "ended":
            return self._end(failed=bool(argument))
        elif name in ("lock", "unlock"):
            layout, memory = self.vm.layout, self.vm.machine.memory
            (layout.lock if name == "lock" else layout.unlock)(memory)
        else:
            return super()._host_call(name, argument)
        return ""

    def _begin(self) -> None:
        """At the top of the driver's loop: the run before is complete, the next one starts from what was kept."""
        if self._run_now is not None:
            self._deliver(self._run_now)
            if self._feeder.finished:
                raise Stopped
        memory, wasi = self.vm.machine.memory, self.vm.machine.wasi
        if not self._kept:
            self._kept = memory.read(0, len(memory))
            board = self._board
            self._put_back = keep((board, self._services, self.interrupts, self.files, wasi.open_files))
            self._begun_ns = board.clock.now_ns
            self._begun_cost = self._rewound.cost
        elif len(memory) != len(self._kept):
            raise _Restart  # memory that has grown does not shrink again: not the same state
        else:
            memory.write(0, self._kept)
            self._put_back()
            self._rewound.taken_back += self._rewound.cost - self._begun_cost
        self._run_now = StruckRun()
        for text in (self._out, self._err, self._problem, self._callback_problem):
            text.clear()
        self._cutting = self._main_ended = self._ended = self._wakes = False
        self._excluded = [0] * len(Moment)
        self._left = list(self._job.strikes)
        self._limit = self._begun_cost + self._job.limit
        self._vm.count_from_here()
        self._aim()
        self._arm()

    def _leave(self) -> None:
        run = self._run_now
        assert run is not None
        self._main_ended = True
        if not self._cutting:
            self._count(run)
        self._vm.layout.withdraw_exception(self._vm.machine.memory)
        self._limit = max(self._limit, self._rewound.cost) + _GRACE
        if self._left and self._job.then is Then.INTERRUPT and not self._cutting:
            self._vm.stop_only_at(Moment.BYTECODE)  # it comes when main() has ended
        self._arm()

    def _end(self, *, failed: bool) -> str:
        run = self._run_now
        assert run is not None
        self._ended = True
        self._vm.layout.withdraw_exception(self._vm.machine.memory)
        self._vm.stop_only_at(None)
        run.output = bytes(self._out)
        if failed and run.ending is Ending.RETURNED:
            run.ending = Ending.RAISED
        self._arm()
        return "where" if self._job.then is Then.LOCATE else ""

    # -- moments ---------------------------------------------------------------------------------

    def _passed(self) -> dict[Moment, int]:
        """How many moments of each kind ``main()`` has had."""
        return dict(
            zip(Moment, (n - e for n, e in zip(self._vm.all_moments(), self._excluded, strict=True)), strict=True)
        )

    def _aim(self) -> None:
        """Stop at the next strike."""
        spot = self._left[0] if self._left else None
        if spot is None:
            self._vm.stop_only_at(None)
        else:
            self._vm.stop_only_at(spot.kind, spot.number + self._excluded[spot.kind])

    def _moment(self, kind: Moment) -> None:
        if not self._left or self._run_now is None:
            return
        if self._held_off:
            self._vm.stop_only_at(Moment.BYTECODE)  # it waits: look again at the very next one
            return
        run = self._run_now
        self._left.pop(0)
        passed = self._passed()
        run.bytecodes.append(passed[Moment.BYTECODE])
        if self._job.then is Then.LOCATE and not self._left:
            self._vm.strike_hard(HardCall(self._marker, 0, lambda _raised: None, Level.RAISE))
            return
        if not run.entered:
            run.passed = {**passed, kind: passed[kind] - 1}
        run.entered += 1
        self._limit = max(self._limit, self._rewound.cost + self._job.limit)
        run.late |= self._main_ended
        self._at_strike = self._vm.all_moments()
        handler = self._hard if self._job.level is Level.HARD else self._callback
        self._vm.strike_hard(HardCall(handler, _SMALL_0, self._handled, self._job.level))

    @property
    def _held_off(self) -> bool:
        """The interrupt may not come now: hard ones by ``disable_irq()``, soft ones by the scheduler's lock."""
        if self._job.then is Then.LOCATE and len(self._left) == 1:
            return False
        if self._job.level is Level.HARD:
            return self._services is not None and self._services.masked
        return self.interrupts.locked

    def _handled(self, raised: int) -> None:
        run = self._run_now
        assert run is not None
        self._wakes = True
        now = self._vm.all_moments()
        self._excluded = [e + n - at for e, n, at in zip(self._excluded, now, self._at_strike, strict=True)]
        if self._main_ended and self._left:
            self._vm.stop_only_at(Moment.BYTECODE)
        else:
            self._aim()

    # -- limits ----------------------------------------------------------------------------------

    def _arm(self) -> None:
        machine, board = self.vm.machine, self._board
        due = board.timeline.next_due
        if self.interrupts.busy:
            machine.step()
            return
        costs = [self._limit] if due is None else [self._limit, board.clock.cost_at(due)]
        machine.set_alarm(min(costs) + self._rewound.taken_back)

    _limit = SETUP_LIMIT

    def _alarm(self) -> None:
        self.interrupts.serve()
        self._board.timeline.run_due(self._board.clock.now_ns)
        if self._rewound.cost >= self._limit:
            if self._run_now is None:
                raise UsageError(f"the program did not reach its main() within {SETUP_LIMIT} instructions")
            self._end_run(Ending.ENDLESS)
        self._arm()

    def _end_run(self, ending: Ending) -> None:
        """Make the program leave ``main()``; one that will not costs a new VM."""
        run = self._run_now
        assert run is not None
        if self._ended or self._cutting:
            raise _Restart
        run.ending = ending
        if self._main_ended:
            raise _Restart
        self._cutting = True
        self._left.clear()
        self._count(run)
        self.vm.layout.raise_exception(self.vm.machine.memory, self._cut)
        self._limit = self._rewound.cost + _GRACE
        self._arm()

    # -- Port ------------------------------------------------------------------------------------

    def next_program(self) -> bytes:
        if not self._programs and self._run_now is not None:
            raise _Restart  # what was raised ended the driver itself
        if self._err:
            problem = without_port_frames(self._err).decode("utf-8", "replace").strip()
            raise UsageError(
                f"the program fails before its main() starts:\n{problem}",
                hint="it must define main() and interrupt(argument); check() is optional",
            )
        self._out.clear()
        self._arm()
        return self._programs.pop(0)

    def write_raw(self, data: bytes) -> None:
        if self._run_now is None:
            return  # what the setup prints belongs to no run
        text = self._problem if self._ended else self._out
        if self._vm.tells_exception:
            text = self._callback_problem
        if len(text) + len(data) <= OUTPUT_LIMIT:
            text += data.replace(b"\r\n", b"\n")
        elif not self._cutting:
            self._end_run(Ending.FLOODED)

    def _wait(self, until_ns: int | None, stop: Callable[[], bool]) -> None:
        if self._run_now is None or self._cutting:
            return
        board = self._board
        if until_ns is not None and until_ns - self._begun_ns > _TIME_LIMIT:
            self._end_run(Ending.ENDLESS)
            return
        try:
            super()._wait(until_ns, stop)
        except FirmwareFailure:  # nothing will ever happen
            self._end_run(Ending.ENDLESS)
            return
        if board.clock.now_ns - self._begun_ns > _TIME_LIMIT:
            self._end_run(Ending.ENDLESS)

    def wait_ns(self, duration: int | None, events: bool) -> None:
        if events and self._wakes:
            self._wakes = False  # an interrupt that came before the wait ends it
            return
        super().wait_ns(duration, events)
