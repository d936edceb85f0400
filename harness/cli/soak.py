"""``harness soak --faults``."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import CONTEXT, json_option


@click.command("soak", context_settings=CONTEXT)
@click.option("--faults", is_flag=True, help="Inject faults (the only kind of soak that there is).")
@click.option("--count", default=500, show_default=True, help="How many faults.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same plan.")
@click.option("--kinds", default="", metavar="NAMES", help="Only these kinds, comma separated.")
@click.option("--list", "list_only", is_flag=True, help="List the kinds of faults, and inject nothing.")
@click.option("--bench", default="", metavar="FILE", help="Bench file (default: 'shipped').")
@json_option
def soak(**options: Any) -> None:
    """Inject faults into the virtual boards while they are measured, written and uploaded to.

    Each must end as recovered or as an error of the bench. Exit code 0: so it was; 1: one ended as a failure of the
    firmware, as a pass with a wrong figure or with a lost board; 3: something was left locked or running.
    """
    from harness.proving.soak import soak as body

    body(**options)
