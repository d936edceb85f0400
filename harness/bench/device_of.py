"""The one place of the bench that asks whether a board is virtual."""

from __future__ import annotations

from pathlib import Path

from harness.bench.device import Device
from harness.bench.real_device import RealDevice
from harness.bench.virtual_device import VirtualDevice
from harness.inventory.model import Board


def device_of(board: Board, state: Path) -> Device:
    """The device that ``board`` describes, not started yet; ``state`` is the bench's state folder."""
    return RealDevice(board) if board.virtual is None else VirtualDevice(board, state)
