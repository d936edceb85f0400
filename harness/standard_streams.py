"""Standard output and error of the command, which can be closed, full or without a reader while a run goes on.

A night whose log lies on a full disk still tests its boards: what cannot be written is dropped, told in the end, and
never taken for a failure of the firmware.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import threading
from typing import TYPE_CHECKING, TextIO

from harness.errors import EXIT_BENCH_FAULT, EXIT_PASS, Interrupted

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class _LossyFile(io.FileIO):
    """A file descriptor whose first failed write is kept in ``lost``; from then on nothing is written any more.

    A reader that went away (``| head -1``) is taken for Ctrl-C, once: raises Interrupted.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: ReadableBuffer, /) -> int:
        if self.lost is None:
            try:
                return super().write(data) or 0
            except BlockingIOError:
                raise
            except OSError as problem:
                self.lost = problem
                if problem.errno == errno.EPIPE and threading.current_thread() is threading.main_thread():
                    raise Interrupted("nobody reads its output any more") from None
        return memoryview(data).nbytes


class StandardStreams:
    """Takes the place of ``sys.stdout`` and ``sys.stderr``. Those that were closed at the start lead nowhere: else the
    next file that is opened would get their number, and what is printed."""

    def __init__(self) -> None:
        for number in (0, 1, 2):
            try:
                os.fstat(number)
            except OSError:
                opened = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
                os.set_inheritable(opened, True)
        self._output, sys.stdout = _lossy(1, sys.stdout)
        self._errors, sys.stderr = _lossy(2, sys.stderr)

    def ended(self, code: object) -> object:
        """The exit code of a command that ended with ``code``, after what is left to write."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(KeyboardInterrupt, OSError):  # all was done, but for who would have read it
                stream.flush()
        lost = self._output.lost
        if lost is None or lost.errno == errno.EPIPE:
            return code
        sys.stderr.write(f"harness: its output could not be written: {lost.strerror}; what was measured is kept\n")
        sys.stderr.flush()
        return EXIT_BENCH_FAULT if code in (None, EXIT_PASS) else code


def _lossy(number: int, stream: TextIO | None) -> tuple[_LossyFile, TextIO]:
    file = _LossyFile(number)
    if not isinstance(stream, io.TextIOWrapper):  # closed at the start
        return file, io.TextIOWrapper(io.BufferedWriter(file), "utf-8", "backslashreplace")
    stream.flush()
    return file, io.TextIOWrapper(
        io.BufferedWriter(file), stream.encoding, stream.errors,
        line_buffering=stream.line_buffering, write_through=stream.write_through,
    )  # fmt: skip
