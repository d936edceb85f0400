"""The one place of the bench that asks whether a board is virtual, on the desk or in a lab."""

from __future__ import annotations

from pathlib import Path

from harness.bench.device import Device
from harness.bench.lab_device import LabDevice
from harness.bench.real_device import RealDevice
from harness.bench.virtual_device import VirtualDevice
from harness.inventory.model import Board


def device_of(board: Board, state: Path) -> Device:
    """The device that ``board`` describes, not started yet; ``state`` is the bench's state folder."""
    if board.virtual is not None:
        return VirtualDevice(board, state)
    in_lab = board.identity is not None and board.identity.labgrid is not None
    return LabDevice(board) if in_lab else RealDevice(board)
