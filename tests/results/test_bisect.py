"""The search: few runs, odd figures decide nothing, images that cannot be tried are named."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.campaigns.image_bisect import State, Tried, bisect, most_runs
from harness.errors import BenchFault, UsageError
from harness.kinds import HEAP, TIME, Effect, Value


def heap() -> Effect:
    assert HEAP.history is not None
    return HEAP.history


def time() -> Effect:
    assert TIME.history is not None
    return TIME.history


@given(st.integers(2, 200), st.data())
def test_the_first_bad_image_is_found_in_logarithmically_many_runs(count: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(1, count - 1))
    runs: list[int] = []

    def measure(index: int) -> Value:
        runs.append(index)
        return 64 if index >= first else 48

    found = bisect(count, measure, heap, repeats=1)
    assert (found.last_good, found.first_bad, found.good, found.bad) == (first - 1, first, 48, 64)
    assert len(runs) <= most_runs(count, 1)


@pytest.mark.parametrize("seed", range(5))
def test_one_odd_figure_of_an_image_decides_nothing(seed: int) -> None:
    chance = random.Random(seed)
    odd: set[int] = set()

    def measure(index: int) -> Value:
        bad = index >= 11
        if index not in odd and chance.random() < 0.5:
            odd.add(index)  # each image is odd once at most
            bad = not bad
        return (130 if bad else 100) + chance.random()

    found = bisect(32, measure, time, repeats=3)
    assert found.first_bad == 11


def test_an_image_that_does_not_run_is_passed_over_and_named() -> None:
    def measure(index: int) -> Value:
        if index in (3, 4):
            raise BenchFault("it does not boot")
        return "new" if index >= 5 else "old"

    found = bisect(9, measure, Effect, repeats=3)
    assert (found.last_good, found.first_bad, list(found.between)) == (2, 5, [3, 4])
    assert {t.index: t.problem for t in found.tried if t.state is State.UNKNOWN} == dict.fromkeys(
        (3, 4), "it does not boot"
    )


def test_a_third_state_belongs_to_neither_side() -> None:
    found = bisect(4, lambda index: ["old", "other", "new", "new"][index], Effect, repeats=1)
    assert (found.last_good, found.first_bad) == (0, 2)


def test_ends_that_do_not_differ_are_told() -> None:
    with pytest.raises(UsageError, match="the first image gives 100 and the last one 101: nothing to search for"):
        bisect(5, lambda index: 100 + (index > 2), time, repeats=1)


def test_an_end_that_does_not_run_is_told() -> None:
    def measure(index: int) -> Value:
        if index == 4:
            raise BenchFault("no power")
        return 1

    with pytest.raises(BenchFault, match="image 5 could be measured 0 times of 3: no power"):
        bisect(5, measure, heap)


def test_an_end_at_odds_with_itself_is_told() -> None:
    last: list[Value | None] = [None, 48, 80]

    def measure(index: int) -> Value:
        value = last.pop() if index == 2 else 48
        if value is None:
            raise BenchFault("it did not boot once")
        return value

    with pytest.raises(UsageError, match=r"image 3 is at odds with itself: \[80, 48\]"):
        bisect(3, measure, heap, repeats=3)


@pytest.mark.parametrize(("count", "repeats"), [(1, 3), (2, 2), (2, 0)])
def test_what_cannot_be_searched_is_refused(count: int, repeats: int) -> None:
    with pytest.raises(UsageError):
        bisect(count, lambda index: index, heap, repeats=repeats)


def test_each_image_is_told_as_it_is_decided() -> None:
    seen: list[Tried] = []
    bisect(9, lambda index: 48 if index < 2 else 64, heap, repeats=1, watch=seen.append)
    assert [(t.index, t.state.value) for t in seen[:2]] == [(0, "good"), (8, "bad")]
    assert len({t.index for t in seen}) == len(seen)
