"""From a virtual board's entry in boards.yaml to the description of its process."""

from __future__ import annotations

from pathlib import Path

from harness.inventory.model import Board
from harness.virtual.bench import VirtualSpec


def virtual_spec(board: Board, state: Path, *, keep: bool = False) -> VirtualSpec:
    """The process description of a virtual board."""
    virtual = board.virtual
    assert virtual is not None
    return VirtualSpec(
        id=board.id,
        chip=board.chip,
        state_dir=str(state / "virtual"),
        flash_size=board.flash_size or virtual.flash_size,
        mac=virtual.mac or "",
        port=virtual.port or 0,
        pty=virtual.pty,
        keep=keep,
        pace=virtual.pace,
        loopback=board.wiring.loopback,
        button=board.wiring.button,
        gpio16_rst=board.wiring.gpio16_rst,
        lines=virtual.lines,
    )
