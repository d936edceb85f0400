"""Which switch a board has: an entry of ``harness.extensions`` for each ``power.method`` of boards.yaml."""

from __future__ import annotations

from harness.extensions import load
from harness.inventory.model import Power
from harness.power.switch import PowerSwitch, SwitchMethod


def switch_for(power: Power) -> PowerSwitch | None:
    """The switch that ``power`` describes; None when power cannot be cut. Nothing is switched yet."""
    if power.method == "none":
        return None
    return load("harness.power", power.method, SwitchMethod).make(power)
