"""What each board's VM said of itself when it was last made ready, kept for ``harness boards -v``, and what its Lua
Flash Store held.

A hint for people and no result: what is damaged or cannot be written is left out, and each attach asks anew.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from harness.bench.flash_store import KeptStore
from harness.bench.flash_store import lines as store_lines
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import Facts, LfsState

_FOLDER = "facts"
_SIZE_LIMIT = 64 * 1024


def keep(state: Path, board: str, facts: Facts, abilities: Abilities, store: KeptStore | None = None) -> None:
    """Keep what the VM of ``board`` said; ``state`` is the bench's state folder."""
    lines = [
        f"{facts.name} {facts.version}",
        f"machine: {facts.machine}",
        f"words of {facts.word_size} bytes, objects {facts.object_repr or 'not told'}, heap {facts.heap_total} B",
        f".mpy: {f'version {facts.mpy_version}' if facts.mpy else 'none'}",
        *abilities.lines(),
    ]
    content = {"at": time.time(), "lines": lines}
    if store is not None:
        content |= {"lfs": asdict(store)}
    folder = state / _FOLDER
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{board}.json").write_text(json.dumps(content), "utf-8")


def known(state: Path, board: str) -> tuple[float, list[str]] | None:
    """When it was said (a Unix time), and a line for each fact; None where nothing is known."""
    content = _content(state, board)
    try:
        store = _store_of(content)
        return float(content["at"]), [
            *(str(line) for line in content["lines"]),
            *(store_lines(store) if store is not None else ()),
        ]
    except (ValueError, KeyError, TypeError):
        return None


def known_store(state: Path, board: str) -> KeptStore | None:
    """What was last known of the board's Lua Flash Store; None for one without, and where nothing is known."""
    return _store_of(_content(state, board))


def _store_of(content: dict[str, Any]) -> KeptStore | None:
    try:
        kept = content["lfs"]
        fields = {name: int(kept["state"][name]) for name in ("base", "mapped", "size", "used", "built")}
        told = LfsState(**fields, numbers="integer" if kept["state"]["numbers"] == "integer" else "float")
        return KeptStore(told, bool(kept["own"]), str(kept["problem"]), str(kept["hint"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None


def _content(state: Path, board: str) -> dict[str, Any]:
    file = state / _FOLDER / f"{board}.json"
    try:
        content = json.loads(file.read_text("utf-8")) if file.stat().st_size <= _SIZE_LIMIT else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
