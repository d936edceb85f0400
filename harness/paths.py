"""Where the suites, the programs and the shipped bench are: in a checkout, or inside the wheel."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from harness.errors import BenchFault, HarnessError, UsageError

_PACKAGE = Path(__file__).resolve().parent


def _find(name: str) -> Path:
    checkout = _PACKAGE.parent / name
    return checkout if checkout.exists() else _PACKAGE / "_shipped" / name


def suites_dir() -> Path:
    return _find("suites")


def fixtures_dir() -> Path:
    """Programs, modules and the agent: what is put on a board."""
    return _find("fixtures")


def shipped_bench() -> Path:
    """The ``boards.yaml`` that comes with the harness: the virtual boards."""
    return _find("boards.yaml")


def state_dir(bench_file: Path) -> Path:
    """Where a bench keeps its results, locks and virtual flash: ``.harness`` beside its file.

    The shipped bench of an installed wheel has no writable place beside it; there it is the current folder.
    """
    beside = bench_file.resolve().parent
    root = Path.cwd() if _PACKAGE in (beside, *beside.parents) else beside
    return root / ".harness"


def made(folder: Path) -> Path:
    """``folder``, which is there after this. Raises UsageError when it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise UsageError(f"{folder} cannot be made: {problem.strerror}") from None
    return folder


def unwritable(file: str | Path, problem: OSError) -> HarnessError:
    """Why ``file`` was not written: a full or sick disk is the bench's fault, a wrong path is not."""
    kind = BenchFault if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS) else UsageError
    hint = "make room" if kind is BenchFault else "give the path of a file in a folder that is there"
    return kind(f"{file} cannot be written: {problem.strerror}", hint=hint)


def require_writable(file: str) -> None:
    """Raises UsageError when ``file`` can surely not be written: told before a run, its report is not lost by it."""
    path = Path(file)
    try:
        folder = path.absolute().parent
        if path.is_dir():
            why = "it is a folder"
        elif not folder.is_dir():
            why = "there is no such folder"
        elif not os.access(path if path.exists() else folder, os.W_OK):
            why = os.strerror(errno.EACCES)
        else:
            return
    except OSError as problem:  # a name that is too long
        why = problem.strerror or str(problem)
    raise UsageError(
        f"{str(file)[:200]!a} cannot be written: {why}", hint="give the path of a file in a folder that is there"
    )


def shown_path(file: Path) -> str:
    """``file`` for a message: as seen from the current folder, when it is in it."""
    short = os.path.relpath(file)
    return str(file) if short.startswith("..") else short
