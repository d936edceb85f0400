"""``harness qualify``: a certificate for one board with one firmware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import CONTEXT, Finite


@click.command("qualify", context_settings=CONTEXT)
@click.argument("board_id", metavar="BOARD")
@click.option("--bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
@click.option("--plan", "plan_file", type=click.Path(path_type=Path), help="Plan (YAML); default: the standard one.")
@click.option("--rounds", type=click.IntRange(1), help="In place of the plan's rounds.")
@click.option("--soak", type=Finite(0), metavar="MINUTES", help="In place of the plan's soak.")
@click.option("--out", type=click.Path(path_type=Path), default=Path(), help="Folder for the certificate.")
@click.option("--key", type=click.Path(path_type=Path), help="Sign with this Ed25519 key (PEM).")
@click.option("--variant", default="", metavar="NAME", help="Firmware variant of a virtual board.")
@click.option("--store", default="", metavar="FILE", help="Results store (default: .harness/results.sqlite).")
def qualify(**options: Any) -> None:
    """Qualify BOARD with its firmware: declare plan and limits, run it all several times, write a certificate."""
    from harness.campaigns.qualify.qualify_board import qualify as body

    body(**options)
