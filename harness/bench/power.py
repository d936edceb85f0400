"""The power of any board of the bench: a real one's switch, or the virtual bench's own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import BenchFault, UsageError
from harness.inventory.model import Board
from harness.power.base import PowerSwitch
from harness.power.switches import switch_for
from harness.virtual.bench import RunningBoard, running


@dataclass(frozen=True)
class VirtualSwitch:
    """Cuts the power of a virtual board that is up."""

    board: RunningBoard

    @property
    def name(self) -> str:
        return f"the virtual board {self.board.id}"

    def on(self) -> None:
        self.board.power(on=True)

    def off(self) -> None:
        self.board.power(on=False)


def power_of(board: Board, state: Path) -> PowerSwitch:
    """What cuts the power of ``board``.

    Raises UsageError when nothing can, BenchFault for a virtual board that is not up.
    """
    if board.virtual is not None:
        up = running(state / "virtual").get(board.id)
        if up is None:
            raise BenchFault(
                f"board {board.id!r} is virtual and not up", hint="start it with 'harness virtual up' beside this"
            )
        return VirtualSwitch(up)
    switch = switch_for(board.power)
    if switch is None:
        raise UsageError(
            f"board {board.id!r}: nothing can cut its power", hint="describe its switch under 'power' in boards.yaml"
        )
    return switch
