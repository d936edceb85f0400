"""What can cut a board's power and give it back. A new way is one file here and one line in
``harness.extensions``, or a package."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from harness.inventory.model import Power


class PowerSwitch(Protocol):
    """``name`` says what is switched, for messages.

    Both methods return when the switch has done it, as far as it can be asked, and raise BenchFault with what it
    said otherwise. ``off`` proves nothing about the board: it may be fed by another cable.
    """

    @property
    def name(self) -> str: ...

    def on(self) -> None: ...

    def off(self) -> None: ...


def cycle(switch: PowerSwitch, off_seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """Off, ``off_seconds`` seconds for the capacitors, and on; on again too when switching off or waiting failed."""
    try:
        switch.off()
        sleep(off_seconds)
    finally:
        switch.on()


@dataclass(frozen=True)
class SwitchMethod:
    """One ``power.method`` of boards.yaml: a file of this room, or an entry point of the group ``harness.power``.

    ``make`` gives the switch that the entry describes, and switches nothing yet. A package's method finds its settings
    in ``Power.options`` and raises UsageError for what is wrong with them.
    """

    name: str
    make: Callable[[Power], PowerSwitch]
