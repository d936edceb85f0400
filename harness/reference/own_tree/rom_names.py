"""The names that a firmware has in ROM: what is interned there already costs its programs nothing.

A build folder of the firmware has them exactly, in ``genhdr/qstrdefs.generated.h``. Without one they are collected
from the port's C sources, where each stands as ``MP_QSTR_name``: what the build leaves out is among them then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UsageError

_GENERATED = re.compile(r'^QDEF[01]?\((MP_QSTR_?\w*), .*?"((?:[^"\\]|\\.)*)"\)\s*$', re.MULTILINE)
_USED = re.compile(r"\bMP_QSTR_(\w+)")


def names_of_build(folder: Path) -> list[str]:
    """The definitions of all names in a build folder, as ``tree_names.h`` has them. Raises UsageError when there are
    none."""
    file = folder / "genhdr" / "qstrdefs.generated.h"
    try:
        text = file.read_text("utf-8", "replace")
    except OSError as problem:
        raise UsageError(
            f"{str(file)!r} cannot be read: {problem.strerror}", hint="give the folder in which the firmware was built"
        ) from None
    found = [(name, said) for name, said in _GENERATED.findall(text) if name != "MP_QSTRnull"]
    if len(found) < 100:
        raise UsageError(f"{str(file)!r} has {len(found)} names, expected hundreds", hint="build the firmware first")
    # A text with an escape in it is given by its identifier's spelling, which the tree's own tools understand.
    return sorted({f"Q({said})" for name, said in found if "\\" not in said and said.strip() == said and said})


def names_of_sources(folders: Iterable[Path]) -> list[str]:
    """The same from C sources."""
    names: set[str] = set()
    for folder in folders:
        for pattern in ("*.c", "*.h", "*.cpp"):
            for path in folder.rglob(pattern):
                names |= set(_USED.findall(path.read_text("utf-8", "replace")))
    return sorted(f"Q({name})" for name in names)
