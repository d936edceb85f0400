"""A reference VM in the place of a board, for scenarios whose own faults are looked for."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.inventory.model import Board
from harness.reference.vm import ReferenceVm
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import ChipRuntime, Facts


@dataclass
class StandIn:
    """Is a :class:`harness.judging.ready_board.ReadyBoard`."""

    board: Board
    runtime: ChipRuntime
    romfs: bytes = b""
    can_intervene: bool = False
    our_build: bool = True
    keeps_host_time: bool = True
    can_reset: bool = True
    abilities: Abilities = field(default_factory=lambda: Abilities(paste_window=128))
    events: list[str] = field(default_factory=list)

    @property
    def facts(self) -> Facts:
        return self.runtime.facts

    def write_romfs(self, image: bytes) -> None:
        assert isinstance(self.runtime, ReferenceVm)
        self.runtime.map_romfs(image)

    def offer_romfs(self, *, image_wanted: bool = True) -> str:
        return "the stand-in offers none"

    def happened(self, kind: str, text: str) -> None:
        self.events.append(f"{kind}: {text}")

    def note(self, text: str) -> None:
        self.events.append(text)


def entry(chip: str, runtime: str, **wiring: object) -> Board:
    """A line of boards.yaml for it."""
    return Board.model_validate(
        {"id": "x", "chip": chip, "runtime": runtime, "identity": {"port": "/dev/none"}, "wiring": wiring}
    )
