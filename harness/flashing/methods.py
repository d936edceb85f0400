"""Which way of writing a board's flash is used: an entry of ``harness.extensions`` for each ``flash.method``."""

from __future__ import annotations

from harness.extensions import load
from harness.flashing.flasher import Flasher, FlashingMethod, FlashJob
from harness.inventory.model import Board


def method_of(board: Board) -> FlashingMethod:
    """How ``board`` is written. Raises UsageError for ``none``, and for a package's method that cannot be loaded."""
    return load("harness.flashing", board.flash_method, FlashingMethod)


def needs_port(board: Board) -> bool:
    """Whether the board's flash is written through its serial port."""
    return board.flash_method == "none" or method_of(board).needs_port


def flasher_for(job: FlashJob) -> Flasher:
    """The flasher for a job, not entered yet."""
    return method_of(job.board).make(job)
