"""A host that was busy meanwhile is no fault of the board's clock."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.judging.limits import Limit
from harness.judging.outcome import Outcome
from suites.deep_sleep import test_deep_sleep as suite

FIVE = 5 * 3600


@pytest.mark.parametrize(
    ("clock", "busy", "outcome"),
    [(1, 0.0, Outcome.PASS), (8, 0.0, Outcome.FAIL), (8, 9.0, Outcome.PASS), (30, 9.0, Outcome.FAIL)],
)
def test_the_boards_clock_goes_no_further_than_the_hosts(clock: int, busy: float, outcome: Outcome) -> None:
    taken: list[tuple[float, Limit]] = []

    def take(_figure: object, board: float, _reference: float, *, limit: Limit) -> None:
        taken.append((board, limit))

    scenario = cast("Any", SimpleNamespace(port=SimpleNamespace(family="esp32"), take=take))
    pair = cast("Any", SimpleNamespace(value=lambda _name: (FIVE + clock, FIVE + 1)))
    suite._clock(scenario, pair, "woken.500_ms", 0.5, time.monotonic() - busy)
    [(board, limit)] = taken
    assert limit.judge(board) is outcome
