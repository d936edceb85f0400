"""Calibration: how long the work that the reference meters takes on this board, and what objects cost it."""

from __future__ import annotations

import pytest

from harness.judging.figures import Figure
from harness.judging.scenario import Scenario
from harness.kinds import TIME
from harness.runtimes.program import Program

BENCHMARK = Figure("bench.{name}", TIME, "us")

pytestmark = pytest.mark.runtime("micropython", "circuitpython")


def test_micro_benchmarks(scenario: Scenario) -> None:
    """Fit the board's time to the reference's cost over the micro-benchmarks; show what is out of line."""
    calibration = scenario.calibration
    for point in calibration.points:
        measured = round(point.measured_us)
        scenario.take(BENCHMARK.of(point.name), measured, point.cost, samples=[measured])


def test_allocations(scenario: Scenario) -> None:
    """Bytes that lists, dicts, instances, closures, long integers and generators take, by the heap rule."""
    scenario.compare(scenario.run(Program.load("allocations")), prefix="alloc.")
