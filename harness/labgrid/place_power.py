"""Power through the power resource of a lab's place: whatever labgrid can drive, by ``labgrid-client power``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import BenchFault, UsageError
from harness.inventory.model import Power
from harness.labgrid.client import Lab, LabRefused
from harness.power.switch import SwitchMethod

#: Some switches are slow, in seconds.
_PATIENCE = 60.0


@dataclass
class PlacePower:
    """``resource`` is what the place calls it; empty: its only one. Nothing can be switched before :meth:`bind`."""

    resource: str = ""
    _lab: Lab | None = None
    _place: str = ""
    _require: Callable[[], None] | None = None

    def bind(self, lab: Lab, place: str, require: Callable[[], None]) -> None:
        """It is the power of ``place``, which is ours as long as ``require`` raises nothing."""
        self._lab, self._place, self._require = lab, place, require

    @property
    def name(self) -> str:
        return f"labgrid's place {self._place}" + (f", {self.resource}" if self.resource else "")

    def on(self) -> None:
        self._switch("on")

    def off(self) -> None:
        self._switch("off")

    def _switch(self, state: str) -> None:
        if self._lab is None or self._require is None:
            raise UsageError("power.method labgrid: the board's place is not acquired")
        self._require()
        named = ["-n", self.resource] if self.resource else []
        try:
            self._lab.ask("-p", self._place, "power", *named, state, timeout=_PATIENCE)
        except LabRefused as problem:
            raise BenchFault(
                f"power {state} of place {self._place!r}: {problem.said}",
                hint=f"try 'labgrid-client -p {self._place} power {state}'",
            ) from None
        try:
            said = self._lab.ask("-p", self._place, "power", *named, "get", timeout=_PATIENCE)
        except LabRefused:
            return  # not every switch can be asked
        other = {"on": "off", "off": "on"}[state]
        if said.strip().endswith(f" is {other}"):
            raise BenchFault(f"power of place {self._place!r}: was switched {state}, and says it is {other}")


def _make(power: Power) -> PlacePower:
    wrong = [name for name in power.options if name != "name"]
    name = power.options.get("name", "")
    if wrong or not isinstance(name, str) or name.startswith("-"):
        raise UsageError(
            f"power.options of method labgrid: expected 'name' and a text; came {', '.join(power.options)}",
            hint="name: what the place calls the resource, where it has several that switch power",
        )
    return PlacePower(name)


METHOD = SwitchMethod("labgrid", _make)
