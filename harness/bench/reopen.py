"""A board's port, opened again after it went: by what the board is, never by the name that it had."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.errors import BenchFault
from harness.inventory.discover import find_port
from harness.inventory.model import Board
from harness.link.ports import OpenPort, open_port

#: Seconds between two looks at what is plugged in; not every system tells when that changes.
_INTERVAL = 0.1


class Reopen:
    """Opens the port that ``board`` has at this moment.

    Calling it is one attempt, which is what :class:`harness.link.session.Session` asks for; :meth:`wait` goes on
    until the board is back. ``clock`` and ``sleep`` are in seconds.
    """

    def __init__(
        self,
        board: Board,
        *,
        opener: Callable[[str], OpenPort] | None = None,
        find: Callable[[Board], str] = find_port,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._board = board
        self._opener = opener or self._open
        self._find = find
        self._clock = clock
        self._sleep = sleep
        #: The name that the port had when it was last opened.
        self.address = ""

    def __call__(self) -> OpenPort:
        """Raises BenchFault when the board is not there, or its name went to another one while it was opened."""
        address = self._find(self._board)
        port = self._opener(address)
        try:
            still = self._find(self._board)
            if still != address:
                raise BenchFault(f"{self._board.id}: its port changed from {address} to {still} while it was opened")
        except BenchFault:
            port.close()
            raise
        self.address = address
        return port

    def wait(self, within: float) -> OpenPort:
        """Try until it succeeds. Raises BenchFault with the last reason after ``within`` seconds."""
        end = self._clock() + within
        while True:
            try:
                return self()
            except BenchFault as problem:
                if self._clock() >= end:
                    raise BenchFault(
                        f"{self._board.id}: did not come back within {within:g} s: {problem.message}",
                        hint=problem.hint or "does it wake up, and has it power?",
                    ) from None
            self._sleep(_INTERVAL)

    def _open(self, address: str) -> OpenPort:
        console = self._board.console
        return open_port(address, baud=console.baud, dtr=console.dtr, rts=console.rts)
