"""Which class speaks to a board: one entry for each ``runtime`` of boards.yaml."""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import UsageError
from harness.inventory.model import Board
from harness.link.session import Session
from harness.runtimes.base import BoardRuntime, Hand
from harness.runtimes.micropython import MicroPythonBoard
from harness.runtimes.nodemcu import NodeMcuBoard

#: The runtimes that this version can speak to.
SPOKEN = ("micropython", "nodemcu")


def require_spoken(board: Board) -> None:
    """Raises UsageError for a board whose runtime this version cannot speak to."""
    if board.runtime not in SPOKEN:
        raise UsageError(
            f"{board.id}: runtime {board.runtime} is not supported by this version",
            hint="choose other boards with --boards",
        )


def runtime_of(
    board: Board,
    session: Session,
    *,
    reset: Callable[[], None] | None,
    hands: Callable[[Hand], None] | None,
) -> BoardRuntime:
    """The runtime of ``board`` on ``session``, which it owns from now on; nothing has been sent yet."""
    require_spoken(board)
    if board.runtime == "nodemcu":
        return NodeMcuBoard(session, reset=reset, hands=hands)
    return MicroPythonBoard(session, reset=reset, hands=hands, buffer=board.console.buffer)
