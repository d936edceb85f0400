"""``harness bisect``: the first image at which a figure changed."""

from __future__ import annotations

from typing import Any

import click

from harness.cli.options import CONTEXT, json_option, store_option


@click.command("bisect", context_settings=CONTEXT)
@click.argument("images", nargs=-1, required=True)
@click.option("--board", required=True, metavar="ID", help="The board to try them on.")
@click.option(
    "--measurement", required=True, metavar="NAME", help="The figure, by its name or 'suite: scenario: name'."
)
@click.option("--suite", default="", metavar="NAME", help="The suite that measures it (default: all suites).")
@click.option("--repeats", default=3, show_default=True, help="Tries of an image, of which the majority decides.")
@click.option("--bench", default="", metavar="FILE", help="Bench file (default: boards.yaml).")
@store_option
@json_option
def bisect(**options: Any) -> None:
    """The first of IMAGES at which a figure changed. The first image must be good, the last one bad.

    IMAGES are firmware files in their order; for a virtual board, names of variants ('healthy' for none). Each try
    is a run of its own and stays in the store.
    """
    from harness.campaigns.bisect import bisect_images as body

    body(**options)
