"""A board's port, opened wherever it is now: by what the board is, never by the name that it had."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from harness.errors import BenchFault, FinalFault, PortBusy
from harness.inventory.model import Board
from harness.link.coming_back import until_there
from harness.link.deadline import Deadline
from harness.link.ports import OpenPort, open_port


class Closable(Protocol):
    def close(self) -> None: ...


#: Seconds between two looks at a port that another program has.
_BUSY_INTERVAL = 0.2

AnyPort = TypeVar("AnyPort", bound=Closable)


def console_opener(board: Board) -> Callable[[str], OpenPort]:
    """Opens a port by its name as ``board``'s console has it: rate, and the lines' idle levels."""
    console = board.console
    return lambda address: open_port(address, baud=console.baud, dtr=console.dtr, rts=console.rts)


class BoardPort(Generic[AnyPort]):
    """Opens the port that ``board`` has at this moment, which ``find`` tells by its name."""

    def __init__(
        self,
        board: Board,
        find: Callable[[], str],
        opener: Callable[[str], AnyPort],
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._board = board
        self._find = find
        self._opener = opener
        self._sleep = sleep
        #: The name that the port had when it was last opened.
        self.address = ""

    def open(self) -> AnyPort:
        """One attempt. Raises BenchFault when the board is not there, or its name went to another one meanwhile."""
        address = self._find()
        port = self._opener(address)
        try:
            still = self._find()
            if still != address:
                raise BenchFault(f"{self._board.id}: its port changed from {address} to {still} while it was opened")
        except BenchFault:
            port.close()
            raise
        self.address = address
        return port

    def when_free(self, within: float, busy: Deadline, waiting: Callable[[str], None]) -> AnyPort:
        """As :meth:`wait`, or :meth:`open` without ``within``; a port that another program has is waited for until
        ``busy``, and ``waiting`` hears of it. Raises PortBusy then."""
        told = False

        def attempt() -> AnyPort:
            nonlocal told
            try:
                return self.wait(within) if within else self.open()
            except PortBusy as problem:
                if not told:
                    waiting(problem.message)
                told = True
                raise

        while True:
            try:
                return attempt()
            except PortBusy as problem:
                if busy.passed:
                    raise PortBusy(
                        f"{self._board.id}: {problem.message}; waited {busy.seconds:g} s for it", hint=problem.hint
                    ) from None
            self._sleep(_BUSY_INTERVAL)

    def wait(self, within: float) -> AnyPort:
        """Try until it succeeds. Raises BenchFault with the last reason after ``within`` seconds."""
        try:
            return until_there(self.open, Deadline(within), sleep=self._sleep)
        except FinalFault:
            raise
        except BenchFault as problem:
            raise BenchFault(
                f"{self._board.id}: did not come back within {within:g} s: {problem.message}",
                hint=problem.hint or "does it wake up, and has it power?",
            ) from None
