"""The way back to one board after trouble: which steps there are for it, and the proof that one has helped."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from harness.bench.board_flash import BoardFlash
from harness.bench.board_line import BoardLine
from harness.bench.checked_firmware import Report
from harness.bench.device import Device
from harness.bench.escalation import RecoveryStep, escalate
from harness.errors import BenchFault
from harness.power.switch import cycle
from harness.runtimes.traits import RuntimeTraits

#: A port that went comes back within this time, in seconds.
PORT_PATIENCE = 5.0
#: The same at each step after the first: what did not come then comes at once, or not.
_LATER_PATIENCE = 0.5


class Recovery:
    """Of one board that has been made ready once."""

    def __init__(
        self, device: Device, traits: RuntimeTraits, flash: BoardFlash, line: BoardLine, report: Report
    ) -> None:
        self._device = device
        self._traits = traits
        self._flash = flash
        self._line = line
        self._report = report
        self._patience = PORT_PATIENCE

    @property
    def can_power(self) -> bool:
        """Whether something here can cut the board's power."""
        return self._device.switch is not None

    def recover(self, *, gentle: bool) -> str:
        """Have the board back; returns what helped. Without ``gentle`` the chip is reset at least.

        Raises BenchFault when nothing did.
        """
        self._patience = PORT_PATIENCE
        return escalate(
            [replace(step, attempt=partial(self._proven, step)) for step in self._steps(gentle)],
            self._line.runtime.session.limited,
            lambda name: self._report(f"recovering: {name}", 0, 0),
        )

    def _steps(self, gentle: bool) -> Iterator[RecoveryStep]:
        runtime = self._line.runtime
        if gentle:
            yield RecoveryStep("Ctrl-C" if self._traits.ctrl_c else "its prompt", 8.0, runtime.enter)
        if gentle or not runtime.can_reset:
            yield RecoveryStep("soft reset", 10.0, runtime.soft_reset)
        if runtime.can_reset:
            yield RecoveryStep("line reset", 15.0, runtime.hard_reset)
        if self.can_power:
            yield RecoveryStep("power cycle", 20.0 + self._device.off_seconds, self._power_cycled)
        if self._flash.can_write:
            yield RecoveryStep("reflash", 60.0, self.reflash)

    def _proven(self, step: RecoveryStep) -> None:
        session = self._line.runtime.session
        if session.closed:
            patience, self._patience = self._patience, _LATER_PATIENCE
            session.reconnect(within=patience)
            session.forget_input()
        step.attempt()
        if b"42" not in self._line.runtime.run("print(6*7)", timeout=5.0).stdout.splitlines():
            raise BenchFault("the board answers, but not what it was asked")

    def power_cycle(self) -> None:
        """Off and on. Nobody is on the line meanwhile, or expects it to go."""
        if (switch := self._device.switch) is not None:
            cycle(switch, self._device.off_seconds)

    def _power_cycled(self) -> None:
        runtime = self._line.runtime
        with runtime.session.expecting_disconnect(within=PORT_PATIENCE):  # a hub port takes the adapter along
            self.power_cycle()
        runtime.enter(after_reset=True)

    def reflash(self, *, romfs: bool = True) -> None:
        """Write what differs in the flash from what belongs there, and start the board again."""
        self._line.runtime.session.forget_input()
        self._flash.write(self._line.port, romfs=romfs, enter_loader=self._line.enters_usb_loader)
        self._line.runtime.enter(after_reset=True)
