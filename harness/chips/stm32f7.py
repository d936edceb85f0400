"""STM32F746: Cortex-M7."""

from __future__ import annotations

from harness.chips._stm32_port import F7_SIGNATURE, stm32_chip, stm32_port
from harness.chips.flash_geometry import Device, FlashGeometry, Geometry
from harness.chips.record import KB

CHIPS = (
    stm32_chip(
        "stm32f746",
        1024,
        (0x2000_0000, 320 * KB),
        port=stm32_port(
            "stm32f746",
            since="1.4.5",
            board="NUCLEO_F746ZG",
            clock_mhz=216,
            pyb_timers=tuple(range(1, 15)),
            backup_registers=32,
            backup_memory=4096,
            pin_ports="ABCDEFGHIJK",
        ),
        flash_geometry=FlashGeometry({0x449: Device(Geometry(256 * KB, (*[32 * KB] * 4, 128 * KB)), *F7_SIGNATURE)}),
    ),
)
