"""STM32WB55: Cortex-M4 beside a radio's Cortex-M0+. Four timers; an RTC that tells microseconds."""

from __future__ import annotations

from harness.chips._stm32_port import L4_SIGNATURE, stm32_chip, stm32_port
from harness.chips.flash_geometry import Device, FlashGeometry, Geometry
from harness.chips.record import KB

CHIPS = (
    stm32_chip(
        "stm32wb55",
        1024,
        (0x2000_0000, 256 * KB),
        port=stm32_port(
            "stm32wb55",
            since="1.12",
            board="NUCLEO_WB55",
            clock_mhz=64,
            pyb_timers=(1, 2, 16, 17),
            bus_dividers=(1, 1, 1),
            backup_registers=20,
            rtc_fraction=1_000_000,
            sources=("ports/stm32/boards/NUCLEO_WB55 and USBDONGLE_WB55 (MICROPY_HW_RTC_USE_US)",),
        ),
        flash_geometry=FlashGeometry({0x495: Device(Geometry(4 * KB), *L4_SIGNATURE)}),
    ),
)
