"""Limits as one writes them down."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.judging.figures import figure
from harness.judging.limit_words import limit_in_words
from harness.judging.outcome import Outcome


@pytest.mark.parametrize(
    ("words", "unit", "good", "bad"),
    [
        ("at most 2000 B", "B", 2000, 2001),
        ("at most 2 kB", "B", 2000, 2001),
        ("at least 10 ms", "us", 10_000, 9_999),
        ("exactly 3", "1", 3, 4),
        ("200 to 250 us", "us", 250, 251),
        ("0.5 to 1.5", "1", 0.5, 0.49),
        ("at most 1 s", "ms", 1000, 1000.5),
        ("  at   most 5 ", "1", 5, 6),
    ],
)
def test_words_judge(words: str, unit: str, good: float, bad: float) -> None:
    limit = limit_in_words(words, unit)
    assert limit.judge(good) is Outcome.PASS
    assert limit.judge(bad) is Outcome.FAIL
    assert str(limit) == words


@pytest.mark.parametrize(
    "words", ["", "small", "at most", "at most nan B", "at most inf", "at most 3 ms", "9 to 3 B", "< 3 B"]
)
def test_what_is_not_understood_is_refused(words: str) -> None:
    with pytest.raises(UsageError, match="limit"):
        limit_in_words(words, "B")


@given(st.integers(0, 10**9), st.sampled_from(["us", "ms", "s"]), st.sampled_from(["us", "ms", "s"]))
def test_another_unit_is_converted(value: int, written: str, unit: str) -> None:
    seconds = {"us": 1, "ms": 1_000, "s": 1_000_000}
    micro = value * seconds[written]
    limit = limit_in_words(f"at most {value} {written}", unit)
    assert limit.judge(micro / seconds[unit]) is Outcome.PASS
    assert limit.judge((micro + 1) / seconds[unit] * (1 + 1e-6)) is Outcome.FAIL


@given(st.text(max_size=40))
def test_any_text_is_a_limit_or_is_refused(words: str) -> None:
    try:
        limit_in_words(words, "B")
    except UsageError as problem:
        assert problem.message.isprintable()


def test_a_figure_in_one_line() -> None:
    heap = figure("mine.heap", "heap", "at most 2000 B")
    assert (heap.kind.name, heap.unit, heap.limit and heap.limit.high) == ("heap", "B", 2000)
    assert figure("mine.time", "time", "at most 1 ms").limit == limit_in_words("at most 1 ms", "us")
    assert figure("mine.free", "heap_free").limit is None
    with pytest.raises(UsageError, match="heap"):
        figure("mine.heap", "heep", "at most 1 B")
