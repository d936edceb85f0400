"""Calibration: how long the work that the reference meters takes on this board, and what objects cost it."""

from __future__ import annotations

import pytest

from harness.judging.scenario import Scenario
from harness.runtimes.program import Program

pytestmark = pytest.mark.runtime("micropython", "circuitpython")


def test_micro_benchmarks(scenario: Scenario) -> None:
    """Fit the board's time to the reference's cost over the micro-benchmarks; show what is out of line."""
    calibration = scenario.calibration
    for point in calibration.points:
        scenario.compare_time(f"bench.{point.name}", point.measured_us, point.cost)


def test_allocations(scenario: Scenario) -> None:
    """Bytes that lists, dicts, instances, closures, long integers and generators take, by the heap rule."""
    scenario.compare(scenario.run(Program.load("allocations")), prefix="alloc.")
