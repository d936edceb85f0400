"""What can cut a board's power and give it back. A new way is one file here, an entry in ``switches.py``, one test."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol


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
