"""``harness history``: the figures of a board over all runs."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import CONTEXT, json_option, store_option


@click.command("history", context_settings=CONTEXT)
@click.argument("board")
@click.argument("measurement", default="*")
@store_option
@click.option("--line", default="", metavar="NAME", help="Only this firmware line.")
@click.option("--last", default=0, metavar="N", help="Only the newest N runs (default: all).")
@click.option("--changed", is_flag=True, help="Only figures that have a step.")
@click.option("--all", "every", is_flag=True, help="Also each figure that never changed.")
@json_option
def history(**options: Any) -> None:
    """The figures of BOARD over all runs: trend, baseline, steps with their first bad run, flaky scenarios.

    MEASUREMENT is a figure's name or a pattern; one that matches a single figure shows its runs around each step.
    """
    from harness.results.report.history_view import show_history as body

    body(**options)
