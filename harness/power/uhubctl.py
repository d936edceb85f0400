"""USB hub ports switched by uhubctl (https://github.com/mvp/uhubctl).

Many hubs accept the order and keep feeding the port (uhubctl's README, "Compatible USB hubs"): what uhubctl reports
is what the hub says. Whether power really drops is seen when the device vanishes: ``harness doctor --power BOARD``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import BenchFault
from harness.power.run_command import run_command
from harness.power.switch import SwitchMethod

#: "  Port 3: 0103 power enable connect [...]": the hub's wPortStatus, USB 2.0 table 11-21; "off" or "power".
_STATUS = re.compile(r"^\s*Port (\d+): ([0-9a-f]{4})\s+(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class UhubctlSwitch:
    """``hub`` as uhubctl's --location, ``port`` from 1. ``timeout`` of one call in seconds."""

    hub: str
    port: int
    program: str = "uhubctl"
    timeout: float = 30.0

    @property
    def name(self) -> str:
        return f"port {self.port} of USB hub {self.hub} (uhubctl)"

    def on(self) -> None:
        self._switch("on")

    def off(self) -> None:
        self._switch("off")

    def _switch(self, action: str) -> None:
        location = ("--location", self.hub, "--ports", str(self.port))
        text = run_command((self.program, *location, "--action", action), what=f"power {action}", timeout=self.timeout)
        states = [words for number, _, words in _STATUS.findall(text) if int(number) == self.port]
        if not states:
            raise BenchFault(
                f"power {action}: uhubctl did not say how port {self.port} of hub {self.hub} is now",
                hint="does `uhubctl` list this hub? It needs per-port power switching, and often a udev rule",
            )
        # The last one is what it found after switching; "indicator" and the like may stand beside it.
        if ("power" in states[-1].split()) != (action == "on"):
            raise BenchFault(
                f"power {action}: the hub reports port {self.port} of {self.hub} as {states[-1][:60]!r}",
                hint="this hub does not switch that port; USB 3 hubs need the USB 2 half switched as well",
            )


METHOD = SwitchMethod("uhubctl", lambda power: UhubctlSwitch(power.hub or "", power.port or 0))
