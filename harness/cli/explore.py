"""``harness explore PROGRAM``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import CONTEXT


@click.command("explore", context_settings=CONTEXT)
@click.argument("program", type=click.Path(path_type=Path))
@click.option("--point", type=int, default=None, metavar="K", help="Only this point; shows what the run printed.")
@click.option("--every-point", is_flag=True, help="One run for each point, also where several lead to the same run.")
@click.option("--points", default=50_000, show_default=True, metavar="N", help="Explore at most so many points.")
@click.option("--limit", default=10_000_000, show_default=True, metavar="N", help="What a run may cost (metered).")
@click.option("--heap", default=57344, show_default=True, metavar="BYTES", help="Raw heap, tables included.")
@click.option("--lib", default=None, type=click.Path(path_type=Path), metavar="DIR", help="Modules it may import.")
@click.option("--json", "json_file", default="", metavar="FILE", help="Also write the result as JSON ('-': stdout).")
def explore(**options: Any) -> None:
    """Run PROGRAM's main() with its interrupt at every point at which it can strike.

    PROGRAM defines main() and interrupt(argument), a scheduled callback, and perhaps check(), with plain asserts
    about what must hold at the end. Exit code 0: safe at all points; 1: some point leads to a failure.
    """
    from harness.campaigns.explore_program import explore_program as body

    body(**options)
