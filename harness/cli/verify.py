"""``harness verify``: whether a certificate still says what was recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import CONTEXT


@click.command("verify", context_settings=CONTEXT)
@click.argument("certificate", type=click.Path(path_type=Path))
@click.option(
    "--signer", type=click.Path(path_type=Path), help="The Ed25519 public key (PEM) that must have signed it."
)
@click.option("--bench", default="", metavar="FILE", help="Also hold its limits against those of this bench file.")
def verify(**options: Any) -> None:
    """Check that CERTIFICATE (.json or .html of 'harness qualify') says what was recorded, and what it says."""
    from harness.campaigns.qualify.qualify_board import verify_file as body

    body(**options)
