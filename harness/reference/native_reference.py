"""A native unix build of MicroPython as a :class:`harness.runtimes.interface.Runtime`.

It has no metered cost: its times are times of this host, good for nothing but to say how long a run took. Its
heap figures compare by the rules that follow from its :class:`Facts`, as a board's do.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path, PurePosixPath

from harness.errors import BenchFault, UsageError
from harness.reference.engine.engine_vm import without_port_frames
from harness.reference.engine.native_build import NativeProcess
from harness.runtimes.ask_names import read_facts
from harness.runtimes.interface import Facts, RunResult


class NativeVm:
    """``executable`` in an empty folder of its own, which is where :meth:`put` writes and programs start.

    ``heap_size`` in bytes, tables included; None for the build's own. Absolute paths inside a program are this
    machine's. Raises UsageError when the executable is no MicroPython unix build.
    """

    def __init__(self, executable: Path, *, heap_size: int | None = None) -> None:
        self.executable = executable.resolve()
        self._heap_size = heap_size
        self._folder = tempfile.TemporaryDirectory(prefix="vm-harness-")
        self._facts: Facts | None = None
        try:
            self._process = self._start()
        except UsageError:
            self._folder.cleanup()
            raise

    def _start(self) -> NativeProcess:
        return NativeProcess(self.executable, Path(self._folder.name), self._heap_size)

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = read_facts(lambda source: self.run(source))
        return self._facts

    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        """Execute a program; see :class:`harness.runtimes.interface.Runtime`. Lines end as on a board, by CR LF.

        Raises UsageError for ``interrupt_at``: there is no Ctrl-C here.
        """
        if interrupt_at:
            raise UsageError("a native VM's program cannot be given a Ctrl-C at a chosen output")
        if self._process.ended:
            self._process = self._start()
        started = time.perf_counter()
        out, err = self._process.run(source.encode(), timeout)
        seconds = time.perf_counter() - started
        return RunResult(out.replace(b"\n", b"\r\n"), without_port_frames(err.replace(b"\n", b"\r\n")), seconds)

    def put(self, path: str, data: bytes) -> None:
        try:
            self._inside(path).write_bytes(data)
        except OSError as problem:
            raise BenchFault(f"{path} cannot be written for the native VM: {problem.strerror}") from None

    def get(self, path: str) -> bytes:
        try:
            return self._inside(path).read_bytes()
        except OSError as problem:
            raise BenchFault(f"the native VM has no file {path!r}: {problem.strerror}") from None

    def remove(self, path: str) -> None:
        try:
            self._inside(path).unlink()
        except OSError as problem:
            raise BenchFault(f"{path} cannot be removed for the native VM: {problem.strerror}") from None

    def _inside(self, path: str) -> Path:
        parts = PurePosixPath("/" + path).parts[1:]
        if ".." in parts:
            raise UsageError(f"{path!r} leads out of the native VM's folder")
        return Path(self._folder.name, *parts)

    def soft_reset(self) -> None:
        self._process.end()
        self._process = self._start()

    def hard_reset(self) -> None:
        self.soft_reset()

    def close(self) -> None:
        self._process.end()
        self._folder.cleanup()

    def __enter__(self) -> NativeVm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
