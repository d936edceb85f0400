"""``harness run --list``: what would run on which board, and why the rest would not."""

from __future__ import annotations

import dataclasses

import click

from harness.campaigns.bench_run import RunRequest, planned
from harness.results.report.json_report import write_json


def list_plan(request: RunRequest, json_file: str) -> None:
    """Print the plan of ``request``. Raises UsageError for suites that cannot be run, and for no scenario at all."""
    found = planned(request)
    to_stderr = json_file == "-"
    for board in request.boards:
        places = found.boards.get(board.id, [])
        run = [place for place in places if not place.lacks]
        click.echo(f"\n{board.id} ({board.chip}, {board.runtime}): {len(run)} to run", err=to_stderr)
        for place in run:
            click.echo(f"  {place.printed}", err=to_stderr)
        for place in places:
            if place.lacks:
                lacks = ", ".join(place.lacks)
                click.echo(f"  skipped: {place.printed}: no {lacks} (capabilities in boards.yaml)", err=to_stderr)
        if other := found.other_runtime.get(board.id):
            click.echo(f"  not asked: {other} for another runtime", err=to_stderr)
        if unselected := found.unselected.get(board.id):
            click.echo(f"  not selected: {unselected}", err=to_stderr)
    if json_file:
        boards = {
            board: [dataclasses.asdict(place) | {"would": "skip" if place.lacks else "run"} for place in places]
            for board, places in found.boards.items()
        }
        write_json(json_file, {"boards": boards, "other_runtime": found.other_runtime, "unselected": found.unselected})
