"""What a board's process tells the one that shows it: one JSON object a line.

| event | fields |
|---|---|
| ``planned`` | ``count`` of scenarios |
| ``step`` | ``text``, ``done`` and ``total`` (bytes or whatever the step counts; 0: unknown) |
| ``ready`` | ``firmware``, ``version``, ``written`` and ``unchanged`` in bytes, ``seconds`` |
| ``scenario`` | ``suite``, ``name``: it begins |
| ``result`` | ``suite``, ``name``, ``outcome``, ``reason`` |
| ``problem`` | ``text``: the board could not be made ready |
| ``handed_over`` | ``kind`` and ``text``: why what is left is not run on this board (a lab's night) |
| ``end`` | ``problem``, empty when there was none; sent by the watching process itself |
"""

from __future__ import annotations

import json
import os
from typing import Any

_LINE_LIMIT = 64 * 1024
#: Of one field, so that a line of a few stays below the limit even when each character is escaped.
_TEXT_LIMIT = 2_000


class Events:
    """Writes events of one board to a file descriptor; to nowhere when there is none."""

    def __init__(self, board: str, descriptor: int | None) -> None:
        self._board = board
        self._descriptor = descriptor
        #: The one that watched is gone: the run was killed, and this board's part of it should end.
        self.orphaned = False

    def send(self, event: str, **fields: Any) -> None:
        if self._descriptor is None:
            return
        short = {name: value[:_TEXT_LIMIT] if isinstance(value, str) else value for name, value in fields.items()}
        line = json.dumps({"event": event, "board": self._board, **short}) + "\n"
        try:
            os.write(self._descriptor, line.encode())
        except OSError:
            self._descriptor = None
            self.orphaned = True


def parse(line: bytes) -> dict[str, Any] | None:
    """One event; None for anything else (a crashing process may write what it likes)."""
    if len(line) > _LINE_LIMIT:
        return None
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("board"), str):
        return event
    return None
