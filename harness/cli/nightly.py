"""``harness nightly``: all boards of the bench at once, within a time, with everything a CI page wants to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import CONTEXT


@click.command("nightly", context_settings=CONTEXT)
@click.argument("suites", nargs=-1)
@click.option("--bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
@click.option("--boards", default=None, metavar="IDS", help="Boards or tags, comma separated (default: all).")
@click.option("--board-minutes", type=click.FloatRange(min=0, min_open=True), default=60.0, show_default=True)
@click.option("--total-minutes", type=click.FloatRange(min=0, min_open=True), default=480.0, show_default=True)
@click.option("--jobs", type=click.IntRange(1), help="Boards at the same time (default: all).")
@click.option("--resume", is_flag=True, help="Go on with the last night's run if it did not come to its end.")
@click.option("--lab", is_flag=True, help="Share the night with other hosts: each board is run by one of them.")
@click.option("--night", default="", metavar="NAME", help="With --lab: which night (default: today's date).")
@click.option("--out", type=click.Path(path_type=Path), default=Path("nightly"), show_default=True, help="Reports.")
@click.option("--variant", default="", metavar="NAME", help="Firmware variant for the virtual boards.")
@click.option("--store", default="", metavar="FILE", help="Results store (default: .harness/results.sqlite).")
def nightly(**options: Any) -> None:
    """Run the SUITES (default: all) on all boards at once, unattended, and leave reports in a folder.

    JUnit, JSON, Markdown and HTML of this run, and an index over the runs before it. Where GITHUB_STEP_SUMMARY names
    a file, the Markdown is added to it. Exit codes are those of 'harness run'.
    """
    from harness.campaigns.nightly import nightly as body

    body(**options)
