"""What a board says whose words are no text at the console's rate: listened to at the rates that it may have.

An ESP8266's ROM speaks at 115200 baud by a 40 MHz crystal, and so at 115200 * 26 / 40 = 74880 on the usual boards,
which have one of 26 MHz (esptool documentation, "ESP8266 Boot Log"). Firmware for the one crystal on a board with the
other has its console at such a rate too.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import serial

from harness.errors import BenchFault, FinalFault
from harness.link.boot_words import cause
from harness.link.panics import BANNER, find_panic, is_text, printable
from harness.link.ports import OpenPort

#: Crystals of ESP boards, in MHz.
_CRYSTALS = (26, 40)
_ROM_RATE = 74880
_RATES = (_ROM_RATE, 115200, 9600, 57600, 230400, 460800, 921600)
#: How long a start is listened to at each rate, in seconds, and how much of it is looked at, in bytes.
_LISTEN, _ENOUGH = 1.2, 4096
#: Fewer bytes are no proof of a rate.
_PROOF = 12


@dataclass(frozen=True)
class Heard:
    """``text`` can be read at ``baud``."""

    baud: int
    text: bytes


def listen(port: OpenPort, console_baud: int, reset: Callable[[], None] | None) -> list[Heard]:
    """What the board says at other rates than its console's: at each after a reset, or after an empty line where
    nothing resets it. The port has its rate again afterwards."""
    heard = []
    try:
        for baud in _RATES:
            if baud == console_baud:
                continue
            text = _at(port, baud, reset)
            if len(text) >= _PROOF and is_text(text):
                heard.append(Heard(baud, text))
                if not _is_rom(text):
                    break
    except (serial.SerialException, OSError, ValueError, BenchFault):
        pass  # a rate that this adapter has not, or a port that went: what was heard before stays
    with contextlib.suppress(serial.SerialException, OSError, ValueError):
        port.baudrate = console_baud
    return heard


def _at(port: OpenPort, baud: int, reset: Callable[[], None] | None) -> bytes:
    port.baudrate = baud
    port.reset_input_buffer()
    if reset is not None:
        reset()
    else:
        port.write(b"\r\n\x03\r\n")
    port.timeout = 0.1
    text, end = b"", time.monotonic() + _LISTEN
    while time.monotonic() < end and len(text) < _ENOUGH:
        text += port.read(_ENOUGH)
        if not is_text(text):
            text = _readable_end(text)
    return text.strip(b"\0")


def _readable_end(text: bytes) -> bytes:
    """The lines of ``text`` that can be read: the ROM may speak at one rate, and what it starts at another."""
    lines = text.splitlines(keepends=True)
    return b"".join(line for line in lines if len(line.strip()) > 2 and is_text(line.ljust(16)) and line.isascii())


def _is_rom(text: bytes) -> bool:
    return BANNER.search(text) is not None and b">" not in text


def explained(
    heard: list[Heard], console_baud: int, problem: BenchFault, *, verified: bool, strap: str
) -> BenchFault | None:
    """The error in place of ``problem``, which says that nothing could be read; None when that is so at any rate."""
    speaks = next((one for one in heard if not _is_rom(one.text)), None)
    if speaks is not None:
        said = printable(speaks.text[-160:], 160)
        return FinalFault(
            f"{problem.message}; at {speaks.baud} baud it can be read: {said!r}",
            hint=f"console: {{baud: {speaks.baud}}} in boards.yaml{_crystals(speaks.baud, console_baud)}",
        )
    if not heard:
        return None
    rom = heard[0]
    said = printable(rom.text, 300)
    trouble = find_panic(rom.text, reset_expected=True)
    why = cause(rom.text, verified=verified, strap=strap)
    if not why and trouble is None:
        return BenchFault(f"{problem.message}; the ROM says at {rom.baud} baud: {said!r}", hint=problem.hint)
    return BenchFault(
        f"the board does not start; its ROM says at {rom.baud} baud: {said!r}",
        hint=why or "flash it again; if it stays so, this firmware does not run on this chip",
    )


def _crystals(baud: int, console_baud: int) -> str:
    for has in _CRYSTALS:
        for built_for in _CRYSTALS:
            if has != built_for and abs(console_baud * has / built_for - baud) <= 0.02 * baud:
                return (
                    f"; {console_baud} * {has} / {built_for} is just this rate: firmware for a {built_for} MHz crystal "
                    f"on a board with one of {has} MHz, so take a build for that"
                )
    return ""
