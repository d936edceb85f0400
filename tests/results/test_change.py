"""Steps and noise: what is told, when, and what is not. The rates are measured in benchmarks/history.py."""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import kinds
from harness.kinds import Effect, Value
from harness.results.change import Point, Verdict, baseline_of, find_steps
from harness.results.series import standard_error

EFFECTS = {name: kind.history for name, kind in kinds.BUILT_IN.items() if kind.history}
HEAP, TIME, STATE = EFFECTS["heap"], EFFECTS["time"], EFFECTS["state"]


def judged(values: Sequence[Value], effect: Effect = HEAP) -> Verdict:
    return find_steps([Point(value) for value in values], effect)


def noisy(count: int, *, seed: int = 1, middle: float = 1000.0, sigma: float = 10.0) -> list[Value]:
    chance = random.Random(seed)
    return [chance.gauss(middle, sigma) for _ in range(count)]


def test_one_block_of_heap_is_a_step_once_two_runs_have_it() -> None:
    (step,) = judged([784] * 20 + [800] * 2).steps
    assert (step.first, step.told, step.before, step.after, step.confirmed) == (20, 21, 784, 800, True)


def test_a_change_in_the_newest_run_alone_is_told_as_not_confirmed() -> None:
    verdict = judged([784] * 20 + [800])
    (step,) = verdict.steps
    assert (step.first, step.confirmed) == (20, False)
    assert verdict.baseline is not None
    assert verdict.baseline.middle == 784


def test_a_single_run_that_goes_back_is_no_step() -> None:
    assert judged([784] * 20 + [800] + [784] * 10).steps == ()


def test_steps_follow_one_another_also_back() -> None:
    steps = judged([784] * 9 + [800] * 3 + [784] * 9).steps
    assert [(s.first, s.before, s.after) for s in steps] == [(9, 784, 800), (12, 800, 784)]


def test_a_figure_with_blips_needs_longer_to_be_believed_and_its_step_is_dated_back() -> None:
    blips: list[Value] = [784, 784, 784, 800, 784, 784, 784, 784, 784, 784] * 4
    assert judged([*blips, 800, 800, 784, 784]).steps == ()
    (step,) = judged([*blips, 800, 784 + 64, *[800] * 6]).steps
    assert step.first == 40


@given(st.integers(2, 40), st.integers(2, 40), st.integers(-5, 5).filter(bool))
def test_any_lasting_change_of_an_exact_figure_is_found_at_its_first_run(before: int, after: int, blocks: int) -> None:
    steps = judged([784] * before + [784 + 16 * blocks] * after).steps
    assert [(s.first, s.told) for s in steps] == [(before, before + 1)]


def test_states_have_steps_too() -> None:
    (step,) = judged(["101"] * 5 + ["True"] * 3, STATE).steps
    assert (step.first, step.before, step.after) == (5, "101", "True")


def test_states_that_come_and_go_are_no_steps_until_one_stays() -> None:
    assert judged(["a", "b", "c", "a", "c", "b"], STATE).steps == ()


@pytest.mark.parametrize("seed", range(4))
def test_noise_has_no_steps(seed: int) -> None:
    assert judged(noisy(365, seed=seed), TIME).steps == ()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_of_five_sigma_is_told_within_a_week_and_its_first_run_named(seed: int, sign: int) -> None:
    values = noisy(60, seed=seed) + noisy(30, seed=seed + 100, middle=1000.0 + sign * 50)
    (step,) = judged(values, TIME).steps
    assert step.first == 60
    assert 60 < step.told < 67
    assert isinstance(step.before, float)
    assert abs(step.before - 1000) < 10


def test_a_change_below_the_minimum_effect_is_not_told_however_certain() -> None:
    quiet = noisy(60, sigma=0.1) + noisy(60, sigma=0.1, middle=1010.0)
    assert judged(quiet, TIME).steps == ()
    assert len(judged(noisy(60, sigma=0.1) + noisy(60, sigma=0.1, middle=1030.0), TIME).steps) == 1


def test_a_single_outlier_is_no_step_however_far_out() -> None:
    values = noisy(80)
    values[50] = 1e9
    assert judged(values, TIME).steps == ()


def test_a_time_that_stood_still_is_not_exact() -> None:
    assert judged([100] * 30 + [101] * 30, TIME).steps == ()


def test_too_few_runs_have_no_baseline() -> None:
    assert judged(noisy(9), TIME).baseline is None
    assert baseline_of([Point(1)], HEAP) is None
    assert judged([], HEAP).steps == ()


def test_the_baseline_is_that_of_after_the_last_step() -> None:
    baseline = judged([784] * 20 + [800] * 5).baseline
    assert baseline is not None
    assert (baseline.middle, baseline.runs, baseline.exact) == (800, 5, True)


def test_scatter_within_the_runs_counts_as_noise() -> None:
    calm = [Point(1000 + index % 2) for index in range(30)]
    wild = [Point(p.value, spread=40.0) for p in calm]
    assert find_steps([*calm, *[Point(1060)] * 5], TIME).steps
    assert not find_steps([*wild, *[Point(1060, spread=40.0)] * 5], TIME).steps


@settings(deadline=None)
@given(st.lists(st.sampled_from([1, 2, 784, 1e300, -5.5]), max_size=60), st.sampled_from(["heap", "time", "count"]))
def test_steps_are_in_order_and_each_is_told_after_it_began(values: list[Value], kind: str) -> None:
    steps = find_steps([Point(v) for v in values], EFFECTS[kind]).steps
    assert all(0 < s.first <= s.told < len(values) for s in steps)
    assert [s.first for s in steps] == sorted({s.first for s in steps})


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from([100, 116, 132]), min_size=1, max_size=40), st.integers(1, 40))
def test_what_has_been_told_is_not_taken_back_by_later_runs(values: list[Value], cut: int) -> None:
    early = [s for s in judged(values[:cut]).steps if s.confirmed]
    assert list(judged(values).steps[: len(early)]) == early


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=30))
def test_the_standard_error_in_floats_is_the_exact_one(samples: list[float]) -> None:
    exact = statistics.stdev(samples) / len(samples) ** 0.5
    assert standard_error(samples) == pytest.approx(exact, rel=1e-9, abs=1e-9 * max(map(abs, samples)))
