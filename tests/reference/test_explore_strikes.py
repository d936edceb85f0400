"""What the exploration by contract needs beside a VM: names of points, the order of trying, the host's state."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chips import Reset, chip_named
from harness.errors import UsageError
from harness.reference.chip_board import Board
from harness.reference.engine.tree_vm import Moment
from harness.reference.explore.contract import _spread, strikes_of
from harness.reference.explore.host_state import keep
from harness.reference.explore.struck_life import Spot
from harness.runtimes.micropython.operations import ATOMIC, OPERATIONS, program_for_boards

SPOTS = st.builds(Spot, st.sampled_from(Moment), st.integers(0, 10**6))


@given(st.lists(SPOTS, min_size=1, max_size=2))
def test_a_point_is_read_as_it_is_written(spots: list[Spot]) -> None:
    assert strikes_of(",".join(map(str, spots))) == tuple(spots)


@pytest.mark.parametrize("text", ["x", "3,", "1,2,3", "-1", "c", "3 4"])
def test_what_is_no_point_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="names no point"):
        strikes_of(text)


@given(st.integers(0, 500), st.integers(0, 600))
def test_all_are_tried_or_a_part_that_is_spread(total: int, limit: int) -> None:
    tried = list(_spread(total, limit))
    assert len(set(tried)) == len(tried) == min(total, limit)
    assert all(0 <= n < total for n in tried)
    if limit >= 40 and total >= 200:
        assert max(tried) - min(tried) > total / 2, "no part that is only the beginning"


def test_the_boards_state_comes_back_into_the_same_objects() -> None:
    board = Board(chip_named("esp32").port_at(""))
    board.restart(Reset.POWER_ON)
    assert board.pins is not None
    fired: list[int] = []
    moment = board.timeline.at(1000, lambda: fired.append(1))
    pin = board.pins.pin(4)
    extra = {"queue": deque([1, 2]), "set": {1}, "bytes": bytearray(b"ab")}
    put_back = keep((board, extra))
    pin.mode, board.backup = 1, b"changed"
    board.timeline.run_due(5000)
    board.timeline.cancel(moment)
    board.clock.pass_for(77)
    extra["queue"].clear()  # type: ignore[attr-defined]
    extra["bytes"][:] = b"xyz"  # type: ignore[index]
    extra["new"] = set()
    put_back()
    assert (board.pins.pin(4) is pin, pin.mode, board.clock.now_ns) == (True, 0, 0)
    assert board.backup != b"changed"
    assert extra == {"queue": deque([1, 2]), "set": {1}, "bytes": bytearray(b"ab")}
    assert board.timeline.next_due == 1000
    board.timeline.run_due(1000)
    assert fired == [1, 1]


@pytest.mark.holds("events.table")
def test_the_suites_list_is_the_tables() -> None:
    assert len({operation.key for operation in OPERATIONS}) == len(OPERATIONS) > 40
    assert 20 < len(ATOMIC) < len(OPERATIONS)
    text = program_for_boards()
    for operation in OPERATIONS:
        compile(operation.explored, operation.key, "exec")
        assert (f"agent.state({operation.key!r}" in text) == operation.contract
    compile(text, "program", "exec")
