"""What the port's own boards call the pins of an STM32 (``ports/stm32/boards/*/pins.csv``)."""

from __future__ import annotations


def _numbered(letter: str, first: int, pins: str) -> dict[str, str]:
    return {f"{letter}{first + n}": pin for n, pin in enumerate(pins.split())}


PYBV11 = {
    **_numbered("X", 1, "A0 A1 A2 A3 A4 A5 A6 A7 B6 B7 C4 C5"),
    **_numbered("X", 17, "B3 C13 C0 C1 C2 C3"),
    **_numbered("Y", 1, "C6 C7 B8 B9 B12 B13 B14 B15 B10 B11 B0 B1"),
    **{"SW": "B3", "LED_RED": "A13", "LED_GREEN": "A14", "LED_YELLOW": "A15", "LED_BLUE": "B4"},
    **{"MMA_INT": "B2", "MMA_AVDD": "B5", "SD_D0": "C8", "SD_D1": "C9", "SD_D2": "C10", "SD_D3": "C11"},
    **{"SD_CMD": "D2", "SD_CK": "C12", "SD": "A8", "SD_SW": "A8"},
    **{"USB_VBUS": "A9", "USB_ID": "A10", "USB_DM": "A11", "USB_DP": "A12"},
}
_L476_PINS = [
    *(f"A{n}" for n in (*range(13), 15)),
    *(f"{port}{n}" for port in "BC" for n in range(16)),
    *("D2", "H0", "H1"),
]
NUCLEO_L476RG = {
    **{f"P{pin}": pin for pin in _L476_PINS},
    # The Arduino connector's names; some of them are the chip's names of other pins.
    **_numbered("D", 0, "A3 A2 A10 B3 B5 B4 B10 A8 A9 C7 B6 A7 A6 A5 B9 B8"),
    **_numbered("A", 0, "A0 A1 A4 B0 C1 C0"),
    **{"LED_GREEN": "A5", "LED_ORANGE": "A5", "LED_RED": "A5", "LED_BLUE": "A4", "SW": "C13"},
}
#: As on the other Nucleo of 64 pins, whose chip has a PB11 as well.
NUCLEO_F411RE = {name: pin for name, pin in NUCLEO_L476RG.items() if name != "PB11"}
