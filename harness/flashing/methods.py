"""Which way of writing a board's flash is used: one entry for each ``flash.method`` of boards.yaml."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import UsageError
from harness.flashing.base import Flasher, Progress
from harness.flashing.dfu import DfuUtil
from harness.flashing.esp import EspFlasher
from harness.flashing.stm32_access import AccessFlasher
from harness.flashing.stm32_uart import Stm32UartFlasher
from harness.flashing.swd import swd_access
from harness.inventory.model import Board

#: Methods that need no serial port; the console's port comes and goes with them where it is the chip's own USB.
WITHOUT_PORT = frozenset({"dfu", "swd"})


def flasher_for(
    board: Board, port: Any, progress: Progress, *, enter_loader: Callable[[], None] | None = None
) -> Flasher:
    """The flasher for ``board``, not entered yet. ``port`` is its open serial port, None for :data:`WITHOUT_PORT`.

    ``enter_loader`` brings a board that runs into its USB boot loader (dfu). Raises UsageError for a method that this
    version does not have.
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
            boot_command=board.flash.boot_command,
            unprotect=board.flash.unprotect,
            console_baud=board.console.baud,
        )
    identity = board.identity
    probe = board.flash.probe or (identity.usb_serial if identity else None)
    if board.flash_method == "dfu":
        path = identity.usb_location if identity and not probe else None
        by_hand = board.flash.before in ("manual", "no-reset")
        enter = None if by_hand else enter_loader
        return AccessFlasher(DfuUtil(board.chip, serial=probe, path=path, enter=enter), progress=progress)
    if board.flash_method == "swd":
        access = swd_access(board.chip, probe=probe, target=board.flash.target, openocd=board.flash.openocd)
        return AccessFlasher(access, progress=progress)
    raise UsageError(
        f"{board.id}: flash.method {board.flash_method} is not supported by this version",
        hint="give --no-flash to test the firmware that the board holds",
    )
