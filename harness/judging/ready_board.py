"""What judging needs of a board that answers; :class:`harness.bench.attach.AttachedBoard` is one."""

from __future__ import annotations

from typing import Protocol

from harness.inventory.model import Board
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import BoardRuntime, ChipRuntime, Facts


class ReadyBoard(Protocol):
    """A board that scenarios run on."""

    @property
    def board(self) -> Board: ...

    @property
    def runtime(self) -> ChipRuntime: ...

    @property
    def facts(self) -> Facts: ...

    @property
    def abilities(self) -> Abilities:
        """What its VM can do, as it was asked."""
        ...

    @property
    def romfs(self) -> bytes:
        """The ROMFS image that the chip holds and the reference must hold too; empty when unknown."""
        ...

    @property
    def our_build(self) -> bool:
        """Whether its VM is one that the harness made."""
        ...

    @property
    def keeps_host_time(self) -> bool:
        """Whether its waits take as long on the host."""
        ...

    @property
    def can_reset(self) -> bool: ...

    @property
    def can_intervene(self) -> bool: ...

    def write_romfs(self, image: bytes) -> object:
        """Write the chip's ROMFS region alone, and start the board again."""
        ...

    def offer_romfs(self, *, image_wanted: bool = True) -> str:
        """Have the suites' image in the ROMFS segment of a VM that can write it itself; why not, empty when it is.

        Without ``image_wanted`` it is enough that the segment can be written.
        """
        ...

    def happened(self, kind: str, text: str) -> None:
        """An event beside the scenarios."""
        ...

    def note(self, text: str) -> None:
        """Words in the transcript."""
        ...


class DoubtfulBoard(Protocol):
    """What the second look at a failure needs of the board."""

    @property
    def runtime(self) -> BoardRuntime: ...

    def happened(self, kind: str, text: str) -> None:
        """An event beside the scenarios."""
        ...

    def recover(self, reason: str, *, gentle: bool = True) -> str:
        """Have the board back after trouble, and without ``gentle`` reset; what helped. Raises BenchFault."""
        ...

    def flash_was_damaged(self) -> bool:
        """Whether the flash no longer held its firmware; it does after this."""
        ...
