"""``harness boards release`` and ``harness boards check``, and what ``harness boards`` says of holders and health."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import click
from rich.console import Console
from rich.text import Text

from harness.bench.attach import Options, attach
from harness.bench.health import HealthBook, State
from harness.errors import BenchFault, HarnessError
from harness.inventory.locks import Busy, board_lock, read_owner
from harness.inventory.model import Bench, Board

Loader = Callable[[str], tuple[Path, Bench]]


def held(board: Board, state: Path) -> str:
    """Who holds the board, since when and for what; "free" when nobody does."""
    try:
        with board_lock(board, state, purpose="harness boards"):
            return "free"
    except Busy:
        owner = read_owner(board, state)
        if owner is None:
            return "held by another process"
        since = time.strftime("%H:%M:%S", time.localtime(owner.since))
        what = f" ({owner.purpose})" if owner.purpose else ""
        return f"{owner.user}, process {owner.pid} on {owner.host}, since {since}, {owner.age}{what}"
    except BenchFault as problem:
        return problem.message


def health_words(board: Board, state: Path) -> str:
    """State, since when, and why; "ok" alone for a board that is well."""
    health = HealthBook(state).of(board.id)
    if health.state is State.OK:
        return "ok"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(health.since))
    return f"{health.state.value} since {since}: {health.reason[:120]}"


def board_commands(
    load: Loader, state_dir: Callable[[Path], Path], chosen: Callable[[Bench, str], list[Board]]
) -> tuple[click.Command, click.Command]:
    """The two commands, for the group that knows how to load a bench."""

    @click.command("release")
    @click.argument("ids")
    @click.option("--bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
    def release(ids: str, bench: str) -> None:
        """Take boards (IDS or tags, comma separated) out of quarantine."""
        file, loaded = load(bench)
        book = HealthBook(state_dir(file))
        for board in chosen(loaded, ids):
            before = book.of(board.id).state.value
            book.release(board.id, "released by hand")
            click.echo(f"{board.id}: {before} before, ok now")

    @click.command("check")
    @click.argument("ids")
    @click.option("--bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
    def check(ids: str, bench: str) -> None:
        """Make boards ready as a run does, quarantined or not; those that answer are ok again."""
        file, loaded = load(bench)
        state, console, code = state_dir(file), Console(highlight=False), 0
        for board in chosen(loaded, ids):
            try:
                attach(board, Options(state, check=True, purpose="harness boards check"), lambda *_: None).close()
            except HarnessError as problem:
                console.print(Text(f"{board.id}: {problem}", style="magenta"), soft_wrap=True)
                code = max(code, problem.exit_code)
            else:
                HealthBook(state).release(board.id, "a check passed")
                console.print(Text(f"{board.id}: ok"))
        sys.exit(code)

    return release, check
