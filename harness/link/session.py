"""A conversation with a board: reads that say why they ended, writes with a deadline, everything recorded."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import serial

from harness.errors import BenchFault
from harness.link.panics import Panic, find_panic, printable
from harness.link.transcript import Transcript

#: A read that collects more than this without finding what it waits for is a flood, in bytes.
READ_LIMIT = 4 * 1024 * 1024
#: How much before a new chunk is looked at again for a panic text, in bytes.
_PANIC_CONTEXT = 2048
#: After a panic text: how long to listen for the rest of it, in seconds.
_PANIC_TAIL = 0.15
_WRITE_CHUNK = 4096


class Port(Protocol):
    """What a session needs of a port; a pyserial port is one."""

    timeout: float | None

    @property
    def in_waiting(self) -> int: ...
    def read(self, size: int = 1) -> bytes: ...
    def write(self, data: bytes) -> int | None: ...
    def close(self) -> None: ...


class Reason(Enum):
    """Why a read ended."""

    MATCH = "found"
    IDLE = "silence"
    DEADLINE = "deadline"
    CLOSED = "port closed"
    PANIC = "panic"
    FLOOD = "flood"


@dataclass(frozen=True)
class Read:
    """``data`` up to and including the match, or all there was; ``matched`` is the pattern found."""

    data: bytes
    reason: Reason
    matched: bytes | None = None
    panic: Panic | None = None

    @property
    def ok(self) -> bool:
        return self.reason is Reason.MATCH

    def __str__(self) -> str:
        if self.panic is not None:
            return f"{self.panic.kind}: {self.panic.text}"
        came = printable(self.data[-200:], 200)
        return f"{self.reason.value} after {f'{came!r}' if came else 'nothing'}"


class Session:
    """Owns ``port``. ``reopen`` opens it again by identity after an expected disconnect."""

    def __init__(
        self,
        port: Port,
        transcript: Transcript | None = None,
        *,
        reopen: Callable[[], Port] | None = None,
    ) -> None:
        self.port = port
        self.transcript = transcript or Transcript()
        self._reopen = reopen
        self._buffer = bytearray()
        self._closed = False
        self._reset_expected = False

    # -- reading ---------------------------------------------------------------------------------

    def read_until(self, *patterns: bytes, idle: float, deadline: float, watch_panics: bool = True) -> Read:
        """Read until one of ``patterns``; end after ``idle`` seconds of silence or ``deadline`` seconds in all.

        What follows the match stays for the next read. With ``watch_panics`` a crash text ends it at once.
        """
        end = time.monotonic() + deadline
        looked = 0
        longest = max((len(p) for p in patterns), default=1)
        while True:
            found = self._find(patterns, max(0, looked - longest + 1))
            if found is not None:
                at, pattern = found
                return Read(self._take(at + len(pattern)), Reason.MATCH, pattern)
            if watch_panics and looked < len(self._buffer):
                panic = self._panic(max(0, looked - _PANIC_CONTEXT))
                if panic is not None:
                    return panic
            looked = len(self._buffer)
            if looked > READ_LIMIT:
                return Read(self._take(looked), Reason.FLOOD)
            left = end - time.monotonic()
            if left <= 0:
                return Read(self._take(looked), Reason.DEADLINE)
            if not self._receive(min(idle, left)):
                if self._closed:
                    return Read(self._take(looked), Reason.CLOSED)
                return Read(self._take(looked), Reason.IDLE if idle < left else Reason.DEADLINE)

    def read_exactly(self, size: int, *, deadline: float) -> Read:
        """Read ``size`` bytes; fewer when ``deadline`` seconds pass or the port closes."""
        end = time.monotonic() + deadline
        while len(self._buffer) < size:
            left = end - time.monotonic()
            if left <= 0 or not self._receive(left):
                reason = Reason.CLOSED if self._closed else Reason.DEADLINE
                return Read(self._take(len(self._buffer)), reason)
        return Read(self._take(size), Reason.MATCH)

    def drain(self, *, quiet: float = 0.02, deadline: float = 2.0) -> bytes:
        """Everything until the line has been quiet for ``quiet`` seconds."""
        end = time.monotonic() + deadline
        while time.monotonic() < end and len(self._buffer) < READ_LIMIT and self._receive(quiet):
            pass
        return self._take(len(self._buffer))

    def waiting(self) -> bytes:
        """What has arrived by now, without waiting and without taking it."""
        if self.port.in_waiting:
            self._receive(0)
        return bytes(self._buffer)

    def _find(self, patterns: tuple[bytes, ...], start: int) -> tuple[int, bytes] | None:
        hits = [(at, p) for p in patterns if (at := self._buffer.find(p, start)) >= 0]
        return min(hits, key=lambda hit: hit[0] + len(hit[1]), default=None)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _receive(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for bytes; True when some came."""
        try:
            self.port.timeout = max(0.0, timeout)
            data = self.port.read(1)
            if data:
                more = self.port.in_waiting
                if more:
                    data += self.port.read(min(more, 65536))
        except (serial.SerialException, OSError, TypeError):
            self._closed = True
            return False
        if not data:
            return False
        self.transcript.add("received", data)
        self._buffer += data
        return True

    def _panic(self, start: int) -> Read | None:
        reset_expected = self._reset_expected
        panic = find_panic(bytes(self._buffer[start:]), reset_expected=reset_expected)
        if panic is None:
            return None
        while len(self._buffer) < READ_LIMIT and self._receive(_PANIC_TAIL):
            panic = find_panic(bytes(self._buffer[start:]), reset_expected=reset_expected) or panic
            if len(self._buffer) - start > 4 * _PANIC_CONTEXT:
                break
        return Read(self._take(len(self._buffer)), Reason.PANIC, panic=panic)

    # -- writing ---------------------------------------------------------------------------------

    def write(self, data: bytes, *, deadline: float = 5.0) -> None:
        """Send ``data``. Raises BenchFault when the port is gone or does not take it in time."""
        end = time.monotonic() + deadline
        for at in range(0, len(data), _WRITE_CHUNK):
            chunk = data[at : at + _WRITE_CHUNK]
            try:
                self.port.write(chunk)
            except (serial.SerialException, OSError) as problem:
                raise BenchFault(
                    f"the port did not take {len(chunk)} bytes: {str(problem)[:120]}",
                    hint="is the board still connected?",
                ) from None
            self.transcript.add("sent", chunk)
            if time.monotonic() > end:
                raise BenchFault(f"writing {len(data)} bytes took longer than {deadline:g} s")

    # -- life ------------------------------------------------------------------------------------

    @contextmanager
    def expecting_reset(self) -> Iterator[None]:
        """Inside, a ROM banner is what was asked for; only a boot loop or a crash text is trouble."""
        before, self._reset_expected = self._reset_expected, True
        try:
            yield
        finally:
            self._reset_expected = before

    @contextmanager
    def expecting_disconnect(self, *, within: float) -> Iterator[None]:
        """Inside, the port may vanish; afterwards it is open again, or BenchFault after ``within`` seconds."""
        yield
        if self._reopen is None:
            return
        end = time.monotonic() + within
        with_problem: BenchFault | None = None
        while self._closed:
            if time.monotonic() > end:
                raise BenchFault(f"the port did not come back within {within:g} s ({with_problem})")
            try:
                self.port = self._reopen()
                self._closed = False
            except BenchFault as problem:
                with_problem = problem
                time.sleep(0.05)  # the device node appears when it appears; there is no event for all platforms

    def forget_input(self) -> None:
        """Drop what was received and not read."""
        self._buffer.clear()

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(serial.SerialException, OSError):
            self.port.close()
        self.transcript.close()
