"""Whether the board that answers is the one of the bench file, by what its VM tells of its chip.

A name that is known to belong to something else proves another board; a name that nobody knows, or none, proves nothing
either way. What USB tells of an adapter is its address, and no proof where cloned adapters share it.
"""

from __future__ import annotations

import re

from harness.chips import CHIPS, GENERIC
from harness.inventory.discover import own_serial
from harness.inventory.model import Board
from harness.link.panics import printable
from harness.runtimes.interface import Facts
from harness.runtimes.traits import traits_of_vm
from harness.runtimes.who import ChipNames

#: Families of chips by ``sys.platform``, for platforms of one family only (MICROPY_PY_SYS_PLATFORM of MicroPython's and
#: CircuitPython's ports). A family that the harness has no chips of is told by its own name.
_PLATFORMS = {
    "esp8266": "esp8266",
    "esp32": "esp32",
    "Espressif": "esp32",
    "pyboard": "stm32",
    "rp2": "rp2",
    "RP2040": "rp2",
    "mimxrt": "mimxrt",
    "NXP IMXRT10XX": "mimxrt",
    "nrf52": "nrf52",
    "nRF52840": "nrf52",
    "microbit": "nrf51",
    "samd": "samd",
    "SAMD21": "samd",
    "SAMD51": "samd",
    "MicroChip SAMD21": "samd",
    "MicroChip SAMD51": "samd",
}
#: Ports of upstream's that run on no chip that a boot loader could tell more of.
_EMULATED = ("qemu", "minimal")
#: ESP32 variants in names: ``ESP32-S3``, ``ESP32C3``. D0, U4 and S0 are packages of the first one.
_ESP32 = re.compile(r"esp32([a-z]\d)?")
_ESP32_PACKAGES = ("d0", "d2", "u4", "s0")


def family_of(platform: str) -> str:
    """The family of chips that ``sys.platform`` names; empty when nobody knows it."""
    return platform if platform in _EMULATED else _PLATFORMS.get(platform, "")


def another_board(board: Board, facts: Facts, names: ChipNames) -> str:
    """Who answers in place of ``board``, with what was expected; empty when nothing speaks against it."""
    came = f"{facts.name} on {names.machine or names.platform or 'a chip that it does not name'}"
    came = printable(came.encode(), 160)
    if facts.name != board.runtime and traits_of_vm(facts.name) is not None:
        return f"expected {board.runtime}, here answers {came}"
    family = CHIPS[board.chip].family
    told = _PLATFORMS.get(names.platform, "")
    if family != GENERIC and told and told != family:
        return f"expected {board.runtime} on {board.chip}, here answers {came} (platform {names.platform!r})"
    if (chip := _chip_of(names.machine)) and _excludes(board.chip, chip):
        return f"expected {board.runtime} on {board.chip}, here answers {came}"
    identity = board.identity
    if identity is None:
        return ""
    if identity.mac and (macs := _macs(names, facts)) and identity.mac.replace(":", "") not in macs:
        return f"expected the chip with MAC {identity.mac}, here answers {_with_colons(macs[0])} ({came})"
    tail = names.tail
    if identity.mac and tail and not identity.mac.replace(":", "").endswith(tail):
        return f"expected the chip with MAC {identity.mac}, here answers one that ends in {_with_colons(tail)} ({came})"
    if identity.uid and _tells_uid(names, facts) and names.unique != identity.uid:
        return f"expected the chip with unique id {identity.uid}, here answers {names.unique} ({came})"
    return ""


def unproved(board: Board, facts: Facts, names: ChipNames, *, asked_loader: bool) -> str:
    """What of ``board``'s identity nothing has proved, in words; empty when something has, or nothing can be asked.

    ``asked_loader``: its boot loader has told MAC or unique id in this attach, and it was the right one.
    """
    identity = board.identity
    if identity is None or asked_loader:
        return ""
    if identity.mac and not (names.tail or _macs(names, facts)):
        return f"its firmware does not tell its MAC: that it is {identity.mac} is not proved"
    if identity.uid and not _tells_uid(names, facts):
        return f"its firmware does not tell its unique id: that it is {identity.uid} is not proved"
    by_socket = identity.usb_location or identity.url or identity.port
    if identity.usb_serial and not own_serial(identity.usb_serial) and not (by_socket or identity.mac or identity.uid):
        return f"usb_serial {identity.usb_serial!r} proves nothing, many adapters have it: add usb_location, or " + (
            "uid" if CHIPS[board.chip].family == "stm32" else "mac"
        )
    return ""


def _chip_of(machine: str) -> str:
    """The chip of the list that ``machine`` surely names; empty when it is none of them, or not sure."""
    name = re.sub(r"[^a-z0-9]", "", machine.rpartition(" with ")[2].lower())
    if match := _ESP32.match(name):
        variant = match[1] or ""
        name = "esp32" if variant in ("", *_ESP32_PACKAGES) else f"esp32{variant}"
        return name if name in CHIPS else ""
    return max((chip for chip in CHIPS if chip != GENERIC and name.startswith(chip)), key=len, default="")


def _excludes(expected: str, came: str) -> bool:
    """Whether a chip cannot be both. STM32s with one device id are told apart by nobody."""
    one, other = CHIPS[expected], CHIPS[came]
    if one.family == GENERIC or one is other:
        return False
    if one.family == other.family == "stm32" and one.flash_geometry and other.flash_geometry:
        return not set(one.flash_geometry.devices) & set(other.flash_geometry.devices)
    return True


def _macs(names: ChipNames, facts: Facts) -> tuple[str, ...]:
    """The MAC addresses that the chip's number may stand for, as hex digits."""
    if len(names.unique) != 12:
        return ()
    if facts.name != "circuitpython":
        return (names.unique,)
    # Its cpu.uid has the halves of each byte swapped (CircuitPython, ports/espressif, Processor.c).
    swapped = "".join(names.unique[at + 1] + names.unique[at] for at in range(0, 12, 2))
    return (swapped, names.unique)


def _tells_uid(names: ChipNames, facts: Facts) -> bool:
    """Whether ``names.unique`` is an STM32's id in the order of its memory. CircuitPython has an order of its own."""
    return len(names.unique) == 24 and facts.name != "circuitpython"


def _with_colons(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
