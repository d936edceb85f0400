"""What several commands share: their common options, and the bench that these name."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.errors import UsageError

if TYPE_CHECKING:  # a command's --help needs none of it
    from harness.inventory.model import Bench, Board

CONTEXT = {"help_option_names": ["-h", "--help"]}


class Finite(click.FloatRange):
    """A number of seconds or minutes: neither infinite nor no number at all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


class OutputFile(click.ParamType[str]):
    """A file that is written in the end, looked at before anything is done; "-" is standard output."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from harness.paths import require_writable

        if value and value != "-":
            require_writable(value)
        return str(value)


bench_option = click.option(
    "--bench",
    "bench",
    default="",
    metavar="FILE",
    help="Bench file (default: boards.yaml here; 'shipped': the virtual boards that come with the harness).",
)
boards_option = click.option(
    "--boards", default=None, metavar="IDS", help="Boards or tags, comma separated (default: all)."
)
variant_option = click.option("--variant", default="", metavar="NAME", help="Firmware variant for the virtual boards.")
store_option = click.option(
    "--store", default="", metavar="FILE|URL", help="Results store (default: .harness/results.sqlite of the bench)."
)
json_option = click.option(
    "--json",
    "json_file",
    type=OutputFile(),
    default="",
    metavar="FILE",
    help="Also write the result as JSON ('-': standard output).",
)


def load(bench: str, *, check_files: bool = True) -> tuple[Path, Bench]:
    """The bench file that ``--bench`` names (default: boards.yaml), and what it says.

    Raises UsageError when it is not there, or is wrong.
    """
    from harness.inventory.load import load_bench
    from harness.inventory.selection import bench_file

    file = bench_file(bench)
    return file, load_bench(file, check_files=check_files)


def load_chosen(bench: str, boards: str | None, *, to_stderr: bool = False) -> tuple[Path, list[Board]]:
    """The bench file, and the boards that ``--boards`` names; both are told in one line, before anything is done.

    Raises UsageError for a file or a board that is not there.
    """
    from harness.inventory.selection import bench_line, chosen_boards
    from harness.shown import say

    file, loaded = load(bench)
    chosen = chosen_boards(loaded, boards)
    say(bench_line(file, loaded, chosen), stderr=to_stderr)
    return file, chosen


def board_named(name: str, bench: str, *, check_files: bool = True) -> tuple[Board, Path]:
    """The board of that id, and the state folder of its bench. Raises UsageError when there is none."""
    from harness.paths import state_dir

    file, loaded = load(bench, check_files=check_files)
    board = loaded.board(name)
    if board is None:
        known = ", ".join(board.id for board in loaded.boards)
        raise UsageError(f"there is no board {name!r} in this bench", hint=f"its boards: {known}")
    return board, state_dir(file)
