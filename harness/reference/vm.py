"""The host reference VM as a :class:`harness.runtimes.base.Runtime`.

Deterministic: the clock is the metered cost plus the sleeps asked for, so two runs of one program give
the same figures to the last digit, on any host. A sleep takes no time and is as long as it says.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from harness.engine.files import Files, MemoryFiles, Mode
from harness.engine.machine import Crashed, OutOfFuel, Stopped
from harness.engine.prepare import vm_module
from harness.engine.vm import Vm, VmConfig, without_port_frames
from harness.errors import BenchFault, FirmwareFailure
from harness.runtimes.base import Facts, RunResult
from harness.runtimes.probe import read_facts

#: Reference clock: nanoseconds per executed WebAssembly instruction. Any constant would do, since a
#: board's calibration scales it; this one makes the reference about as fast as a small board.
NS_PER_INSTRUCTION = 25
#: A program that prints more than this is cut off and reported, in bytes.
OUTPUT_LIMIT = 4 * 1024 * 1024
#: Default raw heap in bytes: what MicroPython's ESP32 port starts with.
DEFAULT_HEAP = 57344
#: Seconds within which a VM that was interrupted, or told to stop, must have done so.
_GRACE = 2.0


class _Flooded(Exception):
    """The program printed more than the limit."""


class ReferenceVm:
    """One reference VM. ``progress`` hears about the one-time preparation.

    ``heap_size`` is the raw heap in bytes, tables included; ``romfs`` an image that is mapped at ``/rom``;
    ``boot`` the content of a ``boot.py`` that runs at each start.
    """

    def __init__(
        self,
        *,
        heap_size: int = DEFAULT_HEAP,
        romfs: bytes = b"",
        boot: bytes | None = None,
        progress: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self.files: Files = MemoryFiles()
        self._module = vm_module(progress)
        start_files: tuple[str, ...] = ()
        if boot is not None:
            self.put("/boot.py", boot)
            start_files = ("boot.py",)
        self._config = VmConfig(heap_size=heap_size, romfs=romfs, start_files=start_files)
        self._facts: Facts | None = None
        self._life = _Life(self._module, self._config, self.files)

    # -- Runtime ---------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = read_facts(lambda source: self.run(source))
        return self._facts

    @property
    def cost(self) -> int:
        """Instructions executed since the last reset."""
        return self._life.vm.machine.cost

    def run(self, source: str, *, timeout: float = 30.0) -> RunResult:
        if self._life.ended:
            self.soft_reset()
        return self._life.execute(source.encode(), timeout)

    def put(self, path: str, data: bytes) -> None:
        handle = self.files.open(_absolute(path), Mode(write=True, create=True, truncate=True))
        handle.write(data)

    def get(self, path: str) -> bytes:
        try:
            return self.files.open(_absolute(path), Mode()).read(1 << 30)
        except OSError as problem:
            raise BenchFault(f"the reference VM has no file {path!r}: {problem.strerror}") from None

    def remove(self, path: str) -> None:
        self.files.remove(_absolute(path))

    def soft_reset(self) -> None:
        self._life.end()
        self._life = _Life(self._module, self._config, self.files)

    def hard_reset(self) -> None:
        self.soft_reset()

    def map_romfs(self, image: bytes) -> None:
        """Put ``image`` in the flash region that is mapped at ``/rom``, and reset."""
        self._config = replace(self._config, romfs=image)
        self.soft_reset()

    def close(self) -> None:
        self._life.end()

    def __enter__(self) -> ReferenceVm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Life:
    """One VM from start to end, on a thread of its own; also its port."""

    def __init__(self, module: bytes, config: VmConfig, files: Files) -> None:
        self.files = files
        self._out = bytearray()
        self._err = bytearray()
        self._slept_ns = 0
        self._program: bytes | None = None
        self._turn = threading.Condition()
        self._idle = False
        self._closing = False
        self._failure: Exception | None = None
        self.ended = False
        self.vm = Vm(module, self, config)
        self._thread = threading.Thread(target=self._live, name="reference-vm", daemon=True)
        self._thread.start()
        self._wait_idle(10.0)

    def _live(self) -> None:
        try:
            self.vm.run()
        except Stopped:
            pass
        except (Crashed, OutOfFuel, _Flooded) as failure:
            self._failure = failure
        finally:
            with self._turn:
                self.ended = True
                self._turn.notify_all()

    def execute(self, source: bytes, timeout: float) -> RunResult:
        started = time.perf_counter()
        with self._turn:
            self._out.clear()
            self._err.clear()
            self._program = source
            self._idle = False
            self._turn.notify_all()
        if not self._wait_idle(timeout):
            self.vm.interrupt()
            if not self._wait_idle(_GRACE):
                self.end()
            raise FirmwareFailure(
                f"the program did not end within {timeout:g} s on the reference VM; last output: {_tail(self._out)!r}"
            )
        if isinstance(self._failure, _Flooded):
            raise FirmwareFailure(f"the program printed more than {OUTPUT_LIMIT // 1024} kB")
        if isinstance(self._failure, OutOfFuel):
            raise FirmwareFailure(f"the program used up its instructions: {self._failure}")
        if self._failure is not None:
            raise FirmwareFailure(f"the reference VM crashed: {self._failure}")
        return RunResult(bytes(self._out), without_port_frames(self._err), time.perf_counter() - started)

    def _wait_idle(self, timeout: float) -> bool:
        with self._turn:
            return self._turn.wait_for(lambda: self._idle or self.ended, timeout)

    def end(self) -> None:
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        self.vm.machine.stop()
        self._thread.join(_GRACE)

    # -- Port ------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if len(self._out) + len(data) > OUTPUT_LIMIT:
            raise _Flooded
        # A board's terminal layer sends CR LF; so that outputs compare, the reference does too.
        self._out += data.replace(b"\n", b"\r\n")

    def write_raw(self, data: bytes) -> None:
        if len(self._out) + len(data) > OUTPUT_LIMIT:
            raise _Flooded
        self._out += data

    def write_error(self, data: bytes) -> None:
        if len(self._err) + len(data) <= OUTPUT_LIMIT:
            self._err += data.replace(b"\n", b"\r\n")

    def read(self, size: int) -> bytes:
        return b""  # nobody types at the reference VM: end of file

    def poll_input(self, timeout_ns: int | None) -> bool:
        if timeout_ns:
            self._slept_ns += timeout_ns
        return False

    def next_program(self) -> bytes:
        with self._turn:
            self.vm.withdraw_interrupt()
            self._idle = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._program is not None or self._closing)
            if self._closing or self._program is None:
                raise Stopped
            program, self._program = self._program, None
            return program

    def clock_ns(self) -> int:
        return self.vm.machine.cost * NS_PER_INSTRUCTION + self._slept_ns

    def sleep_ns(self, duration: int) -> None:
        self._slept_ns += duration


def _absolute(path: str) -> str:
    return path if path.startswith("/") else "/" + path


def _tail(data: bytearray) -> str:
    return data[-200:].decode("utf-8", "replace")
