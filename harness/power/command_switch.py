"""Power through any program: a relay's own tool, ssh to the machine that has the relay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.power.run_command import run_command
from harness.power.switch import SwitchMethod


@dataclass(frozen=True)
class CommandSwitch:
    """``on_command`` and ``off_command`` are argument lists; exit code 0 means done. ``timeout`` in seconds."""

    on_command: Sequence[str]
    off_command: Sequence[str]
    timeout: float = 30.0

    @property
    def name(self) -> str:
        return f"command {self.off_command[0]}"

    def on(self) -> None:
        run_command(self.on_command, what="power on", timeout=self.timeout)

    def off(self) -> None:
        run_command(self.off_command, what="power off", timeout=self.timeout)


METHOD = SwitchMethod("command", lambda power: CommandSwitch(power.on_command or (), power.off_command or ()))
