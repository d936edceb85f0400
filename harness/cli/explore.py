"""``harness explore PROGRAM``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import CONTEXT, Finite, json_option
from harness.errors import UsageError


@click.command("explore", context_settings=CONTEXT)
@click.argument("program", type=click.Path(path_type=Path), required=False)
@click.option("--strikes", type=click.IntRange(1, 2), default=1, show_default=True, help="Interrupts in one run.")
@click.option(
    "--level",
    type=click.Choice(["soft", "hard"]),
    default="soft",
    show_default=True,
    help="soft: as a scheduled callback; hard: in C code as well, with the heap locked.",
)
@click.option("--as-implemented", is_flag=True, help="A soft callback at the VM's own checks, in the prepared build.")
@click.option("--reference", default="", metavar="NAME", help="The built reference; default: the newest built.")
@click.option("--chip", default=None, metavar="CHIP", help="With this chip's modules (machine, …).")
@click.option(
    "--budget", type=Finite(0), default=60.0, show_default=True, metavar="SECONDS", help="Stop after so long."
)
@click.option("--point", default="", metavar="K", help="Only this point (35, c12; 35,41); shows what the run printed.")
@click.option(
    "--every-point", is_flag=True, help="As implemented: one run for each point, also where one stands for many."
)
@click.option(
    "--points", default=50_000, show_default=True, metavar="N", help="Explore at most so many points or pairs."
)
@click.option("--limit", default=10_000_000, show_default=True, metavar="N", help="What a run may cost (metered).")
@click.option("--heap", default=57344, show_default=True, metavar="BYTES", help="Raw heap, tables included.")
@click.option("--lib", default=None, type=click.Path(path_type=Path), metavar="DIR", help="Modules it may import.")
@json_option
@click.option("--table", is_flag=True, help="No PROGRAM: which operations are atomic, as Markdown.")
def explore(program: Path | None, table: bool, **options: Any) -> None:
    """Run PROGRAM's main() with its interrupt at every point at which it can strike.

    PROGRAM defines main() and interrupt(argument), a callback, and perhaps check(), with plain asserts about what must
    hold at the end; interrupt_hard(argument), where --level hard needs a handler of its own. By the contract a callback
    may come between any two bytecodes; this needs a reference that was built from a source tree (harness reference
    build). Exit code 0: safe at all points that were tried; 1: some point leads to a failure; 2: the program cannot be
    explored.
    """
    if table:
        from harness.campaigns.explore_table import print_table

        print_table(options["reference"])
        return
    if program is None:
        raise UsageError("no program was given", hint="harness explore PROGRAM, or --table")
    from harness.campaigns.explore_program import Options, explore_program

    explore_program(program, Options(**options))
