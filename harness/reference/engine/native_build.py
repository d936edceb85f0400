"""A native unix build of MicroPython, as a process that takes one program after another.

The unix port has no raw REPL (``ports/unix/main.c``), so a small port script runs the programs, fed through a
pipe of its own. It is started with upstream's own options, ``-X heapsize=`` and ``-c``.

Not a sandbox: the VM runs as this user and sees this machine's files. What is bounded is time, output, memory
and the size of the files it writes.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
from importlib import resources
from pathlib import Path

from harness.children import end_with_parent
from harness.errors import FirmwareFailure, UsageError
from harness.link.deadline import Deadline
from harness.reference.engine.bounds import bound

#: Names the native build that is meant by ``native``.
ENVIRONMENT = "HARNESS_NATIVE_VM"
#: A program that prints more than this, in bytes, is ended.
OUTPUT_LIMIT = 4 * 1024 * 1024
#: Beside the heap, which is given when it starts, in bytes.
_MEMORY_LIMIT = 512 * 1024 * 1024
_FILE_LIMIT = 64 * 1024 * 1024
_START_TIMEOUT = 10.0
_GRACE = 2.0
#: What the port script says after the error, if any, that a program ended by.
_READY, _EXIT = b"\x04ready\n", b"\x04exit\n"


def is_native(path: Path) -> bool:
    """Whether ``path`` is an ELF executable that may be run."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF" and os.access(path, os.X_OK)
    except OSError:
        return False


def find_native() -> Path | None:
    """The native build of this machine: what ``HARNESS_NATIVE_VM`` names, else ``micropython`` on PATH.

    Raises UsageError when the variable names something that is not an executable.
    """
    named = os.environ.get(ENVIRONMENT)
    if named:
        if not is_native(Path(named)):
            raise UsageError(f"{ENVIRONMENT} names {named!r}, which is not a native executable")
        return Path(named).resolve()
    program = shutil.which("micropython")
    return Path(program) if program and is_native(Path(program)) else None


class NativeProcess:
    """One life of the VM. ``folder`` is its current folder; ``heap_size`` in bytes, None for the build's own.

    Raises UsageError when the executable does not start as a MicroPython unix build does.
    """

    def __init__(self, executable: Path, folder: Path, heap_size: int | None) -> None:
        command_end, self._commands = os.pipe()
        self._answers, answer_end = os.pipe()
        script = resources.files("harness.reference.engine").joinpath("guest/native_port.py").read_text("utf-8")
        options = [] if heap_size is None else ["-X", f"heapsize={heap_size}"]
        try:
            self._process = subprocess.Popen(
                [str(executable), *options, "-c", script % (command_end, answer_end)],
                cwd=folder,
                env={"PATH": os.defpath, "MICROPYPATH": f".frozen:{folder}/lib", "HOME": str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,  # warnings: a board has one console
                pass_fds=(command_end, answer_end),
                start_new_session=True,
                preexec_fn=end_with_parent(),
            )
        except OSError as problem:
            os.close(self._commands)
            os.close(self._answers)
            raise UsageError(f"{executable} cannot be run: {problem.strerror}") from None
        finally:
            os.close(command_end)
            os.close(answer_end)
        bound(self._process.pid, memory=_MEMORY_LIMIT + (heap_size or 0), file_size=_FILE_LIMIT)
        self._out = bytearray()
        self._said = bytearray()
        self._selector = selectors.DefaultSelector()
        assert self._process.stdout is not None
        for source, into in (
            (self._process.stdout.fileno(), self._out),
            (self._answers, self._said),
        ):
            os.set_blocking(source, False)
            self._selector.register(source, selectors.EVENT_READ, into)
        self.ended = False
        if not self._until_answer(Deadline(_START_TIMEOUT)) or not self._said.endswith(_READY):
            self.end()
            raise UsageError(
                f"{executable} does not start as a MicroPython unix build does{self._last_words()}",
                hint="give a unix build with 'compile' and files (the standard variant has both)",
            )

    def run(self, source: bytes, timeout: float) -> tuple[bytes, bytes]:
        """What the program prints, and the error it ends by.

        Raises FirmwareFailure when it does not end in time, prints without end, or ends the VM by a crash. A VM
        that does not hear Ctrl-C has ended then.
        """
        self._out.clear()
        self._said.clear()
        with contextlib.suppress(BrokenPipeError):  # it has ended; its exit status says more
            _write_all(self._commands, b"%d\n" % len(source) + source)
        if not self._until_answer(Deadline(timeout)):
            tail = bytes(self._out[-200:]).decode("utf-8", "replace")
            self._process.send_signal(signal.SIGINT)
            if not self._until_answer(Deadline(_GRACE)):
                self.end()
            raise FirmwareFailure(
                f"the program did not end within {timeout:g} s on the native VM; last output: {tail!r}"
            )
        if not self._said.endswith(_READY):
            status = self.end()
            if not self._said.endswith(_EXIT):
                raise FirmwareFailure(f"the native VM crashed: {_words(status)}{self._last_words()}")
        return bytes(self._out), bytes(self._said).rpartition(b"\x04")[0]

    def _until_answer(self, deadline: Deadline) -> bool:
        """Take what comes until the script answers or the VM ends; False when that is not in time."""
        while True:
            events = self._selector.select(0 if self._answered else deadline.left)
            for key, _ in events:
                self._take(key)
            if len(self._out) + len(self._said) > OUTPUT_LIMIT:
                self.end()
                raise FirmwareFailure(f"the program printed more than {OUTPUT_LIMIT // 1024} kB")
            if not self._selector.get_map() or (self._answered and not events):
                return True  # the answer was sent after all output: what was there has been read
            if not self._answered and deadline.passed:
                return False

    @property
    def _answered(self) -> bool:
        return self._said.endswith(_READY)

    def _take(self, key: selectors.SelectorKey) -> None:
        data = b""
        with contextlib.suppress(BlockingIOError):
            data = os.read(key.fd, 65536)
            if not data:
                self._selector.unregister(key.fd)
        key.data.extend(data)

    def _last_words(self) -> str:
        line = bytes(self._out).rstrip().rsplit(b"\n", 1)[-1][-200:]
        return f"; it said last: {line.decode('utf-8', 'backslashreplace')!r}" if line else ""

    def end(self) -> int:
        """Stop the process; its exit status, negative for a signal."""
        if not self.ended:
            self.ended = True
            if self._selector.get_map():
                self._process.kill()
            status = self._process.wait()
            self._selector.close()
            assert self._process.stdout is not None
            self._process.stdout.close()
            os.close(self._commands)
            os.close(self._answers)
            return status
        return self._process.wait()


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def _words(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"
