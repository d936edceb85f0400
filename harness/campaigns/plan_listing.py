"""``harness run --list``: what would run on which board, and why the rest would not."""

from __future__ import annotations

import dataclasses

from harness.campaigns.bench_run import RunRequest, planned
from harness.results.report.json_report import write_json


def list_plan(request: RunRequest, json_file: str) -> None:
    """Print the plan of ``request``. Raises UsageError for suites that cannot be run, and for no scenario at all."""
    from harness.shown import say

    found = planned(request)
    to_stderr = json_file == "-"
    for board in request.boards:
        places = found.boards.get(board.id, [])
        run = [place for place in places if not place.lacks]
        say(f"\n{board.id} ({board.chip}, {board.runtime}): {len(run)} to run", stderr=to_stderr)
        for place in run:
            say(f"  {place.printed}", stderr=to_stderr)
        for place in places:
            if place.lacks:
                lacks = ", ".join(place.lacks)
                say(f"  skipped: {place.printed}: no {lacks} (capabilities in boards.yaml)", stderr=to_stderr)
        if other := found.other_runtime.get(board.id):
            say(f"  not asked: {other} for another runtime", stderr=to_stderr)
        if unselected := found.unselected.get(board.id):
            say(f"  not selected: {unselected}", stderr=to_stderr)
    if json_file:
        boards = {
            board: [dataclasses.asdict(place) | {"would": "skip" if place.lacks else "run"} for place in places]
            for board, places in found.boards.items()
        }
        write_json(json_file, {"boards": boards, "other_runtime": found.other_runtime, "unselected": found.unselected})
