"""Peak memory of the harness under output that is made to fill it, above what it has before."""

from __future__ import annotations

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import HarnessError
from harness.link.session import Session
from harness.link.transcript import Transcript
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.runtimes.records import decode

MB = 1024 * 1024
_CHUNK = 64 * 1024


class _Port:
    """Gives what ``source`` yields as fast as it is read."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._rest = b""
        self.timeout: float | None = None
        self.given = 0

    @property
    def in_waiting(self) -> int:
        return len(self._rest)

    def read(self, size: int = 1) -> bytes:
        if not self._rest:
            self._rest = next(self._source, b"")
        data, self._rest = self._rest[:size], self._rest[size:]
        self.given += len(data)
        return data

    def write(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None:
        pass


def _line(total: int) -> Iterator[bytes]:
    """The answer of a raw REPL to a program: one line of ``total`` bytes."""
    yield b"R\x01\x00\x40"
    yield b"\x04"
    for _ in range(total // _CHUNK):
        yield b"x" * _CHUNK
    yield b"\r\n\x04\x04>"


def _peak(action: Callable[[], None]) -> float:
    tracemalloc.start()
    try:
        action()
        return tracemalloc.get_traced_memory()[1] / MB
    finally:
        tracemalloc.stop()


def _run(source: Iterator[bytes], transcript: Transcript) -> int:
    """Run a program that is answered with ``source``, until the harness has had enough; bytes taken."""
    port = _Port(source)
    board = MicroPythonBoard(Session(port, transcript), boot_timeout=1.0)
    board._in_hand = True
    try:
        board.run("pass", timeout=120.0)
    except HarnessError:
        pass
    else:
        raise AssertionError("a flood was taken for output")
    return port.given


def main() -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
        file = Path(folder) / "t.jsonl"

        def long_line() -> None:
            figures["one line of 100 MB: MB taken before it was given up"] = (
                _run(_line(100 * MB), Transcript(file)) / MB
            )

        figures["one line of 100 MB: peak memory (MB)"] = _peak(long_line)
        figures["one line of 100 MB: transcript file (MB)"] = file.stat().st_size / MB

        def hours() -> None:
            transcript = Transcript(file)
            session = Session(_Port(iter([b"\xff\0\x1b[2J" * 8000] * 5000)), transcript)
            for _ in range(60):  # a reader that does not give up
                session.read_until(b"never", idle=1.0, deadline=60.0, watch_panics=False)

        figures["endless output, read again and again: peak memory (MB)"] = _peak(hours)
        figures["endless output, read again and again: transcript file (MB)"] = file.stat().st_size / MB

        def records() -> None:
            try:
                decode(b"\x02" * (4 * MB))
            except HarnessError:
                return
            raise AssertionError("marks without records were taken for figures")

        figures["4 MB of record marks: peak memory (MB)"] = _peak(records)
    return figures
