"""What boards have printed beside their pins, for people who hold a wire.

Sources: NodeMCU DevKit V1.0's schematic; Espressif's user guides for ESP32-DevKitC V4, ESP32-S3-DevKitC-1 and
ESP32-C3-DevKitM-1; Adafruit's pin-outs of the Feather ESP32 V2 and the HUZZAH32; ST's UM1724 (STM32 Nucleo-64);
MicroPython ``ports/stm32/boards/PYBV11/pins.csv``, ``NUCLEO_L476RG/pins.csv``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from harness.chips._stm32_board_pins import NUCLEO_L476RG, PYBV11


@dataclass(frozen=True)
class Silk:
    """``labels`` from the pin as boards.yaml has it (``4``, ``A0``, ``PA8``) to what is printed; ``title`` for people,
    with its article."""

    name: str
    title: str
    chips: tuple[str, ...]
    labels: Mapping[str, str]


def _numbers(**named: int) -> dict[str, str]:
    return {str(pin): label for label, pin in named.items()}


def _ports(names: Mapping[str, str], kinds: str) -> dict[str, str]:
    """From a chip's pin to the name of the first of ``kinds`` (letters that names begin with), for A0 and PA0 alike."""
    found: dict[str, str] = {}
    for label, pin in names.items():
        if re.fullmatch(rf"[{kinds}]\d+", label):
            found.setdefault(pin, label)
    return found


#: Pins of the morpho connectors of a Nucleo-64 (UM1724), by the chip's pins.
_CN7 = "PC10 PC11 PC12 PD2 - - - - - - - - PA13 - PA14 - PA15 - - - PB7 - PC13 - PC14 - PC15 PA0 PH0 PA1 PH1 PA4 - PB0 "
_CN7 += "PC2 PC1 PC3 PC0"
_CN10 = "PC9 PC8 PB8 PC6 PB9 PC5 - - - - PA5 PA12 PA6 PA11 PA7 PB12 PB6 - PC7 - PA9 PB2 PA8 PB1 PB10 PB15 PB4 PB14 PB5 "
_CN10 += "PB13 PB3 - PA10 PC4 PA2 - PA3 -"


def _nucleo() -> dict[str, str]:
    arduino = {f"P{pin}": label for pin, label in _ports(NUCLEO_L476RG, "DA").items() if not pin.startswith("P")}
    morpho: dict[str, str] = {}
    for connector, pins in (("CN7", _CN7), ("CN10", _CN10)):
        morpho |= {pin: f"{connector}-{n}" for n, pin in enumerate(pins.split(), 1) if pin != "-"}
    return {pin: ", ".join(filter(None, (arduino.get(pin), place))) for pin, place in morpho.items()}


_NODEMCU = _numbers(D0=16, D1=5, D2=4, D3=0, D4=2, D5=14, D6=12, D7=13, D8=15, RX=3, TX=1, SD2=9, SD3=10)
_DEVKIT = {str(n): f"IO{n}" for n in range(34) if n not in range(6, 12)} | {
    **_numbers(VP=36, VN=39, IO34=34, IO35=35, TX=1, RX=3, CLK=6, D0=7, D1=8, D2=9, D3=10, CMD=11)
}
_PLAIN = {str(n): str(n) for n in range(49)}
_FEATHER = _PLAIN | _numbers(A0=26, A1=25, A2=34, A3=39, A4=36, A5=4, SCK=5, MO=19, MI=21, RX=7, TX=8, SDA=22, SCL=20)
_HUZZAH = _PLAIN | _numbers(A0=26, A1=25, A2=34, A3=39, A4=36, A5=4, SCK=5, MO=18, MI=19, RX=16, TX=17, SDA=23, SCL=22)
_PYBOARD = _ports(PYBV11, "XY")

#: The first one of a chip is the usual one.
SILKS = {
    silk.name: silk
    for silk in (
        Silk("nodemcu", "a NodeMCU or D1 mini", ("esp8266",), _NODEMCU),
        Silk("esp32-devkit", "an ESP32-DevKitC", ("esp32",), _DEVKIT),
        Silk("feather-esp32-v2", "a Feather ESP32 V2", ("esp32",), _FEATHER),
        Silk("huzzah32", "a HUZZAH32 Feather", ("esp32",), _HUZZAH),
        Silk("esp32-s3-devkit", "an ESP32-S3-DevKitC-1", ("esp32s3",), _PLAIN | _numbers(TX=43, RX=44)),
        Silk("esp32-c3-devkit", "an ESP32-C3-DevKitM-1", ("esp32c3",), _PLAIN | _numbers(TX=21, RX=20)),
        Silk("pyboard", "a pyboard", ("stm32f405",), _PYBOARD | {f"P{pin}": label for pin, label in _PYBOARD.items()}),
        Silk(
            "nucleo-64",
            "a Nucleo-64",
            ("stm32l476", "stm32f401", "stm32f411", "stm32f446", "stm32g474", "stm32f103"),
            _nucleo(),
        ),
    )
}


def label(chip: str, pin: int | str, silk: str | None = None) -> str:
    """What is printed beside ``pin``: ``D2`` on the board ``silk``, ``D2 on a NodeMCU`` on the chip's usual one; empty
    where that is not known, or is the number itself."""
    chosen = SILKS.get(silk) if silk else next((one for one in SILKS.values() if chip in one.chips), None)
    if chosen is None:
        return ""
    printed = chosen.labels.get(str(pin), "")
    if not printed or printed == str(pin):
        return ""
    return printed if silk else f"{printed} on {chosen.title}"


_PINS = re.compile(r"\b(pins?|GPIO)( ?)(\w+)(?: and (\w+))?\b(?! \()")


def with_labels(text: str, chip: str, silk: str | None = None) -> str:
    """``text`` about pins (``pin 4``, ``pins 18 and 4``, ``GPIO16``) with what is printed beside each."""

    unnamed = [chip]  # the board is named once

    def named(pin: str) -> str:
        printed = label(chip, pin, silk)
        if printed and not unnamed:
            printed = printed.partition(" on ")[0]
        if printed:
            unnamed.clear()
        return f"{pin} ({printed})" if printed else pin

    def told(found: re.Match[str]) -> str:
        word, space, one, other = found.groups()
        if word == "pins" and other is not None:
            return f"pins {named(one)} and {named(other)}"
        return f"{word}{space}{named(one)}{f' and {other}' if other is not None else ''}"

    return _PINS.sub(told, text)
