"""What runs on the virtual ESP8266 when NodeMCU was flashed: :class:`NodeMcu` on the chip's board, line and flash.

The payload is a manifest; the Lua VM itself is the host's (lupa's PUC Lua 5.1). The filesystem in the SPIFFS
partition is littlefs, as on the other virtual boards: SPIFFS's own behaviour at a power cut is not modelled.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from harness.chips import Reset
from harness.reference.chip_board import ChipReset
from harness.reference.engine.guest_files import Files
from harness.reference.nodemcu.nodemcu_machine import Firmware, NodeMcu
from harness.reference.nodemcu.state import Halt
from harness.virtual.application import AppContext, Application, Ended, Exit
from harness.virtual.flash_files import FlashFiles

MAGIC = b"NODEMCU\0"
_ENDS = {
    Reset.MACHINE: Ended.HARD_RESET,
    Reset.DEEP_SLEEP: Ended.DEEP_SLEEP,
    Reset.WATCHDOG: Ended.WATCHDOG,
    Reset.PIN: Ended.RESET_PIN,
    Reset.BROWN_OUT: Ended.BROWN_OUT,
}
_INPUT_LIMIT = 4096


def payload(firmware: Firmware) -> bytes:
    """What is written to the flash: the manifest from which the board takes what it says of itself."""
    return MAGIC + json.dumps(asdict(firmware), sort_keys=True).encode()


def create(context: AppContext) -> Application:
    """The application factory for :mod:`harness.virtual.esp_chip`. Raises ValueError for a bad payload or flash."""
    fields = json.loads(context.payload.removeprefix(MAGIC))
    try:
        firmware = Firmware(**fields)
    except TypeError:
        raise ValueError("the manifest of the firmware is not understood") from None
    return NodeMcuApplication(context, firmware)


class _Stopped(Exception):
    """EN went low."""


class NodeMcuApplication:
    """One run of NodeMCU from flash, from a start of the chip to the next."""

    def __init__(self, context: AppContext, firmware: Firmware) -> None:
        self._context = context
        self._stopped = False
        self._mounted: list[FlashFiles] = []
        self._machine = NodeMcu(
            context.board,
            context.flash,
            self._files,
            context.console.write,
            self._typed,
            firmware=firmware,
            chip_id=int.from_bytes(context.mac[3:], "big"),
        )
        self._machine.attend = context.board.attend

    def _files(self, region: tuple[int, int]) -> Files:
        self._mounted.append(FlashFiles(self._context.flash, *region))
        return self._mounted[-1]

    def _typed(self) -> bytes:
        waiting = self._context.console.waiting()
        return self._context.console.read(min(waiting, _INPUT_LIMIT), 0) if waiting else b""

    # -- Application -----------------------------------------------------------------------------

    def run(self) -> Exit:
        board, machine = self._context.board, self._machine
        board.vm_starts(machine.state)
        board.check = self._check
        try:
            machine.boot()
            machine.serve(None, lambda: False)
        except Halt:
            pass
        except _Stopped:
            return Exit(Ended.STOPPED)
        except ChipReset as reset:
            return Exit(_ENDS[reset.cause])
        finally:
            for files in self._mounted:
                files.cut_off()
            machine.close()
            board.vm_ended()
        return Exit(_ENDS[machine.ended_by or Reset.MACHINE])

    def stop(self) -> None:
        self._stopped = True
        self._context.board.ring()

    def received(self, data: bytes) -> bytes:
        """Nothing in NodeMCU looks at what is typed before the line editor does: there is no Ctrl-C."""
        return data

    def _check(self) -> None:
        if self._stopped:
            raise _Stopped
