"""Where prepared and compiled modules are kept between runs, and proof that they are still what was kept.

What is compiled here is native code that this process will execute, or data that it trusts. The cache folder may be
shared with others (``HARNESS_CACHE``), copied, or damaged, so the sums of what was kept lie apart from it, in the
user's own state folder, and nothing whose sum is not known there is used: it is made again.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import platformdirs
from filelock import FileLock

from harness.errors import BenchFault


def cache_dir() -> Path:
    """The cache folder: ``HARNESS_CACHE`` when set, else the user's cache folder. Raises BenchFault when it is not
    there and cannot be made."""
    chosen = os.environ.get("HARNESS_CACHE")
    path = Path(chosen) if chosen else Path(platformdirs.user_cache_dir("vm-harness"))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise BenchFault(
            f"the cache folder {str(path)!r} cannot be made: {problem.strerror}",
            hint="set HARNESS_CACHE to a folder that you can write",
        ) from None
    return path


def sums_dir() -> Path:
    """The folder of the sums, which only this user can write."""
    return Path(platformdirs.user_state_dir("vm-harness")) / "sums"


def kept(name: str) -> bytes | None:
    """The content that :func:`keep` has kept under ``name``; None when there is none, or it is another now."""
    try:
        data = (cache_dir() / "compiled" / name).read_bytes()
        folder = sums_dir()
        if not only_ours(folder) or not only_ours(folder / name):
            return None
        expected = (folder / name).read_text("ascii", "replace")
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == expected else None


def keep(name: str, data: bytes) -> None:
    """Keep ``data`` under ``name``. Where that cannot be (no space, read-only), one line on stderr says so."""
    path = cache_dir() / "compiled" / name
    try:
        write_atomically(path, data)
        folder = sums_dir()
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not only_ours(folder):
            raise PermissionError(0, "others can write it, so it is not trusted", str(folder))
        write_atomically(folder / name, hashlib.sha256(data).hexdigest().encode())
    except OSError as problem:
        _warn(f"nothing is kept in {problem.filename or path.parent}: {problem.strerror}; it is made again each time")


def only_ours(path: Path) -> bool:
    """Whether nobody but this user and root can change ``path``. Raises OSError when it is not there."""
    if not hasattr(os, "getuid"):
        return True
    status = path.lstat()
    return status.st_uid in (0, os.getuid()) and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@functools.cache
def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` so that another process sees the whole file or none. Raises OSError; nothing stays then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
        Path(name).replace(path)
    except BaseException as problem:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        if isinstance(problem, OSError) and problem.filename is None:
            problem.filename = str(path)
        raise


def checked(path: Path, sha256: str) -> bytes | None:
    """The content of ``path``; None when it is not there, or not what has that sum."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == sha256 else None


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Alone with the cache's file ``path``. Raises BenchFault where the cache cannot be written."""
    lock = path.with_suffix(".lock")
    try:
        with FileLock(lock):
            yield
    except OSError as problem:
        raise _unwritable(lock, problem) from None


def write_to_cache(path: Path, data: bytes) -> None:
    """The same for what cannot be done without: raises BenchFault that names the file."""
    try:
        write_atomically(path, data)
    except OSError as problem:
        raise _unwritable(path, problem) from None


def _unwritable(path: Path, problem: OSError) -> BenchFault:
    return BenchFault(
        f"the cache cannot be written: {problem.filename or path}: {problem.strerror}",
        hint="make room, or set HARNESS_CACHE to a folder that you can write",
    )
