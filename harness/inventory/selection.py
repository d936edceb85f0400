"""Which bench, and which of its boards: what ``--bench`` and ``--boards`` name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.paths import shipped_bench

if TYPE_CHECKING:
    from harness.inventory.model import Bench, Board


def bench_file(option: str) -> Path:
    """The bench to use: ``option``, else boards.yaml here, else the one that came with the harness."""
    if option:
        return Path(option)
    here = Path("boards.yaml")
    return here if here.exists() else shipped_bench()


def chosen_boards(bench: Bench, ids: str) -> list[Board]:
    """The boards named in ``ids`` (or tagged so), or all. Raises UsageError for a name that is not there."""
    if not ids:
        return list(bench.boards)
    chosen: list[Board] = []
    for name in (part.strip() for part in ids.split(",") if part.strip()):
        named = [board for board in bench.boards if name in (board.id, *board.tags)]
        if not named:
            known = ", ".join(board.id for board in bench.boards)
            raise UsageError(f"there is no board {name!r} in this bench", hint=f"its boards: {known}")
        chosen += [board for board in named if board not in chosen]
    return chosen
