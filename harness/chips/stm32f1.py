"""STM32F103: a Cortex-M3 that boards with other firmware have."""

from __future__ import annotations

from harness.chips._stm32_port import F1_SIGNATURE, stm32_chip
from harness.chips.flash_geometry import Device, FlashGeometry, Geometry
from harness.chips.record import KB

_SMALL = Device(Geometry(1 * KB), *F1_SIGNATURE)
_LARGE = Device(Geometry(2 * KB), *F1_SIGNATURE)

CHIPS = (
    stm32_chip(
        "stm32f103",
        512,
        (0x2000_0000, 64 * KB),
        port_unknown="MicroPython has no port for the STM32F1 (ports/stm32 begins with the F0 and the F4)",
        flash_geometry=FlashGeometry({0x410: _SMALL, 0x412: _SMALL, 0x414: _LARGE, 0x430: _LARGE}),
    ),
)
