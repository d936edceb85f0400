"""After a reset: how long a board whose own program gives no prompt is listened to before it is interrupted."""

import itertools
from collections.abc import Iterator

import pytest

from harness.link.session import Session
from harness.runtimes.micropython.micropython_board import MicroPythonBoard


class Asked(Exception):
    """The client has sent something."""


class StartingBoard:
    """A port that gives one of ``pieces`` at a time, and silence after the last; whoever writes is done."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = b""
        self.given = bytearray()
        self.timeout: float | None = None
        #: Seconds for which it was waited in vain.
        self.waited: list[float] = []

    @property
    def in_waiting(self) -> int:
        return len(self._piece)

    def read(self, size: int = 1) -> bytes:
        self._piece = self._piece or next(self._pieces, b"")
        if not self._piece:
            self.waited.append(self.timeout or 0.0)
        data, self._piece = self._piece[:size], self._piece[size:]
        self.given += data
        return data

    def write(self, data: bytes) -> int:
        raise Asked

    def close(self) -> None: ...


def heard_before_it_was_asked(*pieces: bytes, for_ever: bytes = b"") -> StartingBoard:
    board = StartingBoard(itertools.chain(pieces, itertools.repeat(for_ever) if for_ever else ()))
    with pytest.raises(Asked):
        MicroPythonBoard(Session(board), reset=lambda: None).enter(after_reset=True)
    return board


def test_a_program_that_prints_for_ever_is_known_by_more_than_a_start_prints() -> None:
    board = heard_before_it_was_asked(b"ets Jul 29 2019 12:21:46\r\n", for_ever=b"x" * 60 + b"\r\n")
    assert len(board.given) < 20_000


def test_all_that_a_long_start_prints_is_heard_out() -> None:
    board = heard_before_it_was_asked(*[b"I (23) boot: a line of the boot loader\r\n"] * 100, b"\r\n>>> ")
    assert board.given.endswith(b">>> ")
    assert board.waited == []


def test_a_program_that_restarts_the_vm_again_and_again_is_met_in_its_next_round() -> None:
    again = b"MPY: soft reboot\r\n"
    board = heard_before_it_was_asked(again, again)
    assert len(board.waited) == 1 and board.waited[0] <= 0.1


def test_the_one_restart_that_we_asked_for_ourselves_is_waited_for_as_any_start() -> None:
    board = heard_before_it_was_asked(b"MPY: soft reboot\r\n")
    assert len(board.waited) == 1 and board.waited[0] > 1.0
