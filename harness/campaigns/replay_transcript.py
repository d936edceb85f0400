"""``harness replay FILE``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from rich.text import Text

from harness.runtimes.replay import Diverged, replay
from harness.shown import Terminal, plain

_PIECE = re.compile(r"#[0-9]+-[0-9]+$")


def replay_transcript(file: Path, quiet: bool) -> None:
    """Have the conversation of a transcript (FILE, .jsonl) once more, with this version of the harness and no board.

    Each run keeps one for each board: .harness/transcripts/run-<N>-<uid>/<board>.jsonl, named beside what failed. What
    other commands did with a board last is in .harness/transcripts/<board>.jsonl. Exit code 0: the harness does the
    same and comes to the same; 1: it does not, and where.
    """
    console = Terminal()
    same = total = 0
    if not file.exists():  # as reports print it: with the piece that is meant, of which all before it is replayed, too
        file = Path(_PIECE.sub("", str(file)))
    try:
        for call in replay(file):
            total += 1
            same += call.same
            if not quiet or not call.same:
                now = call.now.get("message") or " ".join(f"{key} {value}" for key, value in call.now.items())
                console.print(Text(plain(f"{call.name}{call.arguments}: {now}", 300)), soft_wrap=True)
            if not call.same:
                console.print(Text(plain(f"  then it was {call.then}", 600), style="bold red"), soft_wrap=True)
    except Diverged as problem:
        console.print(Text(plain(f"after {total} calls: {problem}"), style="bold red"), soft_wrap=True)
        sys.exit(1)
    console.print(Text(plain(f"{file}: {total} calls, {same} ended as they did then")), soft_wrap=True)
    sys.exit(0 if total and same == total else 1)
