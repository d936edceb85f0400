"""One MicroPython program, run again and again from one and the same state of guest memory.

The guest's driver (``harness/reference/engine/guest/explore.py``) calls ``main()`` in a loop, and looks at the clock
once at the top of it. There the host has kept the whole linear memory, and there it puts it back: the same function,
the same call depth, the same bytecode, so what WebAssembly keeps outside the memory is the same too. Each run
therefore starts from equal bytes, at the cost of one copy. A run that does not come back there (a crash, a
callback that never ends) costs a new VM, which is brought to the same place.
"""

from __future__ import annotations

import copy
from collections.abc import Generator
from dataclasses import dataclass, field
from enum import Enum
from importlib import resources
from typing import TypeVar

from harness.errors import UsageError
from harness.reference.engine.engine_vm import Vm, VmConfig, without_port_frames
from harness.reference.engine.guest_files import File, Files, MemoryFiles, Mode
from harness.reference.engine.wasm_machine import Crashed, Stopped
from harness.reference.explore.feeder import Feeder
from harness.reference.timeline import NS_PER_INSTRUCTION

#: A run that prints more than this many bytes is ended.
OUTPUT_LIMIT = 16 * 1024
#: What a program may cost before its ``main()`` starts, in instructions.
SETUP_LIMIT = 500_000_000
#: What a run that was told to end may still cost, in instructions.
_GRACE = 2_000_000
#: Virtual time that one run may wait, in nanoseconds: an hour.
_WAIT_LIMIT = 3600 * 1_000_000_000

_TURN, _ENTERED, _FAILED, _LEFT, _ENDED = range(1, 6)

T = TypeVar("T")


class Ending(Enum):
    """How a run ended."""

    RETURNED = "main() returned"
    RAISED = "raised"
    ENDLESS = "did not end"
    FLOODED = "printed without end"
    CRASHED = "crashed the VM"
    RESET = "reset the chip"


class Action(Enum):
    RECORD = "note every point, interrupt nothing"
    INTERRUPT = "queue the callback at a point"
    LOCATE = "raise a marker at a point instead, to see where that is"


@dataclass(frozen=True)
class Job:
    """One run to do: ``cost`` says where the point is, in instructions from the start of ``main()``; ``limit``
    what the run may cost; ``points`` how many points are recorded at most."""

    action: Action
    limit: int
    cost: int = 0
    points: int = 0


@dataclass
class Run:
    """What one run did. Costs are in instructions from the start of ``main()``.

    ``points`` and ``queues`` are the cost and the scheduler's words at each point that was recorded: all of a
    RECORD run; those of an INTERRUPT run from the strike on, as long as the callback stood in the queue.
    ``entered`` says that the callback ran, ``late`` that it did so after ``main()`` had ended, ``lost`` that the
    queue was full.
    """

    ending: Ending = Ending.RETURNED
    output: bytes = b""
    error: bytes = b""
    entered: bool = False
    late: bool = False
    callback_failed: bool = False
    lost: bool = False
    cost: int = 0
    points: list[int] = field(default_factory=list)
    queues: list[tuple[int, int, int]] = field(default_factory=list)
    points_left_out: bool = False


class _Restart(Exception):
    """The present VM cannot go on."""


class Rewinder:
    """Runs jobs on one program. ``files`` are put on the guest's filesystem, by absolute path."""

    def __init__(self, module: bytes, source: str, *, heap_size: int, files: dict[str, bytes]) -> None:
        self.module = module
        self.config = VmConfig(heap_size=heap_size)
        guest = resources.files("harness.reference.engine").joinpath("guest")
        self.files = {"/lib/scheduler.py": guest.joinpath("scheduler.py").read_bytes(), **files}
        self.programs = [source.encode(), guest.joinpath("explore.py").read_bytes()]
        #: How many VMs were started.
        self.starts = 0

    def drive(self, jobs: Generator[Job, Run, T]) -> T:
        """Run the jobs that the generator yields, send it each one's run, and return what it returns.

        Raises UsageError for a program that fails before its ``main()``, or has no ``main`` and ``interrupt``.
        """
        feeder = Feeder(jobs)
        while not feeder.finished:
            self.starts += 1
            _Life(self, feeder).live()
        assert feeder.result is not None
        return feeder.result[0]


class _NotedFiles(MemoryFiles):
    """Notes whether a run may have changed something."""

    def __init__(self) -> None:
        super().__init__()
        self.touched = False

    def open(self, path: str, mode: Mode) -> File:
        self.touched |= mode.write
        return super().open(path, mode)

    def mkdir(self, path: str) -> None:
        self.touched = True
        super().mkdir(path)

    def rmdir(self, path: str) -> None:
        self.touched = True
        super().rmdir(path)

    def remove(self, path: str) -> None:
        self.touched = True
        super().remove(path)

    def rename(self, old: str, new: str) -> None:
        self.touched = True
        super().rename(old, new)


def _with(contents: dict[str, bytes]) -> _NotedFiles:
    files = _NotedFiles()
    for path, data in contents.items():
        at = path.find("/", 1)
        while at > 0:
            if (path[:at].rpartition("/")[2], True) not in files.listdir(path[:at].rpartition("/")[0] or "/"):
                files.mkdir(path[:at])
            at = path.find("/", at + 1)
        files.open(path, Mode(write=True, create=True)).write(data)
    return files


class _Life:
    """One VM that runs jobs until there is none left, or until it cannot go on. It is the VM's port, too."""

    files: Files

    def __init__(self, rewinder: Rewinder, feeder: Feeder[Job, Run, T]) -> None:
        self._programs = list(rewinder.programs)
        self._feeder = feeder
        self._noted = _with(rewinder.files)
        self.files = self._noted
        self._kept_files: object = None
        self._kept = b""
        self._bell = self._lock_bell = 0
        self._callback = self._marker = self._cut = 0
        self._run: Run | None = None
        self._struck = self._stepping = self._cutting = self._main_ended = False
        self._out = bytearray()
        self._err = bytearray()
        self._waited_ns = self._turn_cost = 0
        self._vm = Vm(rewinder.module, self, rewinder.config, self._host_call, alarm=self._alarm)
        self._memory = self._vm.machine.memory
        self._layout = self._vm.layout

    def live(self) -> None:
        try:
            self._vm.run()
        except Stopped:
            return
        except _Restart:
            if self._run is None:
                return
        except Crashed as crash:
            if self._run is None:
                raise UsageError(f"the program crashed the VM before its main() started: {crash}") from None
            self._run.ending, self._run.error = Ending.CRASHED, str(crash).encode()
        else:
            if self._run is None:
                raise UsageError("the program ended the VM before its main() started", hint="it called sys.exit()")
            self._run.ending, self._run.error = Ending.RAISED, b"SystemExit"
        finally:
            self._vm.machine.close()
        assert self._run is not None
        self._finish(self._run)

    def _finish(self, run: Run) -> None:
        run.output, run.cost = bytes(self._out), self._cost
        self._run = None
        self._feeder.deliver(run)

    @property
    def _cost(self) -> int:
        return self._vm.machine.cost - self._turn_cost

    # -- what the guest's driver says ------------------------------------------------------------

    def _host_call(self, name: str, argument: str) -> str:
        if name == "explore":
            self._callback, self._marker, self._cut, self._bell = map(int, argument.split())
        elif name == "lock":
            self._lock_bell = int(argument)
        return ""

    def _rung(self) -> None:
        if self._lock_bell and (wanted := self._memory.read(self._lock_bell, 1)[0]):
            self._memory.write(self._lock_bell, b"\0")
            (self._layout.lock if wanted == 1 else self._layout.unlock)(self._memory)
        if not self._bell or not (event := self._memory.read(self._bell, 1)[0]):
            return
        self._memory.write(self._bell, b"\0")
        if event == _TURN:
            self._begin()
            return
        run = self._run
        assert run is not None
        if event == _ENTERED:
            run.entered, run.late = True, self._main_ended
        elif event == _FAILED:
            run.callback_failed = True
        elif event == _LEFT:
            self._main_ended = True
            self._stepping = False
            self._layout.withdraw_exception(self._memory)
            if self._job.action is Action.INTERRUPT and not self._struck:
                self._strike()
            self._vm.machine.set_alarm(self._turn_cost + self._job.limit + _GRACE)
        elif event == _ENDED:
            self._layout.withdraw_exception(self._memory)
            run.output, run.cost = bytes(self._out), self._cost
            self._vm.machine.set_alarm(None)

    @property
    def _job(self) -> Job:
        assert self._feeder.job is not None
        return self._feeder.job

    def _begin(self) -> None:
        """At the top of the driver's loop: the run before is complete, the next one starts from kept memory."""
        if self._run is not None:
            run, self._run = self._run, None
            run.error = without_port_frames(self._err)
            if run.error and run.ending is Ending.RETURNED:
                run.ending = Ending.RAISED
            self._feeder.deliver(run)
            if self._feeder.finished:
                raise Stopped
        wasi = self._vm.machine.wasi
        if not self._kept:
            self._kept = self._memory.read(0, len(self._memory))
            self._kept_files = copy.deepcopy((self._noted, wasi.open_files))
            self._noted.touched = False
        elif len(self._memory) != len(self._kept):
            raise _Restart  # memory that has grown does not shrink again: not the same state
        else:
            self._memory.write(0, self._kept)
            self._memory.write(self._bell, b"\0")
            if self._noted.touched or len(wasi.open_files) > 1:
                self._noted, wasi.open_files = copy.deepcopy(self._kept_files)  # type: ignore[misc]
                self.files = self._noted
                self._noted.touched = False
        self._run = Run()
        self._out.clear()
        self._err.clear()
        self._waited_ns = 0
        self._struck = self._cutting = self._main_ended = False
        self._turn_cost = self._vm.machine.cost
        if self._job.action is Action.RECORD:
            self._step()
        else:
            self._vm.machine.set_alarm(self._turn_cost + min(self._job.cost, self._job.limit))

    # -- interruptible points --------------------------------------------------------------------

    def _step(self) -> None:
        self._stepping = True
        self._vm.machine.step()

    def _alarm(self) -> None:
        run = self._run
        if run is None:
            raise UsageError(f"the program did not reach its main() within {SETUP_LIMIT} instructions")
        cost = self._cost
        if self._cutting:
            raise _Restart
        if cost >= self._job.limit:
            self._end_run(Ending.ENDLESS)
        elif self._job.action is Action.RECORD:
            if len(run.points) < self._job.points:
                run.points.append(cost)
                run.queues.append(self._layout.queue_state(self._memory))
            else:
                run.points_left_out = True
                self._run_on()
        elif not self._struck:
            self._strike()
        elif self._stepping:
            if self._layout.leading(self._memory, self._callback):
                run.points.append(cost)
            else:
                self._run_on()

    def _run_on(self) -> None:
        """At full speed to the end, or to the limit."""
        self._stepping = False
        self._vm.machine.set_alarm(self._turn_cost + self._job.limit)

    def _strike(self) -> None:
        """The interrupt comes now."""
        assert self._run is not None
        self._struck = True
        if self._job.action is Action.INTERRUPT:
            self._run.points.append(self._cost)
        if self._job.action is Action.LOCATE:
            self._layout.raise_exception(self._memory, self._marker)
            self._run_on()
        elif not self._layout.schedule(self._memory, self._callback, 1):  # the small integer 0
            self._run.lost = True
            self._run_on()
        elif not self._main_ended:
            self._step()

    def _end_run(self, ending: Ending) -> None:
        """Make the program leave ``main()``; one that will not costs a new VM."""
        assert self._run is not None
        if self._cutting:
            raise _Restart
        self._cutting = True
        self._run.ending = ending
        self._layout.raise_exception(self._memory, self._cut)
        self._vm.machine.set_alarm(self._vm.machine.cost + _GRACE)

    # -- Port ------------------------------------------------------------------------------------

    def next_program(self) -> bytes:
        if self._err:
            problem = without_port_frames(self._err).decode("utf-8", "replace").strip()
            raise UsageError(
                f"the program fails before its main() starts:\n{problem}",
                hint="it must define main() and interrupt(argument); check() is optional",
            )
        self._vm.machine.set_alarm(SETUP_LIMIT)
        return self._programs.pop(0)

    def write(self, data: bytes) -> None:
        self.write_raw(data)

    def write_raw(self, data: bytes) -> None:
        if self._run is None:
            return  # what the setup prints belongs to no run
        if len(self._out) + len(data) <= OUTPUT_LIMIT:
            self._out += data
        elif not self._cutting:
            self._end_run(Ending.FLOODED)

    def write_error(self, data: bytes) -> None:
        if len(self._err) + len(data) <= OUTPUT_LIMIT:
            self._err += data

    def read(self, size: int) -> bytes:
        return b""

    def poll_input(self, timeout_ns: int | None) -> bool:
        self.sleep_ns(_WAIT_LIMIT + 1 if timeout_ns is None else timeout_ns)
        return False

    def clock_ns(self) -> int:
        self._rung()
        return self._cost * NS_PER_INSTRUCTION + self._waited_ns

    def sleep_ns(self, duration: int) -> None:
        self._waited_ns += duration
        if self._run is not None and self._waited_ns > _WAIT_LIMIT and not self._cutting:
            self._end_run(Ending.ENDLESS)
