"""Where the seconds of a run went, board by board, from the events that its boards send."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.shown import plain

#: What a board is doing while it is made ready, by the first word of the step that it tells.
_STEPS = {
    "starting": "start",
    "connect": "flash",
    "read": "flash",
    "erase": "flash",
    "write": "flash",
    "verify": "flash",
    "waiting": "VM",
    "asking": "VM",
}
_READY = ("plan", "start", "flash", "VM")
_REST = "rest"


class Timings:
    """Passes events on to ``watch``, and adds up the seconds between them. ``clock`` in seconds."""

    def __init__(
        self,
        boards: Sequence[str],
        watch: Callable[[dict[str, Any]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._watch = watch
        self._clock = clock
        begun = clock()
        self._since = dict.fromkeys(boards, begun)
        self._doing = dict.fromkeys(boards, "plan")
        self.seconds: dict[str, dict[str, float]] = {board: {} for board in boards}

    def __call__(self, event: dict[str, Any]) -> None:
        self._take(event)
        self._watch(event)

    def _take(self, event: dict[str, Any]) -> None:
        board, kind = event.get("board"), event.get("event")
        if board not in self._since:
            return
        doing = self._doing[board]
        if kind == "step":
            words = str(event.get("text", "")).split()
            doing = _STEPS.get(words[0], doing if doing != "plan" else _REST) if words else doing
        elif kind == "scenario":
            doing = str(event.get("suite"))[:30]
        elif kind in ("ready", "result", "planned"):
            doing = _REST
        elif kind != "end":
            return
        now = self._clock()
        spent = self.seconds[board]
        spent[self._doing[board]] = spent.get(self._doing[board], 0.0) + now - self._since[board]
        self._since[board], self._doing[board] = now, doing

    def show(self, console: Console) -> None:
        """Print the seconds: a row for each board, a column for each kind of work and each suite."""
        names = dict.fromkeys(name for spent in self.seconds.values() for name in spent)
        suites = [name for name in names if name not in (*_READY, _REST)]
        columns = [*(name for name in _READY if name in names), *suites, *([_REST] if _REST in names else [])]
        table = Table(box=None, padding=(0, 2, 0, 0), title=Text("seconds"), title_justify="left")
        table.add_column("board")
        for name in columns:
            table.add_column(Text(plain(name, 30)), justify="right")
        table.add_column("all", justify="right")
        for board, spent in self.seconds.items():
            cells = [f"{spent[name]:.1f}" if name in spent else "" for name in columns]
            table.add_row(Text(board), *cells, f"{sum(spent.values()):.1f}")
        console.print(table)
