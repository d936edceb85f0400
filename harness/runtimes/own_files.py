"""Where the harness's own files are on a board, and a file of the user's that it needs the place of (``main.py``): set
aside on the board, and given back.

The user's own stays on the board meanwhile, in the harness's folder, so that what is left when everything ends in the
middle is given back by the next run's sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.errors import Refused
from harness.link.panics import printable
from harness.runtimes.interface import Runtime
from harness.runtimes.micropython.file_programs import GIVE_BACK, SET_ASIDE


def make_folder(runtime: Runtime, path: str) -> None:
    """With those above it; one that is there already, or cannot be made, is no error."""
    parts = path.strip("/").split("/")
    levels = ["/" + "/".join(parts[: n + 1]) for n in range(len(parts))]
    runtime.run(f"import os\nfor p in {levels!r}:\n try:\n  os.mkdir(p)\n except OSError:\n  pass\ndel p")


@contextmanager
def set_aside(runtime: Runtime, name: str, *, base: str, own_folder: str) -> Iterator[str]:
    """Inside, the file ``name`` of the folder ``base`` is not there, and its path, which is given, is free.

    Afterwards what was there is there again. Raises Refused when the VM does not do so.
    """
    base = base.rstrip("/")
    path = f"{base}/{name}"
    _do(runtime, SET_ASIDE % (path, own_folder), f"{path} cannot be set aside")
    try:
        yield path
    finally:
        _do(runtime, GIVE_BACK % (base, own_folder), f"{path} cannot be given back")


def _do(runtime: Runtime, program: str, trouble: str) -> None:
    error = runtime.run(program).stderr
    if error:
        raise Refused(
            f"{trouble}: {printable(error[-200:])}",
            hint="is there space, and may the board's own programs write to its filesystem?",
        )
