"""``harness restore``: the whole flash of a board, as ``harness onboard --backup`` has read it, back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import CONTEXT, bench_option, board_named
from harness.errors import Interrupted

if TYPE_CHECKING:
    from harness.bench.flash_backup import Note
    from harness.inventory.model import Board


@click.command(context_settings=CONTEXT)
@click.argument("target", metavar="BOARD|PORT")
@click.argument("file", metavar="FILE")
@bench_option
@click.option("--other-board", is_flag=True, help="Also to another board than it was read from, of the same chip.")
def restore(target: str, file: str, bench: str, other_board: bool) -> None:
    """Write the backup FILE back to a board, whole and verified.

    The board is one of the bench file, or whatever is at a port. Refused are a damaged file, another chip, another
    board (its MAC or unique id), a flash that is too small, and chips whose fuses forbid it. What is on the chip
    already is not written again.
    """
    from harness.bench.flash_backup import ITS_OWN, load
    from harness.bench.flash_backup import restore as put_back
    from harness.cli.findings import print_parts
    from harness.cli.steps import steps
    from harness.shown import Terminal

    console = Terminal()
    backup = load(Path(file))
    note = backup[0]
    board, state = _at_port(target, note, bench) if "/" in target else board_named(target, bench, check_files=False)
    print_parts(
        console, f"{file}: {note.description or note.chip}, {note.whose}, {note.size // 1024} KB, read {note.taken}"
    )
    begun = False

    def writing() -> None:
        nonlocal begun
        begun = True

    try:
        with steps(console, board.id) as report:
            done = put_back(board, state, backup, report, other_board=other_board, writing=writing)
    except KeyboardInterrupt:
        what = f"{board.id} may hold a part of the backup: the same command writes the rest"
        raise Interrupted(what if begun else "nothing was written") from None
    how = "by the chip's own MD5" if board.flash_method == "esptool" else "by reading it back"
    print_parts(
        console,
        (board.id, "bold"),
        f": {done.written} bytes written, {done.unchanged} were there already; verified {how}, {done.seconds:.1f} s",
    )
    for warning in done.warnings:
        if ITS_OWN not in warning:
            print_parts(console, "  ", (warning, "yellow"))


def _at_port(address: str, note: Note, bench: str) -> tuple[Board, Path]:
    """A board of which only its port and, by the backup, its chip are known."""
    from harness.bench.bench_entries import board_at
    from harness.inventory.selection import bench_file
    from harness.paths import state_dir

    return board_at(address, note.chip), state_dir(bench_file(bench) if bench else Path("boards.yaml"))
