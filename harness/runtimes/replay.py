"""Plays a transcript against the harness's own code, and tells where that now does otherwise."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import serial

from harness import strict_json
from harness.errors import HarnessError, UsageError
from harness.link.deadline import Deadline, driven_by
from harness.link.session import Session
from harness.link.transcript import Entry, load
from harness.runtimes.interface import BoardRuntime
from harness.runtimes.recorded import arguments_of, described, is_recorded_call
from harness.runtimes.traits import Means, runtime_names, traits_of

#: Seconds that a deadline has left at least, as long as it has not passed in the transcript.
_SOON = 0.001


class Diverged(Exception):
    """The harness does something else than the transcript holds. Not a HarnessError: nothing may take it for one."""


@dataclass(frozen=True)
class Call:
    """One call: what it was, how it ended when it was recorded, and now; ``same`` when that is the same."""

    name: str
    arguments: str
    then: dict[str, str]
    now: dict[str, str]

    @property
    def same(self) -> bool:
        return self.then == self.now


class ReplayPort:
    """A port that gives each read what it got then, bytes or silence, and takes only what was sent then.

    Raises Diverged for anything else.
    """

    port = name = "replay"

    def __init__(self, entries: deque[Entry]) -> None:
        self._entries = entries
        self._rest = b""
        self._now = 0.0
        self.timeout: float | None = None

    def clock(self) -> float:
        """The time of the transcript, in seconds."""
        return self._now

    def passed(self, entry: Entry) -> None:
        self._now = max(self._now, entry.at)

    def is_late(self) -> bool:
        """Whether the deadline of the read that goes on passed here."""
        self._skip_notes()
        if self._rest or not self._entries or self._entries[0].kind != "late":
            return False
        self.passed(self._entries.popleft())
        return True

    def _skip_notes(self) -> None:
        # What was forgotten within a call the session forgets again by itself.
        while self._entries and self._entries[0].kind in ("note", "forget"):
            self._entries.popleft()

    def _next(self, wanted: tuple[str, ...], doing: str) -> Entry:
        self._skip_notes()
        if not self._entries or self._entries[0].kind not in wanted:
            came = f"{self._entries[0].kind} {self._entries[0].data[:60]!r}" if self._entries else "nothing more"
            raise Diverged(f"the harness {doing}; the transcript has {came} at {self._now:.3f} s")
        entry = self._entries.popleft()
        self.passed(entry)
        return entry

    @property
    def in_waiting(self) -> int:
        return len(self._rest)

    def read(self, size: int = 1) -> bytes:
        if not self._rest:
            entry = self._next(("received", "silent", "closed"), "reads")
            if entry.kind == "closed":
                raise serial.SerialException("closed, as it was then")
            self._rest = entry.data
        data, self._rest = self._rest[:size], self._rest[size:]
        return data

    def write(self, data: bytes) -> int:
        left = data
        while left:
            entry = self._next(("sent", "refused"), f"sends {left[:60]!r}")
            if entry.kind == "refused":
                raise serial.SerialException("not taken, as it was then")
            count = min(len(entry.data), len(left))
            if entry.data[:count] != left[:count]:
                raise Diverged(f"the harness sends {left[:60]!r}; the transcript has {entry.data[:60]!r}")
            left = left[count:]
            if count < len(entry.data):
                self._entries.appendleft(Entry(entry.at, "sent", entry.data[count:]))
        return len(data)

    def reopen(self) -> ReplayPort:
        self._next(("reopened",), "opens the port again")
        return self

    def close(self) -> None:
        self._rest = b""


class _ReplaySession(Session):
    """Its deadlines pass when they passed then."""

    def __init__(self, port: ReplayPort) -> None:
        super().__init__(port, reopen=port.reopen)
        self._replay = port

    def _left(self, end: Deadline) -> float:
        return 0.0 if self._replay.is_late() else max(end.left, _SOON)


def replay(path: Path) -> Iterator[Call]:
    """Make the calls of the transcript ``path`` once more; each as it ends.

    Ends early where the transcript does (its recorder was killed, or reached its limit). Raises UsageError for a file
    that cannot be replayed, Diverged where the harness does otherwise.
    """
    try:
        entries = deque(load(path))
        begin = strict_json.loads(entries.popleft().data)
        kind, seed = str(begin["runtime"]), int(begin["seed"])
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as problem:
        raise _damaged(path, problem) from None
    try:
        yield from _calls(entries, kind, begin, seed)
    except (HarnessError, Diverged, OSError):
        raise
    except Exception as problem:  # what it calls, and with what, is the file's: no line of it is taken for sound
        raise _damaged(path, problem) from None


def _damaged(path: Path, problem: Exception) -> UsageError:
    if isinstance(problem, OSError):
        why = problem.strerror or str(problem)
    elif isinstance(problem, UnicodeError):
        why = "it is no text"
    else:
        why = f"a line of it makes no sense ({type(problem).__name__}: {str(problem)[:200]})"
    return UsageError(
        f"{path} cannot be replayed: {why}",
        hint="give a file that this version has written: .harness/transcripts/run-<N>-<uid>/<board>.jsonl",
    )


def _calls(entries: deque[Entry], kind: str, begin: Mapping[str, Any], seed: int) -> Iterator[Call]:
    port = ReplayPort(entries)
    session = _ReplaySession(port)
    runtime = _client(kind, session, begin, random.Random(seed))
    with driven_by(port.clock), ExitStack() as limits:
        while entries:
            entry = entries.popleft()
            port.passed(entry)
            if entry.kind == "call":
                call = _again(runtime, entry, entries)
                if call is None:
                    return
                yield call
            elif entry.kind == "limit":
                limits.close()
                if entry.data:
                    limits.enter_context(session.limited(Deadline(float(entry.data))))
            elif entry.kind == "forget":
                session.forget_input()
            elif entry.kind == "reopened":
                session.reopened(port)
            elif entry.kind == "session":
                return  # another one on the same transcript: the board was prepared once more


def _client(kind: str, session: Session, begin: Mapping[str, Any], nonces: random.Random) -> BoardRuntime:
    """The client that a transcript begins with. Nothing is reset, and nobody intervenes: the port plays what came."""
    if kind not in runtime_names():
        raise UsageError(f"the transcript is of runtime {kind[:40]!r}, which this version cannot speak to")
    can_intervene = begin.get("can_intervene", begin.get("has_hands"))  # its name in earlier versions
    means = Means(
        reset=(lambda: None) if begin.get("can_reset") else None,
        intervene=(lambda _intervention: None) if can_intervene else None,
        buffer=begin.get("buffer"),
        nonces=nonces,
        native_usb=bool(begin.get("native_usb")),
    )
    return traits_of(kind).make_client(session, means)


def _again(runtime: BoardRuntime, entry: Entry, entries: deque[Entry]) -> Call | None:
    fields = strict_json.loads(entry.data)
    name = str(fields["name"])
    if not is_recorded_call(runtime, name):
        raise UsageError(f"the transcript calls {name!r}, which is no call of a runtime")
    if not any(later.kind == "ended" for later in entries):
        return None
    arguments, named = arguments_of(fields)
    result: Any
    try:
        result = getattr(runtime, name)(*arguments, **named)
    except HarnessError as problem:
        result = problem
    while entries and entries[0].kind in ("note", "forget"):
        entries.popleft()
    if not entries or entries[0].kind != "ended":
        came = f"{entries[0].kind} {entries[0].data[:60]!r}" if entries else "nothing more"
        raise Diverged(f"{name} has ended ({described(result)}); the transcript has {came}")
    then = strict_json.loads(entries.popleft().data)
    return Call(name, str(arguments)[:120], then, described(result))
