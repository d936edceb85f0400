"""A conversation with a board: reads that say why they ended, writes with a deadline, everything recorded."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import serial

from harness.errors import BenchFault, FinalFault
from harness.link.coming_back import until_there
from harness.link.deadline import Deadline
from harness.link.panics import BANNER, BANNER_SIZE, Panic, find_greeting, find_panic, printable
from harness.link.transcript import Transcript

#: A read that collects more than this without finding what it waits for is a flood, in bytes.
READ_LIMIT = 4 * 1024 * 1024
#: How much before a new chunk is looked at again for a panic text, in bytes.
_PANIC_CONTEXT = 2048
#: After a panic text: how long to listen for the rest of it, in seconds.
_PANIC_TAIL = 0.15
#: How long in all, when more and more comes.
_PANIC_TAIL_AT_MOST = 1.0
#: After a panic text in a program's output: how long the line is quiet before the board is asked for its prompt.
_SUSPICIOUS_QUIET = 0.6
#: The prompts of a VM that has started anew, at the end of what came.
_FRESH_PROMPTS = (b">>> ", b"\n> ")
_WRITE_CHUNK = 4096
#: Silence that ends less than this before the deadline, in seconds, is the deadline: live and in a replay alike.
_AT_ONCE = 1e-6


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
    """``data`` up to and including the match, or all there was; ``matched`` is the pattern found; ``panic`` words of a
    crash in it."""

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
    """Owns ``port``. ``reopen`` opens it again by identity after an expected disconnect.

    ``why_gone`` says why the board must not be used any more, if it must not; a read or write then raises that.
    """

    def __init__(
        self,
        port: Port,
        transcript: Transcript | None = None,
        *,
        reopen: Callable[[], Port] | None = None,
        why_gone: Callable[[], FinalFault | None] = lambda: None,
    ) -> None:
        self.port = port
        self.transcript = transcript or Transcript()
        self._reopen = reopen
        self._why_gone = why_gone
        self._buffer = bytearray()
        self._closed = False
        self._reset_expected = False
        self._bound: Deadline | None = None
        # ROM banners: where those in the buffer start, and how many left it since a reset was expected.
        self._banners: list[int] = []
        self._banners_taken = 0

    # -- reading ---------------------------------------------------------------------------------

    def read_until(
        self,
        *patterns: bytes,
        idle: float,
        deadline: float | Deadline,
        watch_panics: bool = True,
        of_program: bool = False,
        limit: int = READ_LIMIT,
    ) -> Read:
        """Read until one of ``patterns``; end after ``idle`` seconds of silence or at ``deadline`` (seconds in all).

        What follows the match stays for the next read. With ``watch_panics`` a crash text before the match ends
        the read at once. The result does not depend on how the bytes were cut on their way. Without patterns
        this waits for silence, or for the port to close. More than ``limit`` bytes without a match are a flood.

        What comes ``of_program`` may be the words of a crash without one: they end the read only when nothing else
        does, or when the board turns out to be at a prompt that it has only after a start. A match tells them in
        :attr:`Read.panic`; whether the VM is the one from before is for the caller to see.
        """
        end = self._bounded(deadline)
        looked = asked_at = 0
        suspicious: int | None = None  # where its words may begin
        longest = max((len(p) for p in patterns), default=1)
        while True:
            hit = self._find(patterns, max(0, looked - longest + 1))
            size = len(self._buffer) if hit is None else hit[0] + len(hit[1])
            if watch_panics and looked < size and suspicious is None:
                start = max(0, looked - _PANIC_CONTEXT)
                if of_program:
                    suspicious = start if self._restart_or_trouble(start, size) is not None else None
                else:
                    panic = self._panic(start, size)
                    if panic is not None:
                        return panic
            if hit is not None:
                return self._ended(size, Reason.MATCH, suspicious, hit[1])
            looked = size
            if looked > limit:
                return self._ended(looked, Reason.FLOOD, suspicious)
            left = self._left(end)
            if left <= 0:
                return self._ended(looked, Reason.DEADLINE, suspicious)
            to_ask = suspicious is not None and looked != asked_at
            wait = min(idle, left, _SUSPICIOUS_QUIET) if to_ask else min(idle, left)
            if self._receive(wait):
                continue
            if self._closed:
                return self._ended(looked, Reason.CLOSED, suspicious)
            if to_ask:
                asked_at = looked
                if self._is_at_fresh_prompt():
                    return self._ended(len(self._buffer), Reason.PANIC, suspicious)
            if wait == min(idle, left):
                return self._ended(looked, Reason.IDLE if idle + _AT_ONCE < left else Reason.DEADLINE, suspicious)

    def _ended(self, size: int, reason: Reason, suspicious: int | None, matched: bytes | None = None) -> Read:
        panic = None if suspicious is None else self._restart_or_trouble(suspicious, size)
        return Read(self._take(size), reason, matched, panic)

    def _is_at_fresh_prompt(self) -> bool:
        """Whether what came ends with a prompt, and an empty line leads to another: no program does that by itself."""
        if not self._buffer.endswith(_FRESH_PROMPTS):
            return False
        before = len(self._buffer)
        self.write(b"\r")
        while self._receive(_SUSPICIOUS_QUIET):
            if len(self._buffer) > before and self._buffer.endswith(_FRESH_PROMPTS):
                return True
            if len(self._buffer) > before + _PANIC_CONTEXT:
                break
        return False

    def read_exactly(self, size: int, *, deadline: float | Deadline) -> Read:
        """Read ``size`` bytes; fewer at ``deadline`` (seconds) or when the port closes."""
        end = self._bounded(deadline)
        while len(self._buffer) < size:
            left = self._left(end)
            if left <= 0 or not self._receive(left):
                reason = Reason.CLOSED if self._closed else Reason.DEADLINE
                return Read(self._take(len(self._buffer)), reason)
        return Read(self._take(size), Reason.MATCH)

    def drain(self, *, quiet: float = 0.02, deadline: float = 2.0) -> bytes:
        """Everything until the line has been quiet for ``quiet`` seconds."""
        end = self._bounded(deadline)
        while len(self._buffer) < READ_LIMIT and self._left(end) > 0 and self._receive(quiet):
            pass
        return self._take(len(self._buffer))

    def waiting(self) -> bytes:
        """What has arrived by now, without waiting and without taking it."""
        self._receive(0)
        return bytes(self._buffer)

    @contextmanager
    def limited(self, end: Deadline) -> Iterator[None]:
        """Inside, no read or write lasts beyond ``end``; a write after it is a BenchFault."""
        before, self._bound = self._bound, end
        self.transcript.add("limit", f"{end.seconds:.6g}".encode())
        try:
            yield
        finally:
            self._bound = before
            self.transcript.add("limit", b"")

    def _left(self, end: Deadline) -> float:
        """Seconds until ``end``; that it has passed stands in the transcript, for a replay has no clock of its own."""
        left = end.left
        if left <= 0:
            self.transcript.add("late", b"")
        return left

    def _bounded(self, deadline: float | Deadline) -> Deadline:
        end = Deadline.of(deadline)
        return end if self._bound is None or self._bound.left >= end.left else self._bound

    def _find(self, patterns: tuple[bytes, ...], start: int) -> tuple[int, bytes] | None:
        hits = [(at, p) for p in patterns if (at := self._buffer.find(p, start)) >= 0]
        return min(hits, key=lambda hit: hit[0] + len(hit[1]), default=None)

    def _take(self, size: int) -> bytes:
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        if self._reset_expected:
            self._banners_taken += sum(at < size for at in self._banners)
        self._banners = [at - size for at in self._banners if at >= size]
        return data

    def _receive(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for bytes; True when some came. Raises FinalFault for a board that is not
        ours any more."""
        data = b""
        self._require()
        try:
            self.port.timeout = max(0.0, timeout)
            data = self.port.read(1)
            if data:
                more = self.port.in_waiting
                if more:
                    data += self.port.read(min(more, 65536))
        except (serial.SerialException, OSError, TypeError):
            self._closed = True  # what came before stays
            self._require()
            if not data:
                self.transcript.add("closed", b"")
                return False
        if not data:
            self.transcript.add("silent", b"")
            return False
        self.transcript.add("received", data)
        seen = max(self._banners[-1] + 1 if self._banners else 0, len(self._buffer) - BANNER_SIZE)
        self._buffer += data
        self._banners += [banner.start() for banner in BANNER.finditer(self._buffer, max(0, seen))]
        return True

    def _require(self) -> None:
        if (gone := self._why_gone()) is not None:
            self._closed = True
            raise gone

    def _trouble(self, start: int, end: int) -> Panic | None:
        """The words of it between ``start`` and ``end`` of the buffer."""
        earlier = self._banners_taken + sum(at < start for at in self._banners)
        # One byte more, which tells whether a line starts at ``start``.
        text = bytes(self._buffer[max(0, start - 1) : min(end, start + 8 * _PANIC_CONTEXT)])
        return find_panic(text, reset_expected=self._reset_expected, earlier_banners=earlier)

    def _restart_or_trouble(self, start: int, end: int) -> Panic | None:
        trouble = self._trouble(start, end)
        return trouble or (None if self._reset_expected else find_greeting(self._buffer[:end]))

    def _panic(self, start: int, end: int) -> Read | None:
        """Trouble between ``start`` and ``end`` of the buffer, with what comes after it."""
        panic = self._trouble(start, end)
        if panic is None:
            return None
        tail = Deadline(_PANIC_TAIL_AT_MOST)
        while len(self._buffer) < start + 4 * _PANIC_CONTEXT and tail.left and self._receive(_PANIC_TAIL):
            panic = self._trouble(start, len(self._buffer)) or panic
        return Read(self._take(len(self._buffer)), Reason.PANIC, panic=panic)

    # -- writing ---------------------------------------------------------------------------------

    def write(self, data: bytes, *, deadline: float | Deadline = 5.0) -> None:
        """Send ``data``. Raises BenchFault when the port is gone or does not take it in ``deadline`` seconds."""
        end = self._bounded(deadline)
        for at in range(0, len(data), _WRITE_CHUNK):
            chunk = data[at : at + _WRITE_CHUNK]
            self._require()
            if end.passed:
                raise BenchFault(f"writing {len(data)} bytes took longer than {end.seconds:.3g} s")
            # In steps: each change of it costs a local port some system calls.
            allowed = math.ceil(end.left * 10) / 10
            try:
                if getattr(self.port, "write_timeout", allowed) != allowed:
                    self.port.write_timeout = allowed  # type: ignore[attr-defined]
                self.port.write(chunk)
            except (serial.SerialException, OSError) as problem:
                self.transcript.add("refused", chunk[:100])
                self._require()
                raise BenchFault(
                    f"the port did not take {len(chunk)} bytes: {str(problem)[:120]}",
                    hint="is the board still connected?",
                ) from None
            self.transcript.add("sent", chunk)

    # -- life ------------------------------------------------------------------------------------

    @contextmanager
    def expecting_reset(self) -> Iterator[None]:
        """Inside, a ROM banner is what was asked for; only a boot loop or a crash text is trouble."""
        before, self._reset_expected = self._reset_expected, True
        self._banners_taken = 0
        try:
            yield
        finally:
            self._reset_expected = before
            self._banners_taken = 0

    @contextmanager
    def expecting_disconnect(self, *, within: float) -> Iterator[None]:
        """Inside, the port may vanish; afterwards it is open again, or BenchFault after ``within`` seconds.

        A read inside ends with CLOSED when the port goes. The port that comes back is another object:
        :attr:`port` is the one to use.
        """
        yield
        self._receive(0)  # notices a port that went and was not read
        if self._closed:
            self.reconnect(within=within)

    @property
    def closed(self) -> bool:
        """The port has gone, or was closed."""
        return self._closed

    def reconnect(self, *, within: float) -> None:
        """Open the port again by its identity. Raises BenchFault when it is not there ``within`` seconds."""
        with contextlib.suppress(serial.SerialException, OSError):
            self.port.close()  # it holds the lock of the device that is to be opened
        if self._reopen is None:
            raise BenchFault("the port vanished", hint="its identity is not known, so it cannot be found again")
        try:
            self.port = until_there(self._reopen, self._bounded(within))
        except FinalFault:
            raise
        except BenchFault as problem:
            raise BenchFault(
                f"the port did not come back within {within:g} s: {problem.message}",
                hint="does the board wake up, and does its USB come back?",
            ) from None
        self._closed = False
        self.transcript.add("reopened", b"")

    def reopened(self, port: Port) -> None:
        """Go on with ``port``, which somebody else has opened."""
        self.port = port
        self._closed = False

    def forget_input(self) -> None:
        """Drop what was received and not read."""
        self.transcript.add("forget", b"")
        self._buffer.clear()
        self._banners.clear()

    def hang_up(self) -> None:
        """Close the port; the transcript goes on."""
        self._closed = True
        with contextlib.suppress(serial.SerialException, OSError):
            self.port.close()

    def close(self) -> None:
        self._closed = True
        with contextlib.suppress(serial.SerialException, OSError):
            self.port.close()
        self.transcript.close()
