"""A board on the desk: found by its USB identity, fed by a switch where there is one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from harness.bench.boot_slot import partitions_of
from harness.chips import CHIPS
from harness.errors import HarnessError, UsageError
from harness.inventory.discover import find_port
from harness.inventory.model import Board
from harness.power.gpio_line import GpioSwitch
from harness.power.switch import PowerSwitch
from harness.power.switches import switch_for

if TYPE_CHECKING:
    from harness.bench.checked_firmware import Report
    from harness.bench.device import FlashReader
    from harness.errors import FinalFault
    from harness.flashing.flasher import FlashImage


class RealDevice:
    """Implements :class:`harness.bench.device.Device`. Nobody is there to touch it, and its flash is its own."""

    intervene = press = injector = spare_flash = None
    keeps_host_time = True
    our_build = starts_blank = False

    def __init__(self, board: Board) -> None:
        self._board = board
        self.switch: PowerSwitch | None = switch_for(board.power)
        self.off_seconds = board.power.off_seconds

    def listen(self, _happened: Callable[[str, str], None], _lost: Callable[[], None]) -> None:
        """Nothing happens to it that the line does not tell."""

    def start(self, _report: Report, _wait: float = 0.0) -> None:
        """Nothing to do: it is there, or :meth:`find` says that it is not."""

    def why_gone(self, _patience: float = 0.0) -> FinalFault | None:
        return None

    def close(self) -> None:
        if isinstance(self.switch, GpioSwitch):
            self.switch.close()

    def find(self) -> str:
        return find_port(self._board)

    def whereabouts(self) -> tuple[str, str]:
        try:
            return self.find(), "connected"
        except HarnessError as problem:
            return "-", problem.message

    @property
    def holder(self) -> str:
        return ""

    def switch_now(self) -> PowerSwitch:
        if self.switch is None:
            raise UsageError(
                f"board {self._board.id!r}: nothing can cut its power",
                hint="describe its switch under 'power' in boards.yaml",
            )
        return self.switch

    def romfs_region(self, flash: FlashReader, images: Sequence[FlashImage]) -> tuple[int, int] | None:
        if "romfs" not in self._board.capabilities or CHIPS[self._board.chip].family != "esp32":
            return None

        for partition in partitions_of(flash, images):
            if partition.label == "romfs":
                return partition.offset, partition.size
        return None
