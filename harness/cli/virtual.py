"""``harness virtual``: virtual boards that stay up."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import click

from harness.cli.options import CONTEXT, bench_option, json_option, load
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.inventory.model import Board


@click.group(context_settings=CONTEXT)
def virtual() -> None:
    """The virtual boards: chips that speak the real boot protocols, without hardware."""


@virtual.command("up", context_settings=CONTEXT)
@bench_option
@click.option("--boards", default=None, metavar="IDS", help="Boards or tags, comma separated (default: all virtual).")
@click.option("--blank", is_flag=True, help="Leave the flash as it is: do not write the firmware first.")
@json_option
def virtual_up(bench: str, boards: str | None, blank: bool, json_file: str) -> None:
    """Start the virtual boards and keep them up until Ctrl-C, for esptool, mpremote or a client of yours.

    With --json FILE, their addresses are written to FILE once they are ready: {"vesp32": {"url": ..., "pty": ...}}.
    """
    import signal

    from rich.text import Text

    from harness.bench.attach import Options, attach
    from harness.bench.virtual_device import virtual_spec
    from harness.cli.steps import steps
    from harness.inventory.selection import chosen_boards
    from harness.paths import state_dir
    from harness.results.report.json_report import write_json
    from harness.shown import Terminal
    from harness.virtual.bench import start

    file, loaded = load(bench)
    state = state_dir(file)
    chosen = [board for board in chosen_boards(loaded, boards) if board.virtual is not None]
    if not chosen:
        raise UsageError("there is no virtual board among those chosen")
    console = Terminal(stderr=json_file == "-")
    done = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())
    up = []
    try:
        for board in chosen:
            up.append(start(virtual_spec(board, state)))
            if not blank:
                with steps(console, board.id) as report:
                    attach(board, Options(state, purpose="harness virtual up"), report).close()
        for running in up:
            console.print(
                Text.assemble((running.id, "bold"), f"\n  {running.url}", f"\n  {running.pty}" if running.pty else "")
            )
        tries = {
            _client(board, running.pty or running.url): None for board, running in zip(chosen, up, strict=True)
        }  # one line for each kind of board, in their order
        console.print(
            Text(
                "\nTry:\n  " + "\n  ".join(list(tries)[:6]) + "\n"
                "The rfc2217 address carries DTR and RTS; the other one is quicker and has no reset line.\n"
                "Ctrl-C stops the boards; their flash is kept."
            ),
            soft_wrap=True,
        )
        if json_file:
            write_json(json_file, {running.id: {"url": running.url, "pty": running.pty} for running in up})
        done.wait()
    finally:
        for running in up:
            running.stop()


def _client(board: Board, port: str) -> str:
    """A command of somebody else's that speaks to such a board."""
    from harness.chips import CHIPS
    from harness.runtimes.traits import traits_of

    if command := traits_of(board.runtime).client_command:
        return command.format(port=port)
    if CHIPS[board.chip].family == "stm32":
        return f"stm32flash -m 8n1 {port}"
    return f"esptool --port {port} flash-id"
