"""STM32L4: Cortex-M4 with little current. Pages of 2 KB, 32 backup registers, no backup RAM."""

from __future__ import annotations

from harness.chips._stm32_board_pins import NUCLEO_L476RG
from harness.chips._stm32_port import L4_SIGNATURE, stm32_chip, stm32_port
from harness.chips.flash_geometry import Device, FlashGeometry, Geometry
from harness.chips.record import KB
from harness.chips.virtual_parts import Stm32LoaderView, VirtualParts

_DEVICE = Device(Geometry(2 * KB), *L4_SIGNATURE)

CHIPS = (
    stm32_chip(
        "stm32l432",
        256,
        (0x2000_0000, 64 * KB),
        (0x1000_0000, 16 * KB),
        port=stm32_port(
            "stm32l432",
            since="1.10",
            board="NUCLEO_L432KC",
            clock_mhz=32,
            pyb_timers=(1, 2, 6, 7, 15, 16),
            backup_registers=32,
            bus_dividers=(1, 1, 1),
            frequency_fixed=True,
        ),
        flash_geometry=FlashGeometry({0x435: _DEVICE}),
    ),
    stm32_chip(
        "stm32l476",
        1024,
        (0x2000_0000, 96 * KB),
        (0x1000_0000, 32 * KB),
        port=stm32_port(
            "stm32l476",
            since="1.8",
            board="NUCLEO_L476RG",
            clock_mhz=80,
            pyb_timers=(*range(1, 9), 15, 16, 17),
            backup_registers=32,
            bus_dividers=(1, 1, 1),
            frequency_fixed=True,
            board_pins=NUCLEO_L476RG,
        ),
        flash_geometry=FlashGeometry({0x415: _DEVICE}),
        virtual=VirtualParts(
            pace_ns=30,
            heap=86016,  # what ports/stm32/boards/stm32l476xg.ld leaves after the static data on NUCLEO_L476RG
            board="STM32L476",
            part="STM32L476RG",
            stm32=Stm32LoaderView(
                name="stm32l476",
                line="L4",
                part="STM32L476RG",
                device_id=0x415,
                version=0x31,
                pages=_DEVICE.geometry.pages(1024 * KB),
                banks=2,
                unit=8,
                once=True,
                ram=((0x2000_0000, 96 * KB), (0x1000_0000, 32 * KB)),
                system=(0x1FFF_0000, 32 * KB),
                uid_at=L4_SIGNATURE[0],
                size_at=L4_SIGNATURE[1],
                option_areas=((0x1FFF_7800, 40), (0x1FFF_F800, 40)),
                erase_s={2 * KB: 0.0220},
                mass_s=0.0221,
                program_s=81.7e-6,
            ),
        ),
    ),
)
