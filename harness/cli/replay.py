"""``harness replay FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.options import CONTEXT


@click.command("replay", context_settings=CONTEXT)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-q", "--quiet", is_flag=True, help="Only what differs, and the sum.")
def replay(**options: Any) -> None:
    """Have the conversation of a transcript (FILE, .jsonl) once more, with this version of the harness and no board.

    Each run keeps one for each board: .harness/transcripts/run-<N>-<uid>/<board>.jsonl, named beside what failed. What
    other commands did with a board last is in .harness/transcripts/<board>.jsonl. Exit code 0: the harness does the
    same and comes to the same; 1: it does not, and where.
    """
    from harness.campaigns.replay_transcript import replay_transcript as body

    body(**options)
