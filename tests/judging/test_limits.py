"""Limits say in words what they hold."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.inventory.model import Limit as BoardLimit
from harness.judging.limits import (
    Bounds,
    Limit,
    at_least,
    at_most,
    at_most_ratio,
    exactly,
    of_board,
    within_blocks,
    within_percent,
)
from harness.judging.outcome import Outcome
from harness.kinds import number

PASS, MARGINAL, FAIL = Outcome.PASS, Outcome.MARGINAL, Outcome.FAIL


@pytest.mark.parametrize(
    ("limit", "words", "verdicts"),
    [
        (exactly(48, "B"), "exactly 48 B", {48: PASS, 47.5: FAIL, 49: FAIL, "48": FAIL}),
        (exactly("ok"), "exactly ok", {"ok": PASS, "OK": FAIL, 1: FAIL}),
        (at_most(16, "B"), "at most 16 B", {16: PASS, -5: PASS, 17: FAIL, "16": FAIL}),
        (at_most(16, "B", margin=2), "at most 16 B", {14: PASS, 15: MARGINAL, 16: MARGINAL, 17: FAIL}),
        (at_least(3), "at least 3", {3: PASS, 2: FAIL}),
        (at_least(10, margin=1), "at least 10", {11: PASS, 10: MARGINAL, 9: FAIL}),
        (within_percent(200, 25, "us"), "within 25 % of 200 µs", {150: PASS, 250: PASS, 251: FAIL, 149: FAIL}),
        (
            within_percent(100, 25, "us", marginal_percent=50),
            "within 25 % of 100 µs, marginal to 50 %",
            {125: PASS, 126: MARGINAL, 150: MARGINAL, 151: FAIL, 75: PASS, 50: MARGINAL, 49: FAIL},
        ),
        (
            within_blocks(100, 2, why="names in ROM"),
            "within 2 blocks (32 B) of 100 B: names in ROM",
            {68: PASS, 132: PASS, 133: FAIL, 67: FAIL},
        ),
        (
            at_most_ratio(10, 5, "us", why="files"),
            "at most 5 times 10 µs: files",
            {0: PASS, 50: PASS, 50.1: FAIL},
        ),
    ],
)
def test_sentence_and_verdicts(limit: Limit, words: str, verdicts: dict[float | str, Outcome]) -> None:
    assert str(limit) == words
    assert {value: limit.judge(value) for value in verdicts} == verdicts


@given(st.floats(allow_nan=True, allow_infinity=True))
def test_what_is_no_number_never_passes(value: float) -> None:
    if not math.isfinite(value):
        for limit in (exactly(1), within_percent(10, 50), within_blocks(0, 4, why="")):
            assert limit.judge(value) is FAIL
    assert at_most(5).judge(math.nan) is FAIL
    assert at_least(5).judge(math.nan) is FAIL


@given(st.floats(-1e6, 1e6), st.floats(0, 100), st.floats(0, 100), st.floats(-1e6, 1e6))
def test_a_marginal_zone_never_turns_a_pass_into_a_fail(
    center: float, percent: float, marginal: float, value: float
) -> None:
    strict = within_percent(center, percent).judge(value)
    wide = within_percent(center, percent, marginal_percent=marginal).judge(value)
    assert wide is strict or (strict is FAIL and wide is MARGINAL)


def test_figures_as_people_write_them() -> None:
    written = [number(v) for v in (3, 3.0, 131.25, 12345.6, 0.001234, "text")]
    assert written == ["3", "3", "131.2", "12346", "0.001234", "text"]


# -- limits of boards.yaml -----------------------------------------------------------------------

BUILTIN = exactly(1)


def board(pattern: str = "*", **limit: object) -> dict[str, BoardLimit]:
    return {pattern: BoardLimit.model_validate(limit)}


def test_the_first_pattern_that_matches_counts() -> None:
    limits = {**board("reload.*", max=100), **board("*", max=1)}
    assert of_board("reload.leak", BUILTIN, 0, "B", limits).judge(50) is PASS
    assert of_board("other", BUILTIN, 0, "B", limits).judge(50) is FAIL
    assert of_board("other", BUILTIN, 0, "B", board("reload.*", max=5)) is BUILTIN


def test_board_limits_say_where_they_come_from() -> None:
    limit = of_board("x", BUILTIN, 200, "B", board(min=10, max=300, within_percent=10, why="WiFi buffers"))
    assert str(limit) == "at least 10 B and at most 300 B and within 10 % of 200 B, by boards.yaml (WiFi buffers)"
    assert [limit.judge(v) for v in (179, 180, 220, 221)] == [FAIL, PASS, PASS, FAIL]
    assert str(of_board("x", BUILTIN, 0, "B", board(equal=48))) == "exactly 48 B, by boards.yaml"
    assert of_board("x", BUILTIN, 0, "B", board(equal=48)).judge(47) is FAIL


def test_marginal_is_near_each_bound_by_itself() -> None:
    limit = of_board("x", BUILTIN, 0, "B", board(min=0, max=1000, marginal_percent=10))
    assert [limit.judge(v) for v in (-1, 0, 900, 901, 1000, 1001)] == [FAIL, PASS, PASS, MARGINAL, MARGINAL, FAIL]


def test_marginal_percent_alone_keeps_the_built_in_limit() -> None:
    limit = of_board("x", at_most(100, "B"), 0, "B", board(marginal_percent=10))
    assert [limit.judge(v) for v in (90, 95, 101)] == [PASS, MARGINAL, FAIL]
    assert str(limit) == "at most 100 B and marginal nearer than 10 % to that, by boards.yaml"
    assert of_board("x", BUILTIN, 0, "B", board(marginal_percent=10)) is BUILTIN


@pytest.mark.parametrize("reference", [None, "text"])
def test_a_relative_limit_without_a_figure_to_relate_to_passes_nothing(reference: str | None) -> None:
    with pytest.raises(UsageError, match="cannot be applied to 'x'"):
        of_board("x", BUILTIN, reference, "B", board(within_percent=10))


_SIDE = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
_VALUE = _SIDE | st.text(max_size=3)


@given(st.builds(Limit, st.just(""), _SIDE, _SIDE, _SIDE, _SIDE, st.none() | _VALUE), _VALUE)
def test_a_figure_is_judged_alike_by_a_limit_and_by_its_bounds_from_a_file(limit: Limit, value: float | str) -> None:
    kept = Bounds.from_json(json.loads(json.dumps(limit.bounds.to_json())))
    assert kept is not None
    assert all(side is None or math.isfinite(side) for side in (kept.low, kept.high, kept.good_low, kept.good_high))
    for one in (value, limit.low, limit.high, limit.good_low, limit.good_high):
        if not (isinstance(one, float) and math.isinf(one)):
            assert kept.judge(one) is limit.judge(one)


@pytest.mark.parametrize(
    "found", [{}, [], 1, "x", dict.fromkeys(vars(Bounds()), True), {**vars(Bounds()), "low": "1"}, {"low": 1}]
)
def test_what_are_no_bounds_is_told(found: object) -> None:
    with pytest.raises(ValueError, match="bound"):
        Bounds.from_json(found)
