"""What went over the line: time-stamped, direction-tagged, bounded; can be written as it grows and replayed."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii as _quoted
from pathlib import Path
from typing import IO

from harness import strict_json
from harness.errors import BenchFault

#: Bytes of traffic kept in memory; a file, when given, keeps all.
KEEP = 256 * 1024
#: What an entry counts beside its data, so that many empty ones are bounded, too.
_OVERHEAD = 16
#: A file holds this many bytes at most: a board that floods the line for hours must not fill the disk.
FILE_LIMIT = 64 * 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """``at`` in seconds since the start; ``kind`` is "sent", "received" or "note".

    Further kinds are for replaying: "silent" (a read that got nothing), "late" (its deadline had passed), "closed",
    "refused" (a write), "reopened", "forget" and "limit" of the session; "session", "call" and "ended" of the runtime.
    """

    at: float
    kind: str
    data: bytes

    def to_json(self) -> str:
        text = self.data.decode("latin-1")  # one character a byte: exact, and readable where it is text
        # As json.dumps writes it, at half its cost: there are thousands in a run.
        return f'{{"at": {round(self.at, 6)!r}, "kind": {_quoted(self.kind)}, "data": {_quoted(text)}}}'

    @classmethod
    def from_json(cls, line: str) -> Entry:
        fields = strict_json.loads(line)
        return cls(float(fields["at"]), str(fields["kind"]), str(fields["data"]).encode("latin-1"))


class Transcript:
    """``path`` receives one JSON line per entry; with ``after``, after what it holds already."""

    def __init__(self, path: Path | None = None, *, after: bool = False) -> None:
        self._start = time.monotonic()
        self._entries: deque[Entry] = deque()
        self._kept = 0
        self._file: IO[str] | None = None
        self._written = 0
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a" if after else "w", encoding="ascii")
            self._written = self._file.tell()
            if self._written and _last_byte(path) != b"\n":
                self._written += self._file.write("\n")  # whoever wrote it before was killed in the middle of a line
                self._file.flush()

    def add(self, kind: str, data: bytes) -> None:
        entry = Entry(time.monotonic() - self._start, kind, data)
        self._entries.append(entry)
        self._kept += len(data) + _OVERHEAD
        while self._kept > KEEP and len(self._entries) > 1:
            self._kept -= len(self._entries.popleft().data) + _OVERHEAD
        if self._file is not None:
            line = entry.to_json() + "\n"
            if self._written + len(line) > FILE_LIMIT:
                end = Entry(entry.at, "note", b"the transcript has reached its limit: what follows is not in it")
                self._file.write(end.to_json() + "\n")
                self._file.close()
                self._file = None
                return
            self._written += self._file.write(line)
            self._file.flush()

    def note(self, text: str) -> None:
        self.add("note", text.encode("utf-8", "replace"))

    @property
    def entries(self) -> tuple[Entry, ...]:
        return tuple(self._entries)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as stream:
        stream.seek(-1, 2)
        return stream.read(1)


def load(path: Path) -> list[Entry]:
    return [Entry.from_json(line) for line in path.read_text("ascii").splitlines() if line]


class ReplayPort:
    """A port that plays a transcript: gives what was received once everything sent before it has been sent.

    Raises BenchFault when other bytes are sent than were recorded.
    """

    port = name = "replay"

    def __init__(self, entries: list[Entry]) -> None:
        self._todo = deque((e.kind, e.data) for e in entries if e.kind in ("sent", "received"))
        self._received = bytearray()
        self.timeout: float | None = 0.1
        self.is_open = True
        self._advance()

    def _advance(self) -> None:
        while self._todo and self._todo[0][0] == "received":
            self._received += self._todo.popleft()[1]

    @property
    def in_waiting(self) -> int:
        return len(self._received)

    def read(self, size: int = 1) -> bytes:
        data = bytes(self._received[:size])
        del self._received[:size]
        return data

    def write(self, data: bytes) -> int:
        left = data
        while left:
            if not self._todo or self._todo[0][0] != "sent":
                raise BenchFault(f"replay: {left[:60]!r} was sent, the transcript expects nothing more here")
            _, expected = self._todo.popleft()
            count = min(len(expected), len(left))
            if expected[:count] != left[:count]:
                raise BenchFault(f"replay: {left[:60]!r} was sent, the transcript has {expected[:60]!r}")
            left = left[count:]
            if count < len(expected):
                self._todo.appendleft(("sent", expected[count:]))
        self._advance()
        return len(data)

    def close(self) -> None:
        self.is_open = False
