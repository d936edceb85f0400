"""The way into an ESP's boot loader where esptool did not get in: which line is missing, and a person's hands.

esptool documentation, "Boot Mode Selection": RTS pulls EN low, DTR the boot strap (GPIO0 on most chips). Which of the
two works is told by what the chip says after a reset.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import serial

from harness.errors import BenchFault, FinalFault
from harness.flashing.flasher import BY_HAND_WITHIN, Progress
from harness.link.deadline import Deadline
from harness.link.panics import BANNER, is_text, printable
from harness.power.reset import ResetStrategy

#: How long a start is listened to, in seconds.
_LISTEN = 1.0
#: The ROM's rates: an ESP8266's by a 26 MHz crystal, by a 40 MHz one.
_ROM_RATES = {"esp8266": (74880, 115200)}
_IN_LOADER = re.compile(rb"waiting for download|boot mode:\(1,\d\)|boot:0x[0-9a-f]{1,2} \(DOWNLOAD")
#: A start that EN or the chip's USB has led to, and no watchdog or program (ESP-IDF ``rtc.h``; ESP8266: 2 is external).
_BY_PIN = re.compile(rb"rst:0x1 \(POWERON|rst:0x15 \(USB_UART|rst cause:[12],")
#: The pin of the boot strap, as the chips' data sheets have it.
_STRAPS = {
    "esp32c2": 9,
    "esp32c3": 9,
    "esp32c6": 9,
    "esp32h2": 9,
    "esp32c5": 28,
    "esp32p4": 35,
}


def strap(chip: str) -> str:
    """The pin that is held low for the boot loader."""
    return f"GPIO{_STRAPS.get(chip, 0)}"


@dataclass(frozen=True)
class Found:
    """Why the boot loader did not answer, as far as the chip itself tells it. ``what`` goes on with "and"."""

    what: str
    hint: str


def look(port: Any, chip: str, reset: ResetStrategy) -> Found:
    """Reset the chip at ``port``, and judge by what it says. Raises BenchFault when the port is gone."""
    by_hand = hands(chip)
    said = _after_reset(port, chip, reset)
    if not said:
        return Found(
            "nothing at all comes from the chip, after a reset neither",
            f"has the board power, is this its port, does its TX reach the adapter's RX? {by_hand}",
        )
    words = printable(said[-200:].partition(b"\n")[2] or said, 160)
    if not _BY_PIN.search(said):
        heard = f"it says {words!r}" if is_text(said) else "what it says is no text at the ROM's rate"
        return Found(
            f"RTS does not reset it ({heard}, and no start by its pin): this adapter is not wired for auto-reset",
            f"wire RTS to EN and DTR to {strap(chip)} through the usual two transistors. {by_hand}",
        )
    if _IN_LOADER.search(said):
        return Found(
            f"the chip is in its boot loader ({words!r}) and hears nothing",
            "does the adapter's TX reach the chip's RX? Take off what else drives that pin",
        )
    return Found(
        f"RTS resets it, but DTR does not reach {strap(chip)}: it starts its application ({words!r})",
        f"wire DTR to {strap(chip)}, or take off what holds that pin high. {by_hand}",
    )


def hands(chip: str) -> str:
    """What to try where no line does it."""
    return (
        f"Or hold BOOT ({strap(chip)}) and press EN: 'flash: {{before: manual}}' in boards.yaml, and 'harness flash' "
        "at a terminal, which asks and waits"
    )


def _after_reset(port: Any, chip: str, reset: ResetStrategy) -> bytes:
    said = b""
    try:
        if not port.is_open:
            port.open()
        before, port.timeout = port.timeout, 0.1
        for rate in _ROM_RATES.get(chip, (115200,)):
            port.baudrate = rate
            port.reset_input_buffer()
            reset(port)
            said, end = b"", time.monotonic() + _LISTEN
            while time.monotonic() < end and not (BANNER.search(said) and len(said) > 200):
                said += port.read(4096)
            if not said or BANNER.search(said):
                break
        port.timeout = before
    except (serial.SerialException, OSError) as problem:
        raise BenchFault(
            f"{port.port}: the port went while the chip was reset: {str(problem)[:120]}",
            hint="does its USB come back? A hub or a supply that dips lets all ports go",
        ) from None
    return said


def wait_for_hands(port: Any, chip: str, connect: Callable[[], None], progress: Progress) -> None:
    """Ask a person for the boot loader, and wait until ``connect`` finds it. Raises FinalFault when nobody did it."""
    from esptool.util import FatalError

    progress(
        f"hold BOOT ({strap(chip)}), press EN once, let go of BOOT (waiting {BY_HAND_WITHIN:g} s)",
        0,
        0,
    )
    end = Deadline(BY_HAND_WITHIN)
    while True:
        try:
            if not port.is_open:
                port.open()
            connect()
            return
        except (FatalError, serial.SerialException, OSError) as problem:
            if "This chip is" in str(problem):
                raise
            if end.passed:
                raise FinalFault(
                    f"{port.port}: nobody brought the chip into its boot loader within {BY_HAND_WITHIN:g} s",
                    hint=f"hold BOOT ({strap(chip)}) while EN (RST) is pressed and let go; nothing was written",
                ) from None
        with contextlib.suppress(serial.SerialException, OSError):
            port.close()
        time.sleep(0.1)  # where the port itself is gone each try ends at once


def nobody_there(port: Any, chip: str) -> FinalFault:
    """``before: manual`` without a person at a terminal."""
    return FinalFault(
        f"{port.port}: the chip is not in its boot loader, and nobody is at a terminal to bring it there "
        "(flash.before: manual)",
        hint=f"hold BOOT ({strap(chip)}), press EN and start this again; or run 'harness flash' at a terminal, which "
        "asks and waits; or wire the adapter for auto-reset. Nothing was written",
    )
