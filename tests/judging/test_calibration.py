"""The fit finds a board's speed with a third of its benchmarks grossly out of line, and says which they are."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault
from harness.judging.calibration import Calibration, Point, fit


def benchmarks(scale: float, count: int, seed: int, noise: float, outliers: int) -> tuple[list[Point], set[str]]:
    """``count`` benchmarks of a board with ``scale``; ``outliers`` of them 3 to 50 times too slow or too quick."""
    chance = random.Random(seed)
    odd = set(chance.sample(range(count), outliers))
    points = []
    for index in range(count):
        cost = 10 ** chance.uniform(1, 5)
        wrong = 3 ** chance.uniform(1, 3.5) if index in odd else 1.0
        if chance.random() < 0.5:
            wrong = 1 / wrong
        points.append(Point(f"p{index}", cost * scale * wrong * chance.uniform(1 - noise, 1 + noise), cost))
    return points, {f"p{index}" for index in odd}


@given(st.floats(1e-4, 1e4), st.integers(10, 30), st.integers(0, 2**32), st.floats(0, 0.06), st.data())
def test_recovers_the_scale_with_30_percent_outliers(
    scale: float, count: int, seed: int, noise: float, data: st.DataObject
) -> None:
    outliers = data.draw(st.integers(0, count * 3 // 10))
    points, odd = benchmarks(scale, count, seed, noise, outliers)
    found = fit(points)
    assert found.scale == pytest.approx(scale, rel=noise + 1e-9)
    over = {p.name: p.measured_us / found.predict(p.cost) for p in found.points}  # 1 is in line
    assert {name for name, ratio in over.items() if abs(ratio - 1) * 100 > found.tolerance_percent} == odd
    assert all(over[name] == pytest.approx(1, abs=2 * noise + 0.01) for name in over.keys() - odd)


def test_prediction_and_tolerance() -> None:
    quiet = fit([Point(f"p{i}", 2.0 * i, float(i)) for i in range(1, 9)])
    assert quiet.predict(50) == pytest.approx(100)
    assert quiet.spread == pytest.approx(0, abs=1e-12)
    assert quiet.tolerance_percent == 25
    assert Calibration(1, 0.1, ()).tolerance_percent == pytest.approx(40)


def test_a_board_that_scatters_wildly_does_not_thereby_pass_everything() -> None:
    assert Calibration(1, 5.0, ()).tolerance_percent == 50


def test_points_without_a_time_do_not_count() -> None:
    good = [Point(f"p{i}", 3.0 * i, float(i)) for i in range(1, 6)]
    useless = [Point("zero", 0, 5), Point("negative", -3, 5), Point("free", 5, 0)]
    assert fit([*good, *useless]).points == tuple(good)
    with pytest.raises(BenchFault, match="4 usable benchmarks, expected at least 5"):
        fit([*good[:4], *useless])


@given(st.integers(0, 2**32))
def test_json_round_trip(seed: int) -> None:
    made = fit(benchmarks(0.3, 8, seed, 0.05, 1)[0])
    assert Calibration.from_json(made.to_json()) == made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"scale": "x", "spread": 1, "points": []}', '{"points": 3}'])
def test_a_broken_calibration_is_a_fault(text: str) -> None:
    with pytest.raises(BenchFault, match="no stored calibration"):
        Calibration.from_json(text)
