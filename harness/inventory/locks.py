"""One run per board, across processes: a lock file for each thing that tells the board apart.

The locks are the kernel's, so they are gone when their process is, however it died. Names are made of the identity and
of the port that the board has now, by what its path leads to, and not of the id: two bench files that name one board
differently still share its lock. Real boards are locked in the state directory and, for benches in other folders, in a
directory of the user's; who is another user meets the lock of the open port itself.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import socket
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from harness.errors import BenchFault, FinalFault
from harness.inventory.discover import candidates, own_serial
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
    owner = Owner(board.id, os.getpid(), socket.gethostname(), _user(), time.time(), purpose)
    deadline = time.monotonic() + timeout
    with ExitStack() as held:
        for file in _lock_files(board, state_dir):
            folder = file.parent
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


def _lock_files(board: Board, state_dir: Path) -> list[Path]:
    """All that is locked for ``board``, in the order in which all processes take it."""
    names = [*lock_names(board), *_port_now(board)]
    folders = [state_dir / "locks"]
    if board.identity is not None and (shared := users_folder()) is not None:
        folders.append(shared)
    return [folder / f"{name}.lock" for folder in folders for name in dict.fromkeys(sorted(names))]


def users_folder() -> Path | None:
    """Where this user's benches meet, whatever folder they are in; None where there is no such place.

    It is nobody else's, so that no other user can put anything there.
    """
    if not hasattr(os, "getuid"):
        return None
    folder = Path(tempfile.gettempdir()) / f"harness-locks-{os.getuid()}"
    with contextlib.suppress(FileExistsError, OSError):
        folder.mkdir(mode=0o700)
    try:
        found = folder.lstat()
    except OSError:
        return None
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o022
    return folder if mine else None


def _port_now(board: Board) -> list[str]:
    """The lock of the port that USB says is the board's at this moment; another file may name it by its path."""
    identity = board.identity
    if identity is None or not (identity.usb_serial or identity.usb_location or identity.vid_pid):
        return []
    found = candidates(board)
    return [_port_lock(found[0].device)] if len(found) == 1 else []


def _port_lock(path: str) -> str:
    return f"port-{_digest(os.path.realpath(path))}"


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
    port = identity.pop("port", None)
    names = [f"{key}-{_digest(value)}" for key, value in identity.items()]
    return tuple(sorted([*names, *([_port_lock(port)] if port else [])]))


def read_owner(board: Board, state_dir: Path) -> Owner | None:
    """Who holds the board, as far as the files say; None when nobody does or it cannot be told.

    Only a note for people: a killed process leaves its note behind, the lock itself decides.
    """
    notes = (_read_note(_owner_file(state_dir / "locks" / f"{name}.lock")) for name in lock_names(board))
    return next((note for note in notes if note), None)


def seen_owner(board: Board, state_dir: Path) -> Owner | None:
    """Who holds the board, without a lock being tried: who looks may not be in the way of who wants it.

    A note of a process of this host that is there no more says nothing.
    """
    owner = read_owner(board, state_dir)
    if owner is None or owner.host != socket.gethostname():
        return owner
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return None
    except (PermissionError, OverflowError):
        pass
    return owner


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
