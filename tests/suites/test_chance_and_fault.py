"""What chance does to a figure, and what a line does to a program, is not the firmware's."""

from __future__ import annotations

from itertools import cycle
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault
from harness.runtimes.interface import RunResult
from suites.interrupt.test_line import _look_again
from suites.reload.test_soft_reset import lost_for_good

#: What emulated boards told, of firmware that loses nothing (a stale word's object is 48 to 192 bytes).
TOLD = (
    [136464, 136464, 136464, 136272, 136272, 136464, 136272, 136272, 136272, 136464],
    [135104, 135104, 135104, 135040, 135040, 135040, 135040, 135040, 135040, 135040],
    [136272, 136272, 136272, 136272, 136272, 136464, 136464, 136272, 136272, 136272],
    [135024, 135152, 135024, 135152, 135152, 135152, 135024, 135024, 135024, 135024],
)


@pytest.mark.parametrize("largest", TOLD)
def test_a_word_that_keeps_an_object_now_and_then_loses_nothing(largest: list[int]) -> None:
    assert lost_for_good(largest) <= 0


@given(st.lists(st.booleans(), min_size=10, max_size=10), st.sampled_from([0, 16, 48, 192]))
def test_what_each_start_loses_is_seen_through_the_noise(kept: list[bool], noise: int) -> None:
    """64 bytes a start are 320 over half of them, less what chance can take off."""
    largest = [100_000 - 64 * n - noise * now for n, now in enumerate(kept)]
    assert lost_for_good(largest) >= 320 - noise


def board(*said: bytes) -> Any:
    answers = cycle(said)
    return cast("Any", SimpleNamespace(board=SimpleNamespace(run=lambda _: RunResult(next(answers), b"", 0.0))))


def test_a_program_that_mostly_arrives_was_damaged_by_the_line() -> None:
    with pytest.raises(
        BenchFault, match=r"arrived damaged \(CRC-32 9 on the board, 7 of what was sent\), and then 2 times"
    ):
        _look_again(board(b"7\r\n", b"9\r\n", b"7\r\n"), "x" * 40, "7", "9")


def test_a_program_that_never_arrives_is_left_to_the_figure() -> None:
    _look_again(board(b"9\r\n"), "x" * 40, "7", "9")
    _look_again(board(b"9\r\n", b"8\r\n", b"7\r\n"), "x" * 40, "7", "9")
