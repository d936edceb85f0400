"""STM32G474: Cortex-M4. Its backup registers are TAMP's, not the RTC's."""

from __future__ import annotations

from harness.chips._stm32_port import L4_SIGNATURE, stm32_chip, stm32_port
from harness.chips.flash_geometry import Device, FlashGeometry, Geometry
from harness.chips.record import KB

CHIPS = (
    stm32_chip(
        "stm32g474",
        512,
        (0x2000_0000, 128 * KB),
        (0x1000_0000, 32 * KB),
        port=stm32_port(
            "stm32g474",
            since="1.19",
            board="NUCLEO_G474RE",
            clock_mhz=170,
            pyb_timers=(1, 2, 3, 4, 5, 6, 7, 8, 15, 16, 17, 20),
            bus_dividers=(1, 1, 1),
            backup_registers=32,
            backup_registers_at=0x4000_2500,
            backup_block="TAMP",
            not_known={
                "deep sleep": "machine_init does not look at the G4's standby flag: the cause is what the flags of "
                "the RCC are after Standby"
            },
        ),
        flash_geometry=FlashGeometry({0x469: Device(Geometry(2 * KB), *L4_SIGNATURE)}),
    ),
)
