"""Whether switching a board's power off really takes it away: seen by its USB device vanishing.

Hubs that confirm the order and keep feeding the port are common; so are boards fed by a second cable.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.bench.finding import Finding
from harness.errors import HarnessError
from harness.inventory.discover import Port, candidates
from harness.inventory.model import Board
from harness.power.switch import PowerSwitch

#: Seconds for a device to go, and to come back and be enumerated.
_GOES_WITHIN = 5.0
_COMES_WITHIN = 15.0
_INTERVAL = 0.1


def check_power(
    board: Board,
    switch: PowerSwitch,
    ports: Callable[[], list[Port]],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Finding:
    """Switch ``board`` off and on, and say what was seen. It is on again afterwards, whatever happened."""

    def present() -> bool:
        return bool(candidates(board, ports()))

    def becomes(wanted: bool, within: float) -> float | None:
        start = clock()
        while present() is not wanted:
            if clock() - start >= within:
                return None
            sleep(_INTERVAL)
        return clock() - start

    identity = board.identity
    if identity is None or identity.url or identity.port or identity.labgrid:
        return Finding("power", "note", f"{board.id}: not on USB here, so that nobody sees whether power drops")
    if not present():
        return Finding("power", "problem", f"{board.id} is not plugged in", "check cable and power, harness discover")
    try:
        try:
            switch.off()
            gone = becomes(False, _GOES_WITHIN)
        finally:
            switch.on()
        back = becomes(True, _COMES_WITHIN)
    except HarnessError as problem:
        return Finding("power", "problem", f"{board.id}: {problem.message}", problem.hint)
    if back is None:
        return Finding(
            "power",
            "problem",
            f"{board.id}: did not come back within {_COMES_WITHIN:g} s of {switch.name} being switched on",
            "unplug it and plug it in again",
        )
    if gone is None:
        return Finding(
            "power",
            "problem",
            f"{board.id}: {switch.name} says off, and the board stays there",
            "another hub (uhubctl's page lists those that switch), no second supply, or power: {method: none}",
        )
    return Finding("power", "ok", f"{board.id}: gone {gone:.1f} s after off, back {back:.1f} s after on")
