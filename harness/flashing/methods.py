"""Which way of writing a board's flash is used: one entry for each ``flash.method`` of boards.yaml."""

from __future__ import annotations

from typing import Any

from harness.errors import UsageError
from harness.flashing.base import Flasher, Progress
from harness.flashing.esp import EspFlasher
from harness.flashing.stm32_uart import Stm32UartFlasher
from harness.inventory.model import Board


def flasher_for(board: Board, port: Any, progress: Progress) -> Flasher:
    """The flasher for ``board``, not entered yet. ``port`` is its open serial port.

    Raises UsageError for a method that this version does not have.
    """
    if board.flash_method == "esptool":
        return EspFlasher(
            board.chip,
            port,
            baud=board.flash.baud,
            progress=progress,
            connect_attempts=board.flash.connect_attempts,
            before=board.flash.before,
            stub=board.flash.stub,
            console_baud=board.console.baud,
        )
    if board.flash_method == "stm32-uart":
        return Stm32UartFlasher(
            board.chip,
            port,
            baud=board.flash.baud,
            progress=progress,
            connect_attempts=board.flash.connect_attempts,
            before=board.flash.before,
            lines=board.flash.lines,
            unprotect=board.flash.unprotect,
            console_baud=board.console.baud,
        )
    raise UsageError(
        f"{board.id}: flash.method {board.flash_method} is not supported by this version",
        hint="give --no-flash to test the firmware that the board holds",
    )
