"""The second look at a failure, on a board that does not come back for it."""

from __future__ import annotations

from typing import cast

import pytest

from harness.errors import BenchFault, FirmwareFailure, PortBusy
from harness.judging.ready_board import DoubtfulBoard
from harness.judging.scenario import Scenario
from harness.judging.second_look import judged_again


class _Gone:
    """A board that hangs since a program, and cannot be reset."""

    def __init__(self, trouble: BenchFault) -> None:
        self.trouble, self.told = trouble, list[str]()

    def happened(self, _kind: str, text: str) -> None:
        self.told.append(text)

    def recover(self, _why: str, *, gentle: bool) -> str:
        raise self.trouble


def look(trouble: BenchFault) -> None:
    def never(_fresh: Scenario) -> None:
        raise AssertionError("it was run on a board that is not there")

    failure = FirmwareFailure("the program did not end within 60 s")
    judged_again(cast("DoubtfulBoard", _Gone(trouble)), cast("Scenario", None), failure, never)


def test_a_board_that_stays_away_is_an_error_that_says_what_came_before() -> None:
    with pytest.raises(
        BenchFault, match=r"did not end within 60 s.*stays away.*recovered. soft reset: no answer"
    ) as gone:
        look(BenchFault("the board could not be recovered. soft reset: no answer", hint="look at its power"))
    assert "reset it by hand" in str(gone.value) and "look at its power" not in str(gone.value)


def test_a_port_that_another_program_has_says_nothing_of_the_board() -> None:
    with pytest.raises(PortBusy, match="^/dev/ttyUSB0 is in use"):
        look(PortBusy("/dev/ttyUSB0 is in use"))
