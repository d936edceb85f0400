"""``harness diff``: what changed from one run to another."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import CONTEXT, json_option, store_option


@click.command("diff", context_settings=CONTEXT)
@click.argument("before", type=int)
@click.argument("after", type=int)
@store_option
@json_option
def diff(**options: Any) -> None:
    """What changed from run BEFORE to run AFTER: verdicts, figures beyond noise, firmware, environment.

    Exit code 1 when a verdict got worse, else 0.
    """
    from harness.results.report.history_view import show_diff as body

    body(**options)
