"""A run as JSON: the shape that other programs read."""

from __future__ import annotations

from typing import Any

from harness.results.record import BoardRecord, RunRecord, ScenarioResult
from harness.verdict.compare import Measurement


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
        "scenarios": [_scenario(scenario) for scenario in board.scenarios],
    }


def _scenario(scenario: ScenarioResult) -> dict[str, Any]:
    return {
        "suite": scenario.suite,
        "name": scenario.name,
        "outcome": scenario.outcome.value,
        "reason": scenario.reason,
        "seconds": round(scenario.seconds, 3),
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
        "verdict": m.verdict.value,
        "rule": m.rule,
        "samples": list(m.samples),
    }
