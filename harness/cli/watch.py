"""``harness watch BOARD``: its console with times, over resets, sleeps and a port that goes and comes."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import CONTEXT, Finite


@click.command("watch", context_settings=CONTEXT)
@click.argument("board_id", metavar="BOARD")
@click.option("--bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
@click.option("--seconds", type=Finite(0), help="End after so many seconds (default: at Ctrl-C).")
@click.option("--log", "log_file", default="", metavar="FILE", help="Also write it to FILE, with the time of day.")
def watch(**options: Any) -> None:
    """Show what BOARD prints, each line with its time, until Ctrl-C. Nothing is sent, nothing is reset.

    It goes on when the port vanishes and comes back (native USB at a reset or in deep sleep). The board is locked
    meanwhile, as in a run.
    """
    from harness.campaigns.watch import watch as body

    body(**options)
