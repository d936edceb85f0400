"""``harness selfcheck``."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import CONTEXT, json_option


@click.command("selfcheck", context_settings=CONTEXT)
@click.argument("defects", nargs=-1)
@click.option("--healthy", default=2, show_default=True, metavar="N", help="Runs of the healthy firmware.")
@click.option("--board", "board_id", default="vesp32", show_default=True, metavar="ID", help="A virtual board.")
@click.option("--all-suites", is_flag=True, help="Every defect through all suites, not only through its own.")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Runs at the same time.")
@click.option("--list", "list_only", is_flag=True, help="List the defects, and run nothing.")
@json_option
def selfcheck(**options: Any) -> None:
    """Prove the suites: DEFECTS (patterns; default: all of its runtime's) on a virtual board; each must be caught.

    A defect is caught when a scenario fails that names the right thing; the healthy firmware must not be blamed.
    Exit code 0: all caught and no false alarm; 1: something was missed; 3: the healthy firmware was blamed.
    """
    from harness.proving.selfcheck import selfcheck as body

    body(**options)
