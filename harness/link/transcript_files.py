"""Where the transcript of a scenario is, and what stands in it: a file for each run and board, and a piece of it.

A store keeps references, not transcripts: they may be gone (the oldest are deleted) or on another host.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.link.transcript import Entry

FOLDER = "transcripts"
#: So many runs keep their transcripts.
KEPT_RUNS = 50
#: Bytes at the end of a scenario's piece that are looked at.
_LOOKED_AT = 512 * 1024
_PLACE = re.compile(rf"({FOLDER}/run-[A-Za-z0-9-]{{1,40}}/[A-Za-z0-9._-]{{1,64}}\.jsonl)#(\d{{1,15}})-(\d{{1,15}})")
#: Entries that only a replay needs.
_FOR_REPLAY = ("silent", "late", "limit", "forget", "session")


def run_folder(run: int, uid: str) -> str:
    """The name of a run's folder. With the run's own name in it: numbers begin anew in each store."""
    return f"run-{run}-{uid[:8]}"


@dataclass(frozen=True)
class Place:
    """A piece of a transcript: ``path`` relative to the bench's state folder, ``begin`` and ``end`` in bytes."""

    path: str
    begin: int
    end: int

    def __str__(self) -> str:
        return f"{self.path}#{self.begin}-{self.end}"

    @classmethod
    def parse(cls, reference: str) -> Place | None:
        """None for anything that is not the reference of a transcript: it may have been imported."""
        match = _PLACE.fullmatch(reference)
        return cls(match[1], int(match[2]), int(match[3])) if match else None


def place_since(state: Path, path: str, begin: int) -> str:
    """The reference of what was written to ``path`` after ``begin`` bytes; empty when that is nothing."""
    end = size_of(state / path)
    return str(Place(path, begin, end)) if end > begin else ""


def size_of(file: Path) -> int:
    """Bytes; 0 for a file that is not there."""
    try:
        return file.stat().st_size
    except OSError:
        return 0


def excerpt(state: Path, reference: str, count: int = 40) -> tuple[Entry, ...]:
    """The last ``count`` entries of a scenario's transcript, oldest first; empty when it is not there any more.

    Entries of the same kind that follow one another are one here. What they hold is the board's own text.
    """
    place = Place.parse(reference)
    if place is None:
        return ()
    begin = max(place.begin, place.end - _LOOKED_AT)
    try:
        with (state / place.path).open("rb") as stream:
            stream.seek(begin)
            data = stream.read(max(0, place.end - begin))
    except OSError:
        return ()
    lines = data.split(b"\n")
    if begin > place.begin:
        del lines[0]  # its beginning was left out
    return tuple(_joined(_entries(lines)))[-count:]


def _entries(lines: list[bytes]) -> Iterator[Entry]:
    for line in lines:
        with contextlib.suppress(ValueError, KeyError, TypeError, RecursionError, OverflowError):
            entry = Entry.from_json(line.decode("ascii"))
            if entry.kind not in _FOR_REPLAY:
                yield entry


def _joined(entries: Iterator[Entry]) -> Iterator[Entry]:
    last: Entry | None = None
    for entry in entries:
        if last is not None and last.kind == entry.kind and entry.kind in ("sent", "received"):
            last = Entry(last.at, last.kind, last.data + entry.data)
            continue
        if last is not None:
            yield last
        last = entry
    if last is not None:
        yield last


def forget_old(state: Path, keep: int = KEPT_RUNS) -> None:
    """Delete the transcripts of all but the newest ``keep`` runs, by the time at which they began."""
    files: list[tuple[float, Path]] = []
    for folder in (state / FOLDER).glob("run-*"):
        with contextlib.suppress(OSError):  # another process can be quicker
            if folder.is_dir() and not folder.is_symlink():
                files.append((folder.stat().st_mtime, folder))
    for _, folder in sorted(files)[: max(0, len(files) - keep)]:
        shutil.rmtree(folder, ignore_errors=True)
