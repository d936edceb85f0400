"""One run per board, across processes: a lock file for each thing that tells the board apart.

The locks are the kernel's, so they are gone when their process is, however it died. Names are made of
the identity and not of the id, so that two bench files that name one board differently still share
its lock. All processes that should respect each other must use the same state directory.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import BenchFault, FinalFault
from harness.inventory.discover import own_serial
from harness.inventory.model import Board

_OWNER_MAX = 4096


@dataclass(frozen=True)
class Owner:
    """Who holds a board. ``since`` is a Unix time in seconds."""

    board: str
    pid: int
    host: str
    user: str
    since: float
    purpose: str

    @property
    def age(self) -> str:
        """How long it has held the board, in words."""
        seconds = max(0, round(time.time() - self.since))
        minutes, hours = seconds // 60, seconds // 3600
        if hours:
            return f"{hours} h {minutes % 60} min"
        return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


class Busy(FinalFault):
    """Another process holds the board."""


@contextmanager
def board_lock(
    board: Board,
    state_dir: Path,
    *,
    purpose: str = "",
    timeout: float = 0.0,
    waiting: Callable[[str], None] = lambda _holder: None,
) -> Iterator[Owner]:
    """Hold ``board`` for the length of the ``with`` block.

    Waits at most ``timeout`` seconds for another process to let go of it; ``waiting`` is told for whom.
    Raises :class:`Busy` that names the owner when the board stays busy, BenchFault when ``state_dir`` cannot
    hold the lock files.
    """
    folder = state_dir / "locks"
    owner = Owner(board.id, os.getpid(), socket.gethostname(), _user(), time.time(), purpose)
    deadline = time.monotonic() + timeout
    with ExitStack() as held:
        for name in lock_names(board):
            file = folder / f"{name}.lock"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                # thread_local=False: the lock belongs to the run, whichever thread ends it.
                lock = FileLock(file, thread_local=False)
                try:
                    lock.acquire(timeout=0.0)
                except Timeout:
                    holder = _read_note(_owner_file(file))
                    if timeout:
                        waiting(_shown(f"{holder.user}, process {holder.pid}" if holder else "another process"))
                    lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
            except Timeout:
                raise _busy(board, _read_note(_owner_file(file)), file, timeout) from None
            except OSError as error:
                raise BenchFault(
                    f"board {board.id!r}: no lock can be taken in {folder}: {error.strerror or error}",
                    hint="choose a state directory on a local disk that you may write to",
                ) from None
            held.callback(lock.release)
            info = _owner_file(file)
            _write_owner(info, owner)
            held.callback(_remove, info)
        yield owner


def lock_names(board: Board) -> tuple[str, ...]:
    """Names of the lock files of a board, sorted so that all processes take them in one order."""
    if board.identity is None:
        return (f"virtual-{board.id}",)
    identity = board.identity.model_dump(exclude_none=True, exclude={"also_vid_pid"})
    # Boards of one kind share their VID:PID; it tells a board apart only together with its serial.
    # A serial and a socket each name one board, unless the serial is a factory default like 0001.
    vid_pid = identity.pop("vid_pid", None)
    serial = identity.get("usb_serial")
    if serial is not None and "usb_location" in identity and not own_serial(serial):
        del identity["usb_serial"]
    if not identity and vid_pid:
        identity["vid_pid"] = vid_pid
    return tuple(sorted(f"{key}-{_digest(value)}" for key, value in identity.items()))


def read_owner(board: Board, state_dir: Path) -> Owner | None:
    """Who holds the board, as far as the files say; None when nobody does or it cannot be told.

    Only a note for people: a killed process leaves its note behind, the lock itself decides.
    """
    notes = (_read_note(_owner_file(state_dir / "locks" / f"{name}.lock")) for name in lock_names(board))
    return next((note for note in notes if note), None)


def _read_note(file: Path) -> Owner | None:
    try:
        with file.open("rb") as stream:
            data = json.loads(stream.read(_OWNER_MAX))
        return Owner(
            board=str(data["board"]),
            pid=int(data["pid"]),
            host=str(data["host"]),
            user=str(data["user"]),
            since=float(data["since"]),
            purpose=str(data["purpose"]),
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None


def _busy(board: Board, owner: Owner | None, file: Path, waited: float) -> Busy:
    after = f"; waited {waited:g} s for it" if waited else ""
    if owner is None:
        return Busy(
            f"board {board.id!r} is busy: another process holds {file}{after}",
            hint="wait for it to end, or choose other boards",
        )
    other = f" as {owner.board!r}" if owner.board != board.id else ""
    what = f" ({owner.purpose})" if owner.purpose else ""
    text = f"board {board.id!r} is busy{other}: held by {owner.user}, process {owner.pid} on {owner.host}"
    text = _shown(f"{text}, for {owner.age}{what}{after}")
    return Busy(text, hint=f"wait for it to end, stop process {owner.pid}, or choose other boards")


def _shown(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text)


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _owner_file(lock_file: Path) -> Path:
    return lock_file.with_suffix(".json")


def _write_owner(file: Path, owner: Owner) -> None:
    # Written aside and renamed, so that a reader never sees half a note.
    part = file.with_suffix(f".{os.getpid()}.part")
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(asdict(owner)))
        part.replace(file)


def _remove(file: Path) -> None:
    with contextlib.suppress(OSError):
        file.unlink()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return f"uid {os.getuid()}"
