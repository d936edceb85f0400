"""Successive lives of the reference VM on one supervisor region, with what CircuitPython keeps between them.

Each life starts the real VM with a heap of exactly what the region has left. Rules of ``set_next_code_file`` and
of the run reasons: CircuitPython ``main.c`` (``run_code_py``) and ``shared-bindings/supervisor``.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from enum import Enum, IntFlag
from importlib import resources

from harness.engine.files import Files, MemoryFiles, Mode
from harness.engine.memory import GuestMemory
from harness.engine.prepare import vm_module
from harness.engine.vm import VmConfig
from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.flashstore.romfs import build_romfs, compile_module
from harness.reference.board import Board
from harness.reference.chips import Reset
from harness.reference.guest_rom import SOURCE_NAME
from harness.reference.life import Life
from harness.reference.supervisor import NODE, Allocation, Region, Span
from harness.runtimes.base import RunResult

#: What ``code.py`` may be called, in the order of the search (CircuitPython ``main.c``).
CODE_FILES = ("code.txt", "code.py", "main.py", "main.txt")
#: Default size of the region in bytes.
DEFAULT_REGION = 65536
#: Size of ``alarm.sleep_memory`` on the ESP32-S2 and S3, in bytes.
DEFAULT_SLEEP_MEMORY = 4096
#: With less than this the VM cannot start at all, in bytes.
_LEAST_HEAP = 4096


class RunReason(Enum):
    """Why a life began (``supervisor.runtime.run_reason``)."""

    STARTUP = 0
    AUTO_RELOAD = 1
    SUPERVISOR_RELOAD = 2
    REPL_RELOAD = 3


class Ended(Enum):
    """How a code file ended."""

    SUCCESS = "success"
    ERROR = "error"
    RELOAD = "reload"
    DEEP_SLEEP = "deep sleep"


class NextCode(IntFlag):
    """Options of ``set_next_code_file`` (``SUPERVISOR_NEXT_CODE_OPT_...``)."""

    RELOAD_ON_SUCCESS = 1
    RELOAD_ON_ERROR = 2
    STICKY_ON_SUCCESS = 4
    STICKY_ON_ERROR = 8
    STICKY_ON_RELOAD = 16
    NEWLY_SET = 32


@dataclass(frozen=True)
class CodeRun:
    """One life that ran ``file`` (None: there was none); ``heap`` is its raw heap in bytes."""

    file: str | None
    reason: RunReason
    heap: int
    ended: Ended
    result: RunResult


@functools.lru_cache(maxsize=1)
def _rom() -> bytes:
    source = resources.files("harness.engine").joinpath("guest/supervisor.py").read_bytes()
    return build_romfs({"_board.mpy": compile_module(SOURCE_NAME, source)})


class _GuestHeap:
    """The heap of the VM that runs, in guest memory. The guest allocates, for only it can, and offers the piece."""

    def __init__(self) -> None:
        self.memory: GuestMemory | None = None
        self.root_word = 0
        self.offered = 0

    @property
    def root(self) -> int:
        return self.memory.read_u32(self.root_word) if self.memory is not None else 0

    @root.setter
    def root(self, address: int) -> None:
        if self.memory is not None:
            self.memory.write_u32(self.root_word, address)

    def allocate(self, size: int) -> int | None:
        offered, self.offered = self.offered, 0
        return offered or None

    def free(self, address: int) -> None:
        """It is off the chain: the guest's next collection takes it."""

    def read(self, address: int, size: int) -> bytes:
        assert self.memory is not None
        return self.memory.read(address, size)

    def write(self, address: int, data: bytes) -> None:
        assert self.memory is not None
        self.memory.write(address, data)


class _SupervisedLife(Life):
    """A life whose guest may ask the supervisor."""

    def __init__(self, vm: SupervisedVm, module: bytes, config: VmConfig) -> None:
        self._supervisor = vm
        super().__init__(module, config, vm.files, vm.board)

    def _host_call(self, name: str, argument: str) -> str:
        if name == "supervisor":
            return self._supervisor.serve(self, argument)
        return super()._host_call(name, argument)


class SupervisedVm:
    """``region_size`` bytes are shared by the supervisor's allocations and the VM's heap; ``sleep_memory`` bytes
    stand in the RTC's memory beside them.

    Raises UsageError for sizes that cannot be. FirmwareFailure of any method: the VM cannot start in what is left
    (CircuitPython: safe mode, no heap), or what :class:`harness.reference.vm.ReferenceVm` raises.
    """

    def __init__(self, *, region_size: int = DEFAULT_REGION, sleep_memory: int = DEFAULT_SLEEP_MEMORY) -> None:
        if not 0 <= sleep_memory <= 65536:
            raise UsageError(f"a sleep memory of {sleep_memory} bytes: expected 0 to 65536")
        self.files: Files = MemoryFiles()
        self.board = Board(None)
        self.region = Region(region_size)
        self.reason = RunReason.STARTUP
        self.sleep_memory = bytes(sleep_memory)
        self._module = vm_module(lambda _message: None)
        self._persisted: Allocation | None = None
        self._next: Allocation | None = None
        self._situation = NextCode.NEWLY_SET
        self._life: Life | None = None
        self._started = False
        self._in_code = False
        self._heap = _GuestHeap()
        self._page = 0
        self._ended: Ended | None = None
        self._sleep_ms = 0
        self._restart(Reset.POWER_ON)

    # -- runs ------------------------------------------------------------------------------------

    def start(self, *, timeout: float = 30.0, at_most: int = 10) -> list[CodeRun]:
        """What the board does after a reset, or at the end of its deep sleep: run code files, one life each, until
        it would wait for a key or falls asleep.

        A reload by the program, or one that ``reload_on_success`` or ``reload_on_error`` asks for, leads to the next.
        Raises FirmwareFailure when it has not come to rest after ``at_most`` lives, and UsageError when it has been
        started already.
        """
        if self.board.asleep:
            self.board.sleep_through()
        if self._started:
            raise UsageError("the board has started already and waits", hint="reload(), auto_reload() or a reset")
        return self._run_until_rest(timeout, at_most)

    def _run_until_rest(self, timeout: float, at_most: int) -> list[CodeRun]:
        runs: list[CodeRun] = []
        while len(runs) < at_most:
            run, again = self._run_code(timeout)
            runs.append(run)
            if not again:
                return runs
            self._settle()
        raise FirmwareFailure(f"the program has been reloaded {at_most} times and goes on", hint="at_most=...")

    def reload(self, *, timeout: float = 30.0, at_most: int = 10) -> list[CodeRun]:
        """Ctrl-D while the board waits, or at its REPL."""
        self._must_be_awake()
        self._leave()
        self.reason = RunReason.REPL_RELOAD
        self._settle()
        return self._run_until_rest(timeout, at_most)

    def auto_reload(self, *, timeout: float = 30.0, at_most: int = 10) -> list[CodeRun]:
        """A file was written over USB while the board waits. Raises UsageError at the REPL, which disables it."""
        if self._life is not None:
            raise UsageError("the REPL is active, and auto-reload is off while it is", hint="reload()")
        self._must_be_awake()
        self._situation |= NextCode.STICKY_ON_RELOAD
        self.reason = RunReason.AUTO_RELOAD
        self._settle()
        return self._run_until_rest(timeout, at_most)

    def run(self, source: str, *, timeout: float = 30.0) -> RunResult:
        """Execute a program at the REPL, which is a life of its own that goes on until the next start."""
        self._must_be_awake()
        if self._life is not None and self._life.ended:
            self._leave()
        if self._life is None:
            self._settle()
            self._started = True
            self._life = self._begin()
        return self._life.execute(source.encode(), timeout)

    def _must_be_awake(self) -> None:
        if self.board.asleep:
            raise UsageError("the board is in deep sleep", hint="start() lets it pass")

    def _run_code(self, timeout: float) -> tuple[CodeRun, bool]:
        """One life of code; and whether another follows without a wait."""
        options = NextCode(0)
        names = [name for name in CODE_FILES if self._has(name)]
        if self._next is not None:
            data = self._next.read()
            options = NextCode(data[0]) & ~NextCode.NEWLY_SET
            self._next.write(bytes([options]))
            names = [
                name for name in [data[1:].split(b"\0")[0].decode("utf-8", "replace")] if name and self._has(name)
            ] + names
        reason, self._started = self.reason, True
        life = self._life = self._begin()
        heap = self.region.middle.size
        self._ended = None
        self._situation = NextCode.NEWLY_SET | NextCode.STICKY_ON_ERROR  # for a run that the host has to break off
        program = f"__import__('supervisor')._run({names[0]!r}, globals())" if names else "pass"
        self._in_code = True
        try:
            result = life.execute(program.encode(), timeout)
        finally:
            self._in_code = False
            self._end(life)
        ended = self._ended or (Ended.ERROR if names else Ended.SUCCESS)
        run = CodeRun(names[0] if names else None, reason, heap, ended, result)
        self._situation = NextCode.NEWLY_SET
        if ended is Ended.DEEP_SLEEP:
            self._fall_asleep()
            return run, False
        if ended is Ended.RELOAD:
            self._situation |= NextCode.STICKY_ON_RELOAD
            return run, True
        if ended is Ended.SUCCESS:
            self._situation |= NextCode.STICKY_ON_SUCCESS
            return run, NextCode.RELOAD_ON_SUCCESS in options
        self._situation |= NextCode.STICKY_ON_ERROR
        return run, NextCode.RELOAD_ON_ERROR in options

    def _settle(self) -> None:
        """The wait after a code file is over: its successor is forgotten unless it is new or sticky here."""
        if self._next is not None and not NextCode(self._next.read()[0]) & self._situation:
            self._forget()
        self._situation = ~NextCode(0)

    def _leave(self) -> None:
        """End the REPL, if it is that."""
        if self._life is not None:
            self._end(self._life)
            self.reason = RunReason.REPL_RELOAD

    def _begin(self) -> Life:
        self._heap = _GuestHeap()
        self._page = 0
        span: Span = self.region.begin_run(lambda _span: self._heap)
        self.board.restart(Reset.SOFT)
        life: Life | None = None
        if span.size >= _LEAST_HEAP:
            config = VmConfig(heap_size=span.size, system_rom=_rom())
            life = _SupervisedLife(self, self._module, config)
            try:
                life.result(10.0)
            except FirmwareFailure:
                self._end(life)
                raise
        if life is None or not self._page:
            self.region.end_run()
            raise FirmwareFailure(
                f"the VM cannot start with a heap of {span.size} bytes, all that the allocations leave",
                hint="hard_reset(), or a larger region_size",
            )
        return life

    def _end(self, life: Life) -> None:
        life.end()
        self._life = None
        if self._page:
            self.sleep_memory = life.vm.machine.memory.read(self._page, len(self.sleep_memory))
        try:
            if self.region.running:
                self.region.end_run()
        finally:
            # What the program has damaged is freed.
            self._persisted = self._persisted if self._persisted and self._persisted.pointer else None
            self._next = self._next if self._next and self._next.pointer else None

    # -- resets ----------------------------------------------------------------------------------

    def software_reset(self) -> None:
        """As ``microcontroller.reset()``: what is in the region is lost, the sleep memory is not."""
        self._restart(Reset.MACHINE)

    def hard_reset(self) -> None:
        """A pulse at the reset input, which switches the whole chip off on the ESP32: nothing but files is left."""
        self._restart(Reset.PIN)

    def power_cycle(self) -> None:
        """Power off and on: nothing but files is left."""
        self._restart(Reset.POWER_ON)

    def _restart(self, cause: Reset) -> None:
        if self._life is not None:
            self._end(self._life)
        self._clear_ram()
        if cause in (Reset.POWER_ON, Reset.PIN):
            self.sleep_memory = bytes(len(self.sleep_memory))
        self.board.restart(cause)

    def _fall_asleep(self) -> None:
        self._clear_ram()
        self.board.sources.at_ns = self.board.clock.now_ns + self._sleep_ms * 1_000_000
        self.board.fall_asleep()

    def _clear_ram(self) -> None:
        callbacks, span = self.region.on_move, self.region.span
        self.region = Region(span.size, base=span.start)
        self.region.on_move = callbacks
        self._persisted = self._next = None
        self._started = False
        self._situation = NextCode.NEWLY_SET
        self.reason = RunReason.STARTUP

    # -- files -----------------------------------------------------------------------------------

    def put(self, path: str, data: bytes) -> None:
        self.files.open("/" + path.lstrip("/"), Mode(write=True, create=True, truncate=True)).write(data)

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

    # -- what the guest asks for -----------------------------------------------------------------

    def serve(self, life: Life, request: str) -> str:
        """Answer the guest's ``supervisor`` module; on the VM's thread, while the guest stands still."""
        verb, *words = request.split()
        numbers = [int(word) for word in words]
        memory = life.vm.machine.memory
        if verb == "attach":
            self._page = memory.grow(max(1, len(self.sleep_memory)))
            memory.write(self._page, self.sleep_memory)
            self._heap.memory, self._heap.root_word = memory, numbers[0]
            return f"{self._page} {len(self.sleep_memory)} {self.reason.value}"
        if verb == "length":
            return str(-1 if self._persisted is None else self._persisted_length())
        if verb == "read" and self._persisted is not None:
            memory.write(numbers[0], self._persisted.read()[4 : 4 + self._persisted_length()])
        elif verb == "exists":
            return str(int(self._has(memory.read(*numbers).decode("utf-8", "replace"))))
        elif verb == "persist":
            address, size, self._heap.offered = numbers
            data = size.to_bytes(4, "little") + memory.read(address, size)
            return self._replace("_persisted", data)
        elif verb == "next":
            address, size, self._heap.offered = numbers
            options, *name = memory.read(address, size)
            return self._replace("_next", bytes([options | NextCode.NEWLY_SET, *name, 0]))
        elif verb == "drop":
            self.region.free(self._persisted)
            self._persisted = None
        elif verb == "forget":
            self._forget()
        elif verb == "reload":
            self.reason, self._ended = RunReason.SUPERVISOR_RELOAD, Ended.RELOAD
        elif verb == "sleep":
            if not self._in_code:
                return "refused"
            self._sleep_ms, self._ended = max(0, numbers[0]), Ended.DEEP_SLEEP
        elif verb in ("success", "error"):
            self._ended = Ended(verb)
        return ""

    def _persisted_length(self) -> int:
        assert self._persisted is not None
        return int.from_bytes(self._persisted.read()[:4], "little")

    def _replace(self, name: str, data: bytes) -> str:
        """Put ``data`` in the place of an allocation, which is kept until that has succeeded.

        "0" when it is done; otherwise the size in bytes of the piece that the guest is to offer.
        """
        before: Allocation | None = getattr(self, name)
        offered = self._heap.offered
        if before is None or before.get_length() != (len(data) + 3) & ~3:
            allocation = self.region.allocate(len(data), movable=True)
            if allocation is None:
                return str(-1 if offered else NODE + ((len(data) + 3) & ~3))
            self.region.free(before)
            setattr(self, name, allocation)
            before = allocation
        before.write(data)
        self._heap.offered = 0
        return "0"

    def _forget(self) -> None:
        self.region.free(self._next)
        self._next = None

    def close(self) -> None:
        if self._life is not None:
            self._end(self._life)

    def __enter__(self) -> SupervisedVm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
