"""Where a run's seconds went."""

from __future__ import annotations

import io
from typing import Any

from rich.console import Console

from harness.results.report.timings import Timings


def test_each_second_is_counted_once_for_what_the_board_did() -> None:
    now = 0.0
    passed: list[dict[str, Any]] = []
    timings = Timings(["a", "b"], passed.append, lambda: now)

    def at(moment: float, event: str, **fields: Any) -> None:
        nonlocal now
        now = moment
        timings({"event": event, "board": "a", **fields})

    at(2, "step", text="starting the virtual board")
    at(3, "step", text="connect")
    at(4, "step", text="write", done=1, total=2)
    at(9, "step", text="write", done=2, total=2)
    at(9, "step", text="waiting for the VM")
    at(10, "ready")
    at(11, "scenario", suite="reload", name="x")
    at(15, "step", text="calibrating")
    at(16, "result", suite="reload", name="x", outcome="pass")
    at(16, "scenario", suite="[red]interrupt", name="y")
    at(20, "result", suite="interrupt", name="y", outcome="pass")
    at(21, "end")
    timings({"event": "step", "board": "unknown", "text": "x"})
    assert timings.seconds["a"] == {
        "plan": 2.0,
        "start": 1.0,
        "flash": 6.0,
        "VM": 1.0,
        "rest": 2.0,
        "reload": 5.0,
        "[red]interrupt": 4.0,
    }
    assert sum(timings.seconds["a"].values()) == 21
    assert len(passed) == 13
    out = io.StringIO()
    timings.show(Console(file=out, width=120))
    assert "[red]interrupt" in out.getvalue()
    assert [line.split()[-1] for line in out.getvalue().splitlines() if line.startswith("a ")] == ["21.0"]
