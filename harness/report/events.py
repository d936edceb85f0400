"""What a board's process tells the one that shows it: one JSON object a line."""

from __future__ import annotations

import json
import os
from typing import Any

_LINE_LIMIT = 64 * 1024


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
        line = json.dumps({"event": event, "board": self._board, **fields}) + "\n"
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
    except ValueError:
        return None
    if isinstance(event, dict) and isinstance(event.get("event"), str) and isinstance(event.get("board"), str):
        return event
    return None
