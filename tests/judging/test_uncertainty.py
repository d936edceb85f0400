"""What the bench itself adds to a figure is measured, and hides nothing on one that is quiet."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.judging.limits import between, exactly
from harness.judging.line_jitter import line_jitter
from harness.judging.outcome import Outcome

SUITE = Path(__file__).parents[2] / "suites" / "deep_sleep" / "test_deep_sleep.py"


def suite() -> Any:
    spec = importlib.util.spec_from_file_location("deep_sleep_suite", SUITE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_widened_limit_says_by_what() -> None:
    limit = between(0.99, 1.01, words="within 1 % of 1").widened(0.02, "by which sleeps differed")
    assert [limit.judge(value) for value in (1.029, 0.971, 1.031)] == [Outcome.PASS, Outcome.PASS, Outcome.FAIL]
    assert str(limit) == "within 1 % of 1, ± 0.02 by which sleeps differed"
    assert exactly(3).widened(1.0, "").judge(4) is Outcome.FAIL


def judged(silent: Callable[[int, int], float]) -> tuple[Outcome, int]:
    """What the clock's scale comes to where the ``n``-th sleep of ``ms`` is silent for so many seconds."""
    limit, taken = between(0.99, 1.01), [0]

    def measure(ms: int) -> tuple[float, float]:
        taken[0] += 1
        return silent(taken[0], ms), ms / 1000

    scenario = SimpleNamespace(would_pass=lambda _figure, value, limit: limit.judge(value) is Outcome.PASS)
    scale, reference, spread = suite().two_durations(scenario, measure, 300, 2300, limit)
    assert reference == pytest.approx(1.0)
    return limit.widened(spread, "").judge(scale), taken[0]


def test_a_clock_that_is_wrong_fails_on_a_quiet_host() -> None:
    assert judged(lambda _n, ms: 0.05 + ms / 1000 * 1.012)[0] is Outcome.FAIL
    assert judged(lambda _n, ms: 0.05 + ms / 1000) == (Outcome.PASS, 2)  # and a right one is asked no more than needed


def test_a_host_that_was_late_once_is_not_held_against_the_clock() -> None:
    assert judged(lambda n, ms: 0.05 + ms / 1000 + (0.04 if n == 2 else 0))[0] is Outcome.PASS


def test_a_host_that_is_late_all_the_time_knows_how_much() -> None:
    late = [0.0, 0.04, 0.01, 0.05, 0.02, 0.03, 0.01, 0.06, 0.02]
    assert judged(lambda n, ms: 0.05 + ms / 1000 + late[n])[0] is Outcome.PASS


class Line:
    """Answers after the delays it is given, one for each question."""

    def __init__(self, *delays: float) -> None:
        self.delays = list(delays)

    def round_trip(self) -> None:
        time.sleep(self.delays.pop(0))


def test_the_jitter_of_a_line_is_what_its_round_trips_differ_by() -> None:
    uneven, even = line_jitter(Line(0.0, 0.02, 0.0), trips=3), line_jitter(Line(0.0, 0.0, 0.0), trips=3)  # type: ignore[arg-type]
    assert uneven >= 0.018
    assert even < uneven
