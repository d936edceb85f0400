"""Resetting a chip by its serial port's modem lines.

On a devkit DTR and RTS act through two transistors: equal levels are neutral; RTS alone (asserted) pulls
EN low; DTR alone pulls IO0 low. pyserial's True is "asserted", which is low at the pin. Sequences as in
esptool's documentation, "Boot Mode Selection" and "Custom Reset Sequence".
"""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

import serial

from harness.children import run_child
from harness.errors import BenchFault, UsageError
from harness.inventory.model import Board
from harness.link.panics import printable
from harness.link.ports import ModemLines, set_lines

#: Seconds for a program that resets a board.
_COMMAND_PATIENCE = 10.0
_STEP = re.compile(r"D([01])|R([01])|U([01]),([01])|W(\d{1,2}(?:\.\d{1,3})?)")


class ResetStrategy(Protocol):
    """Leaves the chip starting its application. Raises BenchFault when the port has no such lines."""

    def __call__(self, port: ModemLines) -> None: ...


@dataclass(frozen=True)
class HardReset:
    """EN low for ``hold`` seconds, IO0 untouched: power-on without the power."""

    hold: float = 0.1

    def __call__(self, port: ModemLines) -> None:
        _guarded(port, lambda: set_lines(port, dtr=False, rts=True))
        time.sleep(self.hold)
        set_lines(port, dtr=False, rts=False)


class CustomReset:
    """A sequence in esptool's notation: ``D1|R0|W0.1|U1,0``. A typo fails here, not at the bench.

    ``invert`` names the lines (``dtr``, ``rts``) that an inverter stands behind.
    """

    def __init__(self, sequence: str, *, invert: Collection[str] = ()) -> None:
        self._flip_dtr, self._flip_rts = "dtr" in invert, "rts" in invert
        self._steps: list[tuple[str, float, float]] = []
        for text in sequence.split("|"):
            match = _STEP.fullmatch(text)
            if match is None:
                raise UsageError(
                    f"reset sequence {sequence!r}: step {text!r} is not known",
                    hint="steps are D0 D1 (DTR), R0 R1 (RTS), U1,0 (both), W0.1 (wait, seconds)",
                )
            dtr, rts, both_dtr, both_rts, wait = match.groups()
            if wait is not None:
                self._steps.append(("wait", float(wait), 0))
            elif both_dtr is not None:
                self._steps.append(("both", int(both_dtr), int(both_rts)))
            elif dtr is not None:
                self._steps.append(("dtr", int(dtr), 0))
            else:
                self._steps.append(("rts", int(rts), 0))

    def __call__(self, port: ModemLines) -> None:
        def run() -> None:
            for kind, first, second in self._steps:
                if kind == "wait":
                    time.sleep(first)
                elif kind == "both":
                    set_lines(port, dtr=bool(first) != self._flip_dtr, rts=bool(second) != self._flip_rts)
                elif kind == "dtr":
                    port.dtr = bool(first) != self._flip_dtr
                else:
                    port.rts = bool(first) != self._flip_rts

        _guarded(port, run)


#: Into the application: one entry for each ``reset.method`` that is a sequence (esptool ``reset.py``: HardReset).
SEQUENCES = {
    "dtr-rts": "U0,1|W0.1|U0,0",
    "classic": "D0|R1|W0.1|R0",
    "usb-jtag": "R1|W0.2|R0|W0.2",
}


def stm32_sequence(lines: Collection[str] = (), *, boot0: bool) -> str:
    """A reset of an STM32 with BOOT0 high or low, in the notation of :class:`CustomReset`.

    DTR asserted pulls NRST low and RTS asserted pulls BOOT0 low, as stm32loader has it; ``lines`` names what is
    otherwise: ``swapped``, ``reset-inverted``, ``boot0-inverted``.
    """

    def step(reset: bool) -> str:
        nrst, other = reset != ("reset-inverted" in lines), boot0 == ("boot0-inverted" in lines)
        first, second = (other, nrst) if "swapped" in lines else (nrst, other)
        return f"U{first:d},{second:d}"

    return f"{step(True)}|W0.1|{step(False)}|W0.1"


def boot_loader_sequence(invert: Collection[str]) -> str:
    """An ESP's reset into its boot loader where an inverter stands behind the lines ``invert`` (``dtr``, ``rts``), in
    the notation of :class:`CustomReset`; "" for none.

    esptool's own sequences know no inverter: they would hold the chip in reset, or start its application. This is the
    one of its documentation, "Custom Reset Sequence", with the levels turned over.
    """
    dtr, rts = "dtr" in invert, "rts" in invert

    def level(asserted: bool, inverted: bool) -> int:
        return int(asserted != inverted)

    return (
        f"D{level(False, dtr)}|R{level(True, rts)}|W0.1|"  # EN low, IO0 high
        f"D{level(True, dtr)}|R{level(False, rts)}|W0.5|"  # IO0 low, and out of reset
        f"D{level(False, dtr)}"
        if dtr or rts
        else ""
    )


@dataclass(frozen=True)
class CommandReset:
    """A reset by a program of the user's, told by its last argument where the chip is to start from."""

    command: tuple[str, ...]
    boot0: bool = False

    def __call__(self, port: ModemLines) -> None:
        arguments = [*self.command, "boot-loader" if self.boot0 else "application"]
        try:
            done = run_child(arguments, timeout=_COMMAND_PATIENCE)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise BenchFault(
                f"{port.port}: the board cannot be reset: {problem}", hint="see flash.boot_command in boards.yaml"
            ) from None
        if done.code:
            said = printable((done.errors or done.output)[-300:])
            raise BenchFault(
                f"{port.port}: the board cannot be reset: {arguments[0]} ended with {done.code}: {said}",
                hint="see flash.boot_command in boards.yaml",
            )


def strategy_for(board: Board) -> ResetStrategy | None:
    """How ``board`` is reset into its application; None when its wiring has no way."""
    reset = board.reset
    if reset.method == "none":
        return None
    if reset.method == "dtr-rts" and board.flash_method == "stm32-uart":
        if board.flash.boot_command:
            return CommandReset(board.flash.boot_command)
        return CustomReset(stm32_sequence(board.flash.lines, boot0=False), invert=reset.invert)
    sequence = reset.sequence if reset.method == "custom" else SEQUENCES[reset.method]
    return CustomReset(sequence or "", invert=reset.invert)


def _guarded(port: ModemLines, action: Callable[[], None]) -> None:
    try:
        action()
    except (OSError, serial.SerialException) as problem:
        raise BenchFault(
            f"{port.port}: the reset lines cannot be set: {problem}",
            hint="does this port carry DTR and RTS? A pty does not",
        ) from None
