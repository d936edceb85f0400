"""Successive lives of the reference VM on one supervisor region, with what CircuitPython keeps between them.

Each life starts the real VM with a heap of exactly what the region has left. Rules of ``set_next_code_file`` and
of the run reasons: CircuitPython ``main.c`` (``run_code_py``) and ``shared-bindings/supervisor``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.chips import Reset, chip_named
from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.reference.chip_board import Board
from harness.reference.engine.engine_vm import VmConfig
from harness.reference.engine.guest_files import Files, MemoryFiles, Mode
from harness.reference.engine.memory_layout import layout_of
from harness.reference.engine.prepare import vm_module
from harness.reference.guest_rom import supervisor_rom
from harness.reference.life import Life
from harness.reference.supervisor import Allocation, Region
from harness.reference.supervisor_state import Ended, RunReason, SafeMode, SupervisorState
from harness.runtimes.interface import RunResult

#: Default size of the region in bytes.
DEFAULT_REGION = 65536
#: Size of ``alarm.sleep_memory`` on the ESP32-S2 and S3, in bytes.
DEFAULT_SLEEP_MEMORY = 4096
#: With less than this the VM cannot start at all, in bytes.
_LEAST_HEAP = 4096


@dataclass(frozen=True)
class CodeRun:
    """One life that ran ``file`` (None: there was none); ``heap`` is its raw heap in bytes."""

    file: str | None
    reason: RunReason
    heap: int
    ended: Ended
    result: RunResult


class _SupervisedLife(Life):
    """A life whose guest may ask the supervisor, which reads its memory when it has ended."""

    memory_outlives_it = True

    def __init__(self, vm: SupervisedVm, module: bytes, config: VmConfig) -> None:
        self._supervisor = vm
        super().__init__(module, config, vm.files, vm.board)

    def _host_call(self, name: str, argument: str) -> str:
        if name == "supervisor":
            return self._supervisor.state.serve(self.vm.machine.memory, argument)
        return super()._host_call(name, argument)


class SupervisedVm:
    """``region_size`` bytes are shared by the supervisor's allocations and the VM's heap; ``sleep_memory`` bytes
    stand in the RTC's memory beside them. With ``chip`` it has that chip's pins, and CircuitPython's modules for them.
    ``progress`` hears about the one-time preparation.

    Raises UsageError for sizes that cannot be, or a chip that there is not. FirmwareFailure of any method: the
    VM cannot start in what is left (CircuitPython: safe mode, no heap), or what
    :class:`harness.reference.vm.ReferenceVm` raises.
    """

    def __init__(
        self,
        *,
        region_size: int = DEFAULT_REGION,
        sleep_memory: int = DEFAULT_SLEEP_MEMORY,
        chip: str | None = None,
        progress: Callable[[str], None] = lambda _message: None,
    ) -> None:
        if not 0 <= sleep_memory <= 65536:
            raise UsageError(f"a sleep memory of {sleep_memory} bytes: expected 0 to 65536")
        self.files: Files = MemoryFiles()
        port = chip_named(chip).port_at() if chip else None
        self.board = Board(port)
        self._module = vm_module(progress)
        self._rom = supervisor_rom(port, layout_of(self._module).depth)
        self._life: Life | None = None
        self._started = False
        #: When a program last printed something, in virtual nanoseconds since power-on.
        self.last_output_ns = 0
        self.state = SupervisorState(
            self.board, self._has, region_size=region_size, sleep_memory=bytes(sleep_memory), cause=Reset.POWER_ON
        )
        self.restart(Reset.POWER_ON)

    @property
    def region(self) -> Region:
        return self.state.region

    @property
    def reason(self) -> RunReason:
        return self.state.reason

    def allocate(self, length: int) -> Allocation | None:
        """``length`` bytes that move, for a client such as a display, at any time but inside a program; None: no room.

        While a VM runs, the REPL's between two programs, they come from its heap where no hole fits. A client that
        holds the handle asks it for its ``pointer``; one that holds the pointer listens to ``region.on_move``.
        """
        if self._life is None or self._life.ended:
            return self.region.allocate(length, movable=True)
        before = len(self.state.clients)
        call = f"__import__('supervisor')._allocate({length})"
        result = self._life.execute(call.encode(), 10.0)
        if result.stderr and b"MemoryError" not in result.stderr:
            raise FirmwareFailure(f"the VM did not allocate: {result.stderr[-200:].decode('utf-8', 'replace')}")
        return self.state.clients[-1] if len(self.state.clients) > before else None

    @property
    def sleep_memory(self) -> bytes:
        return self.state.sleep_memory

    # -- runs ------------------------------------------------------------------------------------

    def start(self, *, timeout: float = 30.0, at_most: int = 10) -> list[CodeRun]:
        """What the board does after a reset, or at the end of its deep sleep: run code files, one life each, until
        it would wait for a key or falls asleep.

        A reload by the program, or one that ``reload_on_success`` or ``reload_on_error`` asks for, leads to the next.
        Raises FirmwareFailure when it has not come to rest after ``at_most`` lives, and UsageError when it has been
        started already.
        """
        if self.board.asleep:
            self.sleep_through()
        if self._started:
            raise UsageError("the board has started already and waits", hint="reload(), auto_reload() or a reset")
        return self._run_until_rest(timeout, at_most)

    def _run_until_rest(self, timeout: float, at_most: int, interrupt_at: bytes = b"") -> list[CodeRun]:
        runs: list[CodeRun] = []
        while len(runs) < at_most:
            run, again = self._run_code(timeout, b"" if runs else interrupt_at)
            runs.append(run)
            if not again:
                return runs
            self._settle()
        raise FirmwareFailure(f"the program has been reloaded {at_most} times and goes on", hint="at_most=...")

    def reload(self, *, timeout: float = 30.0, at_most: int = 10, interrupt_at: bytes = b"") -> list[CodeRun]:
        """Ctrl-D while the board waits, or at its REPL. The first run gets a Ctrl-C at that output."""
        self._must_be_awake()
        self._leave()
        self.state.reason = RunReason.REPL_RELOAD
        self._settle()
        return self._run_until_rest(timeout, at_most, interrupt_at)

    def auto_reload(self, *, timeout: float = 30.0, at_most: int = 10) -> list[CodeRun]:
        """A file was written over USB while the board waits. Raises UsageError at the REPL, which disables it."""
        if self._life is not None:
            raise UsageError("the REPL is active, and auto-reload is off while it is", hint="reload()")
        self._must_be_awake()
        self.state.auto_reload()
        self._settle()
        return self._run_until_rest(timeout, at_most)

    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        """Execute a program at the REPL, which is a life of its own that goes on until the next start."""
        self._must_be_awake()
        if self._life is not None and self._life.ended:
            self._leave()
        if self._life is None:
            self._settle()
            self._started = True
            self._life = self._begin()
        return self._life.execute(source.encode(), timeout, interrupt_at=interrupt_at)

    def _must_be_awake(self) -> None:
        if self.board.asleep:
            raise UsageError("the board is in deep sleep", hint="start() lets it pass")

    def _run_code(self, timeout: float, interrupt_at: bytes) -> tuple[CodeRun, bool]:
        """One life of code; and whether another follows without a wait."""
        state = self.state
        name, reason, self._started = state.begin_code(), state.reason, True
        life = self._life = self._begin()
        heap = state.region.middle.size
        state.in_code = True
        try:
            result = life.execute(code_program(name), timeout, interrupt_at=interrupt_at)
        finally:
            self._end(life)
        ended = state.ended or (Ended.ERROR if name else Ended.SUCCESS)
        run = CodeRun(name, reason, heap, ended, result)
        again = state.end_code(ended)
        if ended is Ended.DEEP_SLEEP:
            self._fall_asleep()
        elif ended is Ended.RESET:
            self.restart(life.ended_by)
        return run, again

    def _settle(self) -> None:
        self.state.settle()

    def _leave(self) -> None:
        """End the REPL, if it is that."""
        if self._life is not None:
            ended_by = self._life.ended_by
            self._end(self._life)
            if self.state.ended is Ended.RESET:
                self.restart(ended_by)
            self.state.reason = RunReason.REPL_RELOAD

    def leave_repl(self) -> None:
        """Ctrl-D at the raw REPL: its life ends, no code file runs, and the next :meth:`run` begins another life."""
        self._must_be_awake()
        self._leave()

    @property
    def repl_ended(self) -> bool:
        """The last program at the REPL has ended its life."""
        return self._life is not None and self._life.ended

    def _begin(self) -> Life:
        self.board.restart(Reset.SOFT)
        span = self.state.begin_run()
        life: Life | None = None
        if span.size >= _LEAST_HEAP:
            config = VmConfig(heap_size=span.size, system_rom=self._rom)
            life = _SupervisedLife(self, self._module, config)
            try:
                life.result(10.0)
            except FirmwareFailure:
                self._end(life)
                raise
        if life is None or not self.state.attached:
            self.region.end_run()
            raise FirmwareFailure(
                f"the VM cannot start with a heap of {span.size} bytes, all that the allocations leave",
                hint="hard_reset(), or a larger region_size",
            )
        return life

    def _end(self, life: Life) -> None:
        life.end()
        self._life = None
        self.last_output_ns = max(self.last_output_ns, life.last_output_ns)
        try:
            self.state.end_run()
        finally:
            if life.ended:
                life.vm.machine.close()

    # -- resets ----------------------------------------------------------------------------------

    def software_reset(self) -> None:
        """As ``microcontroller.reset()``: what is in the region is lost, the sleep memory is not."""
        self.restart(Reset.MACHINE)

    def hard_reset(self) -> None:
        """A pulse at the reset input, which switches the whole chip off on the ESP32: nothing but files is left."""
        self.restart(Reset.PIN)

    def power_cycle(self) -> None:
        """Power off and on: nothing but files is left."""
        self.restart(Reset.POWER_ON)

    def restart(self, cause: Reset) -> None:
        """The chip starts after a reset of that kind; :meth:`start` then runs what is to be run."""
        if self._life is not None:
            self._end(self._life)
        self.board.restart(cause)
        self._renew(cause)

    def _fall_asleep(self) -> None:
        self._started = False
        self.state.fall_asleep()
        self.board.fall_asleep()

    def sleep_through(self) -> None:
        """Let the deep sleep pass. Raises FirmwareFailure when nothing will end it, ChipReset when a reset does."""
        self.board.sleep_through()
        self._renew(Reset.DEEP_SLEEP)

    def _renew(self, cause: Reset) -> None:
        """The chip starts: what is in RAM is lost."""
        old = self.state
        lost = cause in (Reset.POWER_ON, Reset.PIN, Reset.BROWN_OUT)
        self._started = False
        self.state = SupervisorState(
            self.board,
            self._has,
            region_size=old.region.span.size,
            sleep_memory=bytes(len(old.sleep_memory)) if lost else old.sleep_memory,
            nvm=old.nvm,
            cause=cause,
            wake_pins=old.wake_pins,
        )
        self.state.safe_mode = old.next_mode if cause is Reset.MACHINE else SafeMode.NONE
        self.state.region.on_move = old.region.on_move

    # -- files -----------------------------------------------------------------------------------

    def put(self, path: str, data: bytes) -> None:
        """Raises BenchFault where it cannot be written."""
        try:
            self.files.open("/" + path.lstrip("/"), Mode(write=True, create=True, truncate=True)).write(data)
        except OSError as problem:
            raise BenchFault(f"{path} cannot be written for the reference VM: {problem.strerror}") from None

    def remove(self, path: str) -> None:
        """Raises BenchFault when there is no such file."""
        if not self._has(path):
            raise BenchFault(f"the reference VM has no file {path!r}")
        self.files.remove("/" + path.lstrip("/"))

    def _has(self, path: str) -> bool:
        try:
            return not self.files.stat("/" + path.lstrip("/")).is_dir
        except OSError:
            return False

    def close(self) -> None:
        if self._life is not None:
            self._end(self._life)

    def __enter__(self) -> SupervisedVm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def code_program(name: str | None) -> bytes:
    """The program that runs a code file and tells the supervisor how it has ended."""
    return f"__import__('supervisor')._run({name!r}, globals())".encode() if name else b"pass"
