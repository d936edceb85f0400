"""Which edition of a suite a run had: a hash of its files, kept with the run.

A figure that moves, or a scenario that ends otherwise, where the suite is another says nothing about the firmware.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

#: Before a suite's name, among what else a run was made with.
KEY = "suite "
_DIGITS = 12


def editions(paths: Iterable[str]) -> dict[str, str]:
    """The suites in ``paths`` (folders, or files of scenarios), each with the hash of its folder's sources."""
    files = [file for path in map(Path, paths) for file in ([path] if path.is_file() else path.rglob("test_*.py"))]
    folders = sorted({file.resolve().parent for file in files})
    return {f"{KEY}{folder.name}": _edition(folder) for folder in folders}


def _edition(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.suffix in (".py", ".lua") and file.is_file():
            content = file.read_bytes()
            whole.update(f"{file.relative_to(folder).as_posix()} {len(content)}\n".encode() + content)
    return whole.hexdigest()[:_DIGITS]


def edition_of(environment: Mapping[str, str], suite: str) -> str:
    """Empty for a run of the time before editions were kept."""
    return environment.get(KEY + suite, "")
