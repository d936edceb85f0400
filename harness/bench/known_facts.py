"""What each board's VM said of itself when it was last made ready, kept for ``harness boards -v``.

A hint for people and no result: what is damaged or cannot be written is left out, and each attach asks anew.
"""

from __future__ import annotations

import contextlib
import json
import time
from pathlib import Path

from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import Facts

_FOLDER = "facts"
_SIZE_LIMIT = 64 * 1024


def keep(state: Path, board: str, facts: Facts, abilities: Abilities) -> None:
    """Keep what the VM of ``board`` said; ``state`` is the bench's state folder."""
    lines = [
        f"{facts.name} {facts.version}",
        f"machine: {facts.machine}",
        f"words of {facts.word_size} bytes, objects {facts.object_repr or 'not told'}, heap {facts.heap_total} B",
        f".mpy: {f'version {facts.mpy_version}' if facts.mpy else 'none'}",
        *abilities.lines(),
    ]
    folder = state / _FOLDER
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{board}.json").write_text(json.dumps({"at": time.time(), "lines": lines}), "utf-8")


def known(state: Path, board: str) -> tuple[float, list[str]] | None:
    """When it was said (a Unix time), and a line for each fact; None where nothing is known."""
    file = state / _FOLDER / f"{board}.json"
    try:
        if file.stat().st_size > _SIZE_LIMIT:
            return None
        content = json.loads(file.read_text("utf-8"))
        return float(content["at"]), [str(line) for line in content["lines"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
