"""The host reference for NodeMCU: the firmware's Lua side on a virtual clock, spoken to as a board is.

The same lines go to it as to a board, over a port that lives in memory, so that what they leave on the heap is the
same. Time passes only while it computes or waits. Board and reference share the model of the chip's heap: on a
virtual board their figures agree by construction, and only a real board's say something about the model.
"""

from __future__ import annotations

import random
from typing import Self

from harness.chips import Reset, chip_named
from harness.link.session import Session
from harness.reference.chip_board import Board, ChipReset
from harness.reference.engine.guest_files import MemoryFiles
from harness.reference.flash.flash_region import SECTOR, Region
from harness.reference.nodemcu.nodemcu_machine import Firmware, NodeMcu
from harness.reference.nodemcu.nodemcu_storage import RCR, Layout
from harness.reference.nodemcu.state import PACE_NS, Halt
from harness.reference.pins import RESET_PIN, PinName
from harness.reference.timeline import Clock
from harness.runtimes.interface import Intervention
from harness.runtimes.nodemcu.nodemcu_board import NodeMcuBoard

_FLASH, _LFS, _FILES = 0x400000, 0xC0000, (0x100000, 0x2FA000)
LFS_SIZE = 0x20000


class LuaReference(NodeMcuBoard):
    """A :class:`harness.runtimes.interface.ChipRuntime`: an ESP8266 with NodeMCU and Lua 5.1, float numbers.

    ``lfs_size`` is that of its LFS region in bytes, a multiple of 8192, 0 for none.
    """

    def __init__(self, *, lfs_size: int = LFS_SIZE, firmware: Firmware | None = None) -> None:
        self.world = _World(lfs_size, firmware or Firmware())
        super().__init__(
            Session(self.world),
            reset=lambda: self.world.restart(Reset.PIN),
            intervene=self.world.intervene,
            nonces=random.Random(0),
            clock=lambda: self.world.board.clock.now_ns / 1e9,
        )
        self.enter(after_reset=True)

    def wire(self, a: PinName, b: PinName) -> None:
        """Connect two pins of the chip by their GPIO numbers. Raises UsageError for a pin that it has not."""
        self.world.pins.wire(a, b)

    def unwire(self, a: PinName, b: PinName) -> None:
        self.world.pins.unwire(a, b)

    def power_cycle(self) -> None:
        """Power off and on: RTC memory is lost, flash is not."""
        self.world.restart(Reset.POWER_ON)
        self.enter(after_reset=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _World:
    """Board, flash and files of one reference, and the port at its other end (:class:`harness.link.session.Port`)."""

    def __init__(self, lfs_size: int, firmware: Firmware) -> None:
        self.board = Board(chip_named("esp8266").promised(), Clock(PACE_NS))
        assert self.board.pins is not None
        self.pins = self.board.pins
        self.timeout: float | None = None
        self.flash = Region(_FLASH)
        layout = Layout((_LFS, lfs_size), _FILES)
        self.flash.program(RCR, layout.to_record(_LFS - RCR, _FLASH).ljust(SECTOR, b"\xff"))
        self._firmware = firmware
        self._files = MemoryFiles()
        self._typed = bytearray()
        self._out = bytearray()
        self._ended = False
        self._machine = self._start(Reset.POWER_ON)

    def _start(self, cause: Reset | None) -> NodeMcu:
        """None: the board has been restarted already, by the end of its sleep."""
        if cause is not None:
            self.board.restart(cause)
        self._typed.clear()
        self._ended = False
        machine = NodeMcu(
            self.board, self.flash, lambda _region: self._files, self._printed, self._take, firmware=self._firmware
        )
        self._machine = machine
        self.board.clock.start(machine.state)
        try:
            machine.boot()
        except Halt:
            self._ended = True
        return machine

    def restart(self, cause: Reset) -> None:
        self._machine.close()
        self._start(cause)

    def intervene(self, intervention: Intervention) -> None:
        if intervention.what == "power":
            self.restart(Reset.POWER_ON)
            return
        try:
            self.board.drive(intervention.pin, intervention.level)
        except ChipReset:
            self.restart(Reset.PIN)
        self.board.drive(intervention.pin or RESET_PIN, None)

    # -- the two ends of the line ----------------------------------------------------------------

    def _printed(self, data: bytes) -> None:
        self._out += data

    def _take(self) -> bytes:
        data = bytes(self._typed)
        self._typed.clear()
        return data

    @property
    def in_waiting(self) -> int:
        return len(self._out)

    def write(self, data: bytes) -> int:
        self._typed += data
        return len(data)

    def read(self, size: int = 1) -> bytes:
        """As of a port; ``timeout`` counts virtual seconds."""
        if not self._out:
            self._run(self.board.clock.now_ns + round((self.timeout or 0.0) * 1e9))
        data = bytes(self._out[:size])
        del self._out[:size]
        return data

    def close(self) -> None:
        self._machine.close()

    def _run(self, until_ns: int) -> None:
        """Until something was printed, or until that moment."""
        while not self._out:
            if self._ended:
                if not self._over(until_ns):
                    return
                continue
            try:
                self._machine.serve(until_ns, lambda: bool(self._out))
            except (Halt, ChipReset) as end:
                if isinstance(end, ChipReset):
                    self._machine.ended_by = end.cause
                self._ended = True
                continue
            if self.board.clock.now_ns >= until_ns:
                return

    def _over(self, until_ns: int) -> bool:
        """What follows the end of a run; False when it has not ended by then (deep sleep)."""
        why = self._machine.ended_by or Reset.MACHINE
        if why is not Reset.DEEP_SLEEP:
            self.restart(why)
            return True
        if not self.board.asleep:
            self._machine.close()
            self.board.fall_asleep()
        wake = self.board.sources.at_ns
        if wake is None or wake > until_ns or not self.pins.wired("16", RESET_PIN):
            self.board.pass_time(until_ns, lambda: False)
            return False
        self.board.sleep_through()
        self._start(None)
        return True
