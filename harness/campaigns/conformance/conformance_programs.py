"""Which test programs there are, and where each one's expected output is.

The form is that of MicroPython's own tests (``tests/README.md``): a program ``x.py`` prints; what it is to
print stands in ``x.py.exp`` beside it, and where there is no such file it is what CPython prints.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

#: No test program is longer, in bytes: one that is would not fit into a board either.
PROGRAM_LIMIT = 1024 * 1024


@dataclass(frozen=True)
class Program:
    """``name`` is the path below what was asked for; ``expected`` the ``.exp`` file, or None: ask CPython."""

    name: str
    path: Path
    expected: Path | None


def collect(paths: Sequence[Path]) -> list[Program]:
    """The programs in folders (and the folders below them) and files, in a stable order, each once.

    Hidden folders and ``__pycache__`` are left out, links to folders are not followed. Raises UsageError for a
    path that is not there, and when there is no program at all.
    """
    programs: dict[Path, Program] = {}
    for path in paths:
        if path.is_dir():
            several = len(paths) > 1
            for file in _files_below(path):
                name = file.relative_to(path)
                _add(programs, file, str(path / name if several else name))
        elif path.is_file():
            _add(programs, path, str(path))
        else:
            raise UsageError(f"there is no test program or folder {str(path)!r}")
    if not programs:
        where = ", ".join(str(path) for path in paths)
        raise UsageError(f"there is no test program (*.py) in {where}", hint="give a folder of .py files")
    return list(programs.values())


def _files_below(folder: Path) -> Iterator[Path]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and name != "__pycache__")
        yield from (Path(root, name) for name in sorted(files) if name.endswith(".py"))


def _add(programs: dict[Path, Program], file: Path, name: str) -> None:
    expected = file.with_name(file.name + ".exp")
    programs.setdefault(file.resolve(), Program(name, file, expected if expected.is_file() else None))
