"""``harness boards``: where each board is, who holds it, how it is; and taking it out of quarantine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import CONTEXT, bench_option, json_option, load
from harness.errors import BenchFault, HarnessError

if TYPE_CHECKING:
    from harness.inventory.model import Board


@click.group(invoke_without_command=True, context_settings=CONTEXT)
@bench_option
@click.option("--ports", is_flag=True, help="List the serial ports of this machine instead.")
@click.option("-v", "--verbose", is_flag=True, help="Also what each board's VM said it can do, when it was last asked.")
@json_option
@click.pass_context
def boards(context: click.Context, bench: str, ports: bool, verbose: bool, json_file: str) -> None:
    """List the boards of the bench: where each is now, who holds it, and how it is."""
    from rich.table import Table
    from rich.text import Text

    from harness.paths import state_dir
    from harness.results.report.json_report import write_json

    if context.invoked_subcommand:
        return
    from harness.inventory.discover import list_ports
    from harness.results.report.terminal import terminal

    console = terminal(to_stderr=json_file == "-")
    if ports:
        plugged = list_ports()
        table = Table(box=None, padding=(0, 2))
        for heading in ("device", "vid:pid", "usb_serial", "usb_location", "description"):
            table.add_column(heading)
        for port in plugged:
            table.add_row(*(Text(str(getattr(port, name) or "-")) for name in _PORT_FIELDS))
        console.print(table if plugged else "no serial ports")
        if json_file:
            write_json(json_file, {"ports": [{n: getattr(p, n) for n in _PORT_FIELDS} for p in plugged]})
        return
    file, loaded = load(bench)
    rows = [_board_row(board, state_dir(file)) for board in loaded.boards]
    table = Table(box=None, padding=(0, 2), title=Text(f"{loaded.name} ({file})"), title_justify="left")
    for heading in ("board", "chip", "runtime", "where", "state", "held by", "health"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(row[key]) for key in ("id", "chip", "runtime", "where", "state", "holder", "health")))
    console.print(table)
    if verbose:
        _print_facts([board.id for board in loaded.boards], state_dir(file))
    if json_file:
        write_json(json_file, {"bench": loaded.name, "boards": rows})


def _print_facts(boards: list[str], state: Path) -> None:
    from harness.bench.known_facts import known
    from harness.shown import plain, say

    for board in boards:
        said = known(state, board)
        if said is None:
            say(f"\n{board}: not asked yet ('harness boards check {board}' asks)")
            continue
        say(f"\n{board}, asked {time.strftime('%Y-%m-%d %H:%M', time.localtime(said[0]))}")
        for line in said[1][:40]:
            say(f"  {plain(line, 300)}")


#: Nobody has the board.
FREE = "free"
_PORT_FIELDS = ("device", "vid_pid", "usb_serial", "usb_location", "description")


def _board_row(board: Board, state: Path) -> dict[str, str]:
    from harness.bench.device_of import device_of

    device = device_of(board, state)
    where, status = device.whereabouts()
    holder = held(board, state)
    return {
        "id": board.id,
        "chip": board.chip,
        "runtime": board.runtime,
        "where": where,
        "state": status,
        "holder": (device.holder or holder) if holder == FREE else holder,
        "health": health_words(board, state),
    }


def held(board: Board, state: Path) -> str:
    """Who holds the board, since when and for what; "free" when nobody does."""
    from harness.inventory.locks import Busy, board_lock, read_owner

    try:
        with board_lock(board, state, purpose="harness boards"):
            return FREE
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
    from harness.bench.health import HealthBook, State

    health = HealthBook(state).of(board.id)
    if health.state is State.OK:
        return "ok"
    since = time.strftime("%Y-%m-%d %H:%M", time.localtime(health.since))
    return f"{health.state.value} since {since}: {health.reason[:120]}"


@boards.command("release")
@click.argument("ids")
@bench_option
def release(ids: str, bench: str) -> None:
    """Take boards (IDS or tags, comma separated) out of quarantine."""
    from harness.bench.health import HealthBook
    from harness.inventory.selection import chosen_boards
    from harness.paths import state_dir
    from harness.shown import say

    file, loaded = load(bench)
    book = HealthBook(state_dir(file))
    for board in chosen_boards(loaded, ids):
        before = book.of(board.id).state.value
        book.release(board.id, "released by hand")
        say(f"{board.id}: {before} before, ok now")


@boards.command("check")
@click.argument("ids")
@bench_option
def check(ids: str, bench: str) -> None:
    """Make boards ready as a run does, quarantined or not; those that answer are ok again."""
    from rich.text import Text

    from harness.bench.attach import Options, attach
    from harness.bench.health import HealthBook
    from harness.inventory.selection import chosen_boards
    from harness.paths import state_dir
    from harness.shown import Terminal

    file, loaded = load(bench)
    state, console, code = state_dir(file), Terminal(), 0
    for board in chosen_boards(loaded, ids):
        try:
            attached = attach(board, Options(state, check=True, purpose="harness boards check"), lambda *_: None)
            attached.close()
        except HarnessError as problem:
            console.print(Text(f"{board.id}: {problem}", style="magenta"), soft_wrap=True)
            code = max(code, problem.exit_code)
        else:
            HealthBook(state).release(board.id, "a check passed")
            console.print(Text("\n  ".join([f"{board.id}: ok", *attached.warnings])), soft_wrap=True)
    sys.exit(code)
