"""Which switch a board has: one line for each ``power.method`` of boards.yaml."""

from __future__ import annotations

from harness.inventory.model import Power
from harness.power.base import PowerSwitch
from harness.power.command import CommandSwitch
from harness.power.gpio_line import GpioSwitch
from harness.power.http_relay import HttpRelay
from harness.power.uhubctl import UhubctlSwitch


def switch_for(power: Power) -> PowerSwitch | None:
    """The switch that ``power`` describes; None when power cannot be cut. Nothing is switched yet."""
    if power.method == "uhubctl":
        return UhubctlSwitch(power.hub or "", power.port or 0)
    if power.method == "command":
        return CommandSwitch(power.on_command or (), power.off_command or ())
    if power.method == "http":
        assert power.relay is not None
        default = 1 if power.relay == "tasmota" else 0
        return HttpRelay(power.relay, power.url or "", default if power.channel is None else power.channel)
    if power.method == "gpio":
        assert power.chip is not None
        assert power.line is not None
        return GpioSwitch(power.chip, power.line, power.active_low)
    return None
