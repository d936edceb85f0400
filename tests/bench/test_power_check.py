"""Whether power drops is believed to the eyes alone: the device vanishes, or it does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.bench.finding import Finding
from harness.bench.power_check import check_power
from harness.errors import BenchFault
from harness.inventory.discover import Port
from harness.inventory.model import Board, Identity

PORT = Port("/dev/ttyUSB0", "0001", "1-1.2", "10c4:ea60", "CP2102")
BOARD = Board(id="b", chip="esp32", runtime="micropython", identity=Identity(usb_location="1-1.2"))


class World:
    """A switch and what it feeds; devices follow with a delay, in seconds of a clock that waiting moves."""

    name = "port 2 of hub 1-1"

    def __init__(self, *, goes: float | None = 0.3, comes: float | None = 1.0, fails: str = "") -> None:
        self.now = 0.0
        self.orders: list[str] = []
        self._goes, self._comes, self._fails = goes, comes, fails
        self._next: tuple[float, Callable[[], None]] | None = None
        self.plugged = True

    def _order(self, word: str, plugged: bool, delay: float | None) -> None:
        self.orders.append(word)
        if self._fails == word:
            raise BenchFault("the relay is silent", hint="wake it")
        self._next = None if delay is None else (self.now + delay, lambda: setattr(self, "plugged", plugged))

    def off(self) -> None:
        self._order("off", False, self._goes)

    def on(self) -> None:
        self._order("on", True, self._comes)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self._next is not None and self.now >= self._next[0]:
            self._next[1]()

    def check(self, board: Board = BOARD) -> Finding:
        def ports() -> list[Port]:
            return [PORT] if self.plugged else []

        return check_power(board, self, ports, clock=lambda: self.now, sleep=self.sleep)


def test_a_device_that_goes_and_comes_back_proves_the_switch() -> None:
    world = World()
    finding = world.check()
    assert (finding.severity, finding.what) == ("ok", "b: gone 0.3 s after off, back 1.0 s after on")
    assert world.orders == ["off", "on"]


def test_a_hub_that_only_says_off_is_found_out_and_left_on() -> None:
    world = World(goes=None)
    finding = world.check()
    assert finding.severity == "problem"
    assert "says off, and the board stays" in finding.what
    assert world.orders == ["off", "on"]
    assert world.now < 6


def test_a_board_that_does_not_come_back_is_a_problem() -> None:
    world = World(comes=None)
    finding = world.check()
    assert finding.severity == "problem"
    assert "did not come back within 15 s" in finding.what


@pytest.mark.parametrize("word", ["off", "on"])
def test_a_switch_that_fails_is_told_and_on_is_tried(word: str) -> None:
    world = World(fails=word)
    finding = world.check()
    assert (finding.severity, finding.fix) == ("problem", "wake it")
    assert world.orders == ["off", "on"]


def test_a_board_that_is_not_there_is_not_switched() -> None:
    world = World()
    world.plugged = False
    assert world.check().severity == "problem"
    assert world.orders == []


def test_a_remote_board_is_not_switched_for_nobody_would_see_it() -> None:
    world = World()
    remote = Board(id="r", chip="esp32", runtime="micropython", identity=Identity(url="rfc2217://pi:1"))
    assert world.check(remote).severity == "note"
    assert world.orders == []
