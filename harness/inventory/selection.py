"""Which bench, and which of its boards: what ``--bench`` and ``--boards`` name."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.paths import shipped_bench

if TYPE_CHECKING:
    from harness.inventory.model import Bench, Board

#: What ``--bench`` takes for the virtual boards that come with the harness.
SHIPPED = "shipped"
#: So many boards are named in the first line of a run.
_NAMED = 8


def bench_file(option: str) -> Path:
    """The bench to use: ``option``, else boards.yaml here. ``shipped`` is the one that came with the harness.

    Raises UsageError when there is none: boards that nobody named are never tested by accident.
    """
    if option == SHIPPED and not Path(option).exists():
        return shipped_bench()
    file = Path(option or "boards.yaml")
    if file.exists():
        return file
    if option:
        raise UsageError(
            f"there is no bench file {option!a}", hint="name one with --bench, or go to the folder of boards.yaml"
        )
    raise UsageError(
        "there is no boards.yaml in this folder, so no board to test",
        hint="'harness init' writes one from what is plugged in; --bench FILE names one elsewhere; "
        f"--bench {SHIPPED} takes the virtual boards that come with the harness",
    )


def chosen_boards(bench: Bench, ids: str | None) -> list[Board]:
    """The boards named in ``ids`` (or tagged so); None: all. Raises UsageError for a name that is not there."""
    if ids is None:
        return list(bench.boards)
    chosen: list[Board] = []
    known = ", ".join(board.id for board in bench.boards)
    for name in (part.strip() for part in ids.split(",") if part.strip()):
        named = [board for board in bench.boards if name in (board.id, *board.tags)]
        if not named:
            words = [word for board in bench.boards for word in (board.id, *board.tags)]
            near = get_close_matches(name, words, n=1)
            meant = f"{near[0]}? " if near else ""
            raise UsageError(f"there is no board {name!a} in this bench", hint=f"{meant}its boards: {known}")
        chosen += [board for board in named if board not in chosen]
    if not chosen:
        raise UsageError(f"--boards {ids!a} names no board", hint=f"its boards: {known}")
    return chosen


def bench_line(file: Path, bench: Bench, boards: Sequence[Board]) -> str:
    """The first line of a run: whose boards these are. Untrusted as the file is: ``harness.shown`` prints it."""
    more = len(boards) - _NAMED
    named = ", ".join(board.id for board in boards[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    title = str(file) if bench.name == "bench" else f"{bench.name} ({file})"
    return f"bench {title}: {named}"
