"""STM32H743: Cortex-M7."""

from __future__ import annotations

from harness.chips._stm32_port import H7_SIGNATURE, stm32_chip, stm32_port
from harness.chips.flash_geometry import Device, FlashGeometry, Geometry
from harness.chips.manners import ARMV7EM_DOUBLE
from harness.chips.record import KB

CHIPS = (
    stm32_chip(
        "stm32h743",
        2048,
        (0x2000_0000, 128 * KB),
        (0x2400_0000, 512 * KB),
        (0x3000_0000, 288 * KB),
        port=stm32_port(
            "stm32h743",
            since="1.9.4",
            board="NUCLEO_H743ZI",
            clock_mhz=400,
            pyb_timers=(*range(1, 9), *range(12, 18)),
            arch=ARMV7EM_DOUBLE,
            bus_dividers=(2, 2, 2),
            backup_registers=32,
            backup_memory=4096,
            backup_registers_at=0x5800_4050,
            pin_ports="ABCDEFGHIJK",
        ),
        flash_geometry=FlashGeometry({0x450: Device(Geometry(128 * KB), *H7_SIGNATURE)}, debug_id_at=0x5C00_1000),
    ),
)
