"""Calibration: how long the work that the reference meters takes on this board."""

from __future__ import annotations

from harness.bench.scenario import Scenario


def test_micro_benchmarks(scenario: Scenario) -> None:
    """Fit the board's time to the reference's cost over the micro-benchmarks; show what is out of line."""
    calibration = scenario.calibration
    for point in calibration.points:
        scenario.compare_time(f"bench.{point.name}", point.measured_us, point.cost)
