"""Which class speaks to a board: one entry for each ``runtime`` of boards.yaml."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

from harness.errors import UsageError
from harness.inventory.model import Board
from harness.link.session import Session
from harness.runtimes.base import BoardRuntime, Hand
from harness.runtimes.circuitpython import CircuitPythonBoard
from harness.runtimes.micropython import MicroPythonBoard
from harness.runtimes.nodemcu import NodeMcuBoard

_CLASSES = {"micropython": MicroPythonBoard, "circuitpython": CircuitPythonBoard}
#: The runtimes that this version can speak to.
SPOKEN = (*_CLASSES, "nodemcu")


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
    nonces: random.Random | None = None,
) -> BoardRuntime:
    """The runtime of ``board`` on ``session``, which it owns from now on; nothing has been sent yet."""
    require_spoken(board)
    if board.runtime == "nodemcu":
        return NodeMcuBoard(session, reset=reset, hands=hands, nonces=nonces)
    made = _CLASSES[board.runtime]
    return made(session, reset=reset, hands=hands, buffer=board.console.buffer, nonces=nonces)


def replayed_runtime(kind: str, session: Session, begin: Mapping[str, Any], nonces: random.Random) -> BoardRuntime:
    """The runtime that a transcript begins with, on a session that replays it; nothing is reset and nobody has hands.

    Raises UsageError for a runtime that this version cannot speak to.
    """
    if kind not in SPOKEN:
        raise UsageError(f"the transcript is of runtime {kind[:40]!r}, which this version cannot speak to")
    reset = (lambda: None) if begin.get("can_reset") else None
    hands = (lambda _hand: None) if begin.get("has_hands") else None
    if kind == "nodemcu":
        return NodeMcuBoard(session, reset=reset, hands=hands, nonces=nonces)
    buffer = begin.get("buffer")
    return _CLASSES[kind](session, reset=reset, hands=hands, buffer=buffer, nonces=nonces)
