"""Ports of several boards that went at the same moment: that is a hub or its supply, and no single board."""

from __future__ import annotations

from harness.results.run_record import RunRecord

#: Ports that went within this time of each other went together, in seconds: each is noticed when it is next used.
_TOGETHER = 3.0
#: The kind of the event that a port had gone (``harness.bench.board_line``).
_WENT = "reopened"


def ports_together(record: RunRecord) -> list[str]:
    """A sentence for each moment at which the ports of two or more boards went."""
    events = sorted((event.at, board.id) for board in record.boards for event in board.events if event.kind == _WENT)
    told: list[str] = []
    group: list[tuple[float, str]] = []
    for at, board in [*events, (float("inf"), "")]:
        if group and at - group[-1][0] > _TOGETHER:
            boards = sorted({name for _, name in group})
            if len(boards) > 1:
                told.append(
                    f"the ports of {', '.join(boards)} went within {group[-1][0] - group[0][0]:.1f} s of each other: "
                    "look at the hub that they are plugged into and at its supply, and not at a single board"
                )
            group = []
        group.append((at, board))
    return told
