"""A run as JSON: the shape that other programs read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.paths import unwritable

if TYPE_CHECKING:
    from harness.judging.compare import Measurement
    from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult


def write_json(file: str, content: Any) -> None:
    """Write ``content`` to ``file`` (``-``: standard output). Raises UsageError when that cannot be done."""
    text = json.dumps(content, indent=2, ensure_ascii=True) + "\n"
    if file == "-":
        click.echo(text, nl=False)
        return
    try:
        Path(file).write_text(text, "utf-8")
    except OSError as problem:
        raise unwritable(file, problem) from None


def run_to_json(run: RunRecord) -> dict[str, Any]:
    return {
        "outcome": run.outcome.value,
        "exit_code": run.exit_code,
        "run": run.id,
        "started": run.started,
        "finished": run.finished or None,
        "boards": [_board(board) for board in run.boards],
    }


def _board(board: BoardRecord) -> dict[str, Any]:
    return {
        "id": board.id,
        "chip": board.chip,
        "firmware": {
            "name": board.firmware.name,
            "version": board.firmware.version,
            "sha256": board.firmware.sha256,
        },
        "outcome": board.outcome.value,
        "problem": board.problem,
        "facts": board.facts,
        "events": [dict(vars(event)) for event in board.events],
        "scenarios": [_scenario(scenario) for scenario in board.scenarios],
    }


def _scenario(scenario: ScenarioResult) -> dict[str, Any]:
    return {
        "suite": scenario.suite,
        "name": scenario.name,
        "outcome": scenario.outcome.value,
        "reason": scenario.reason,
        "seconds": round(scenario.seconds, 3),
        "transcript": scenario.transcript,
        "measurements": [_measurement(m) for m in scenario.measurements],
    }


def _measurement(m: Measurement) -> dict[str, Any]:
    return {
        "name": m.name,
        "kind": m.kind,
        "unit": m.unit,
        "measured": m.measured,
        "reference": m.reference,
        "limit": m.limit,
        "bounds": m.bounds.to_json() if m.bounds else None,
        "verdict": m.verdict.value,
        "rule": m.rule,
        "samples": list(m.samples),
        "reason": m.reason,
    }
