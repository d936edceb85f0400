"""A virtual board: a process that is started with the run, or found running, and obeys orders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import BenchFault
from harness.formats.virtual_image import layout
from harness.inventory.model import Board, VirtualFault
from harness.power.switch import PowerSwitch
from harness.virtual.bench import RunningBoard, VirtualSpec, running, start
from harness.virtual.faults import Fault

if TYPE_CHECKING:
    from harness.bench.checked_firmware import Report
    from harness.bench.device import FlashReader
    from harness.errors import FinalFault
    from harness.flashing.flasher import FlashImage
    from harness.runtimes.interface import Intervention


def virtual_spec(board: Board, state: Path) -> VirtualSpec:
    """The description of a virtual board's process. Raises UsageError for a fault that there is not."""
    virtual = board.virtual
    assert virtual is not None
    return VirtualSpec(
        id=board.id,
        chip=board.chip,
        state_dir=str(_folder(state)),
        flash_size=board.flash_size or virtual.flash_size,
        mac=virtual.mac or "",
        port=virtual.port or 0,
        pty=virtual.pty,
        pace=virtual.pace,
        loopback=board.wiring.loopback,
        uart=board.wiring.uart,
        button=board.wiring.button,
        gpio16_rst=board.wiring.gpio16_rst,
        lines=virtual.lines,
        fuses=virtual.fuses,
        revision=virtual.revision_numbers,
        usb=virtual.usb,
        faults=tuple(_checked(fault) for fault in virtual.faults),
    )


def _folder(state: Path) -> Path:
    return state / "virtual"


def _checked(fault: VirtualFault) -> dict[str, object]:
    fields = fault.model_dump(exclude_none=True)
    Fault(**fields)
    return fields


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


class VirtualDevice:
    """Implements :class:`harness.bench.device.Device`."""

    off_seconds = 0.0
    our_build = starts_blank = True
    holder = ""

    def __init__(self, board: Board, state: Path) -> None:
        assert board.virtual is not None
        self._board = board
        self._virtual = board.virtual
        self._state = state
        self._running: RunningBoard | None = None

    def listen(self, _happened: Callable[[str, str], None], _lost: Callable[[], None]) -> None:
        """Nothing happens to it that the line does not tell."""

    def why_gone(self, _patience: float = 0.0) -> FinalFault | None:
        return None

    def start(self, report: Report, _wait: float = 0.0) -> None:
        report("starting the virtual board", 0, 0)
        self._running = start(virtual_spec(self._board, self._state))

    def close(self) -> None:
        if self._running is not None:
            self._running.stop()
            self._running = None

    @property
    def _up(self) -> RunningBoard:
        assert self._running is not None, "asked before it was started"
        return self._running

    def _serving(self) -> RunningBoard | None:
        return running(_folder(self._state)).get(self._board.id)

    def find(self) -> str:
        serving = self._serving()
        if serving is None:
            raise BenchFault(f"{self._board.id}: the virtual board's process is gone")
        return serving.url

    def whereabouts(self) -> tuple[str, str]:
        serving = self._serving()
        return (serving.url, "up") if serving else ("virtual", "starts when needed")

    @property
    def switch(self) -> PowerSwitch:
        return VirtualSwitch(self._up)

    def switch_now(self) -> PowerSwitch:
        serving = self._serving()
        if serving is None:
            raise BenchFault(
                f"board {self._board.id!r} is virtual and not up",
                hint="start it with 'harness virtual up' beside this",
            )
        return VirtualSwitch(serving)

    def intervene(self, intervention: Intervention) -> None:
        if intervention.what == "power":
            self.switch.off()
            self.switch.on()
        else:
            self._up.lead(intervention.pin, intervention.level)
            self._up.lead(intervention.pin, None)

    def press(self, down: bool) -> None:
        self._up.press(down=down)

    @property
    def injector(self) -> RunningBoard:
        return self._up

    @property
    def keeps_host_time(self) -> bool:
        return self._virtual.pace == "chip"

    def romfs_region(self, _flash: FlashReader, _images: Sequence[FlashImage]) -> tuple[int, int] | None:
        return self._layout["romfs"] if "romfs" in self._board.capabilities else None

    @property
    def spare_flash(self) -> int | None:
        return None if "romfs" in self._board.capabilities else self._layout["romfs"][0]

    @property
    def _layout(self) -> dict[str, tuple[int, int]]:
        return layout(self._board.chip, self._virtual.flash_size)
