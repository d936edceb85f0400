"""Profiles: the fit finds what was planted; what they predict of firmware that was measured; what a slow one shows.

``emulated_times.json`` holds what ``python -m tests.emulated --profiles`` measured of the calibration's operations on
the emulated boards. No profile was fitted on any of these.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.judging.calibration import Calibration, Point, best_fit, fit, misfit
from harness.judging.outcome import Outcome
from harness.judging.profiles import (
    PLAIN,
    PROFILES,
    Timed,
    fit_weights,
    kinds_table,
    least_squares,
    left_out,
    profile_named,
    residuals,
)
from harness.reference.engine.counted_build import Work

TIMES = [
    Timed(**{**one, "work": tuple(one["work"])})
    for one in json.loads((Path(__file__).parent / "emulated_times.json").read_text())
]
BOARDS = sorted({one.board for one in TIMES})
OPERATIONS = sorted({one.name for one in TIMES})
#: Floats are no objects in that representation: the suite only tells what they take (suites/calibration).
TOLD_ONLY = ("m3-repr-c", "floats")


def of_board(board: str, *, slow: str = "", factor: float = 1.0) -> list[Timed]:
    return [
        Timed(one.board, one.name, one.measured_us * (factor if one.name == slow else 1.0), one.cost, one.work)
        for one in TIMES
        if one.board == board
    ]


def calibrated(timed: list[Timed]) -> Calibration:
    points = [Point(one.name, one.measured_us, one.cost) for one in timed]
    return best_fit(points, {one.name: one.work for one in timed})


def verdicts(calibration: Calibration) -> dict[str, Outcome]:
    """Each operation by the others, as the calibration suite judges it."""
    return {p.name: calibration.without(p.name).limit(p.cost).judge(p.measured_us) for p in calibration.points}


def judged(board: str, calibration: Calibration) -> dict[str, Outcome]:
    return {name: verdict for name, verdict in verdicts(calibration).items() if (board, name) != TOLD_ONLY}


def test_there_are_measurements_of_each_instruction_set() -> None:
    assert {board.split("-")[0] for board in BOARDS} == {"m0", "m3", "rv32"}
    assert len(OPERATIONS) == 17


@pytest.mark.parametrize("board", BOARDS)
def test_fifteen_of_seventeen_are_within_15_percent_and_all_within_25(board: str) -> None:
    """By the weights alone, which were fitted on other operations; what is known of these is left out."""
    profile = profile_named(calibrated(of_board(board)).profile)
    off = [abs(ratio - 1) for ratio in residuals(of_board(board), profile.weights).values()]
    assert sum(one <= 0.15 for one in off) >= 15
    assert max(off) < 0.25


@pytest.mark.parametrize("board", BOARDS)
def test_healthy_firmware_does_not_fail(board: str) -> None:
    assert set(judged(board, calibrated(of_board(board))).values()) == {Outcome.PASS}


@pytest.mark.parametrize("board", BOARDS)
def test_a_list_that_grows_a_third_slower_fails(board: str) -> None:
    healthy = calibrated(of_board(board))
    slow = calibrated(of_board(board, slow="appends", factor=4 / 3))
    assert slow.profile == healthy.profile
    assert verdicts(slow)["appends"] is Outcome.FAIL
    others = {name: verdict for name, verdict in judged(board, slow).items() if name != "appends"}
    assert set(others.values()) == {Outcome.PASS}


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("slow", OPERATIONS)
def test_one_slow_operation_does_not_widen_its_own_limit(board: str, slow: str) -> None:
    """Whatever it is, and however slow, its limit stays what the others make it; of twice its time all fail."""
    doubled, endless = (calibrated(of_board(board, slow=slow, factor=factor)) for factor in (2.0, 50.0))
    assert doubled.without(slow).limit(100.0) == endless.without(slow).limit(100.0)
    assert (board, slow) == TOLD_ONLY or verdicts(doubled)[slow] is Outcome.FAIL


def test_a_board_whose_times_scatter_is_not_let_through() -> None:
    """The limits have a floor and a ceiling."""
    quiet, wild = Calibration(1.0, 0.001, ()), Calibration(1.0, 3.0, ())
    bounds = quiet.limit(100.0).bounds, wild.limit(100.0).bounds
    assert [(b.low, b.good_low, b.good_high, b.high) for b in bounds] == [
        pytest.approx((75, 85, 115, 125)),
        pytest.approx((50, 70, 130, 150)),
    ]


def test_each_profile_fits_its_own_boards_best() -> None:
    for profile in PROFILES[:3]:
        board = {"thumb-m0": "m0-clock", "thumb-m3": "m3-timers", "rv32": "rv32-root"}[profile.name]
        assert calibrated(of_board(board)).profile == profile.name


def test_where_nothing_is_counted_each_instruction_counts_alike() -> None:
    points = [Point(f"p{i}", 2.0 * i, float(i)) for i in range(1, 9)]
    found = best_fit(points, {})
    assert (found.profile, found.weights) == ("plain", ())
    assert found.plain is found
    assert found == fit(points)


def test_a_weighed_calibration_keeps_its_plain_line() -> None:
    found = calibrated(of_board("m3-timers"))
    assert found.weights == profile_named("thumb-m3").weights
    by_plain = fit([Point(one.name, one.measured_us, one.cost) for one in of_board("m3-timers")])
    assert (found.plain.scale, found.plain.spread) == (by_plain.scale, by_plain.spread)
    assert Calibration.from_json(found.to_json()) == found
    assert profile_named("of another package") is PLAIN


def test_one_wild_operation_counts_no_more_than_a_quarter() -> None:
    assert misfit([1.0, 1.0, 1.0, 1000.0]) == pytest.approx(0.25 / 4)


# -- the fit -----------------------------------------------------------------------------------------


def planted(weights: list[float], seed: int, noise: float) -> list[Timed]:
    chance = random.Random(seed)
    result = []
    for number in range(6 * len(weights)):
        work = tuple(float(chance.randrange(1000)) * (chance.random() < 0.6) + 1 for _ in weights)
        took = sum(w * count for w, count in zip(weights, work, strict=True)) * chance.uniform(1 - noise, 1 + noise)
        result.append(Timed("b", f"o{number}", took, sum(work), work))
    return result


@given(st.lists(st.floats(0.1, 30), min_size=2, max_size=6), st.integers(0, 2**32), st.floats(0.001, 100))
def test_planted_weights_are_found_whatever_the_clock(weights: list[float], seed: int, clock: float) -> None:
    timed = planted([clock * weight for weight in weights], seed, 0.0)
    found = fit_weights(timed)
    shape = [weight / found[0] for weight in found]
    assert shape == pytest.approx([weight / weights[0] for weight in weights], rel=0.02)
    assert all(ratio == pytest.approx(1, abs=0.01) for ratio in residuals(timed, found).values())


@given(st.integers(0, 2**32))
def test_no_weight_is_negative(seed: int) -> None:
    chance = random.Random(seed)
    rows = [[chance.uniform(0, 2) for _ in range(4)] for _ in range(12)]
    found = least_squares(rows)
    assert min(found) >= 0
    before = sum((1 - sum(a * b for a, b in zip(row, found, strict=True))) ** 2 for row in rows)
    for axis in range(4):  # none is better by a little more or less
        for step in (-0.01, 0.01):
            moved = [max(0.0, x + step * (n == axis)) for n, x in enumerate(found)]
            after = sum((1 - sum(a * b for a, b in zip(row, moved, strict=True))) ** 2 for row in rows)
            assert after >= before - 1e-6


def test_a_kind_that_nothing_does_has_no_weight() -> None:
    assert least_squares([[1.0, 0.0], [2.0, 0.0]])[1] == 0


def test_an_operation_that_is_left_out_has_not_been_seen() -> None:
    """The one operation that does some kind of work is predicted without that kind, and shown to be far off."""
    timed = [Timed("b", f"o{n}", 10.0 * n, 5.0 * n, (5.0 * n, 0.0)) for n in range(1, 9)]
    odd = Timed("b", "odd", 100.0, 6.0, (5.0, 1.0))
    assert left_out([*timed, odd], [*timed, odd])["odd"] == pytest.approx(10, rel=0.01)
    assert residuals([*timed, odd], fit_weights([*timed, odd]))["odd"] == pytest.approx(1, rel=0.01)


def test_the_table_names_each_kind() -> None:
    table = kinds_table(PROFILES)
    assert all(f"| {kind.name.lower()} |" in table for kind in Work)
    assert all(len(profile.weights) == len(Work) for profile in PROFILES)
