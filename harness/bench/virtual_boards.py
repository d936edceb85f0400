"""From a virtual board's entry in boards.yaml to the description of its process."""

from __future__ import annotations

from pathlib import Path

from harness.inventory.model import Board, VirtualFault
from harness.virtual.bench import VirtualSpec
from harness.virtual.faults import Fault


def virtual_spec(board: Board, state: Path, *, keep: bool = False) -> VirtualSpec:
    """The process description of a virtual board. Raises UsageError for a fault that there is not."""
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
        faults=tuple(_checked(fault) for fault in virtual.faults),
    )


def _checked(fault: VirtualFault) -> dict[str, object]:
    fields = fault.model_dump(exclude_none=True)
    Fault(**fields)
    return fields
