"""STM32F4: Cortex-M4. Sectors of three sizes, 20 backup registers; F405, F407 and F446 with 4 KB of backup RAM."""

from __future__ import annotations

from harness.chips._stm32_board_pins import NUCLEO_F411RE, PYBV11
from harness.chips._stm32_port import F4_SIGNATURE, stm32_chip, stm32_port
from harness.chips.flash_geometry import Device, FlashGeometry, Geometry
from harness.chips.record import KB
from harness.chips.virtual_parts import Stm32LoaderView, VirtualParts

_DEVICE = Device(Geometry(128 * KB, (*[16 * KB] * 4, 64 * KB), 1024 * KB), *F4_SIGNATURE)
#: The F401 and the F411 lack TIM6 to TIM8 and TIM12 to TIM14.
_FEW_TIMERS = (1, 2, 3, 4, 5, 9, 10, 11)
_ALL_TIMERS = tuple(range(1, 15))
_NO_BACKUP_RAM = {
    "backup_memory": "the port offers machine.mem_backup(0) at the F405's address, where this chip has no backup RAM "
    "(RM0368, RM0383: memory map)"
}

CHIPS = (
    stm32_chip(
        "stm32f401",
        512,
        (0x2000_0000, 96 * KB),
        port=stm32_port(
            "stm32f401",
            since="1.7",
            board="NUCLEO_F401RE",
            clock_mhz=84,
            pyb_timers=_FEW_TIMERS,
            backup_registers=20,
            not_known=_NO_BACKUP_RAM,
        ),
        flash_geometry=FlashGeometry({0x423: _DEVICE, 0x433: _DEVICE}),
    ),
    stm32_chip(
        "stm32f405",
        1024,
        (0x2000_0000, 128 * KB),
        (0x1000_0000, 64 * KB),
        port=stm32_port(
            "stm32f405",
            since="1.0",
            board="PYBV11",
            clock_mhz=168,
            pyb_timers=_ALL_TIMERS,
            uarts=(1, 2, 3, 4, 6),
            backup_registers=20,
            backup_memory=4096,
            board_pins=PYBV11,
        ),
        flash_geometry=FlashGeometry({0x413: _DEVICE}),
        virtual=VirtualParts(
            pace_ns=14,
            heap=103168,  # what ports/stm32/boards/stm32f405.ld leaves after the static data on PYBV11
            board="STM32F405",
            part="STM32F405RG",
            stm32=Stm32LoaderView(
                name="stm32f405",
                line="F4",
                part="STM32F405RG",
                device_id=0x413,
                version=0x31,
                pages=_DEVICE.geometry.pages(1024 * KB),
                banks=1,
                unit=4,
                once=False,
                ram=((0x2000_0000, 128 * KB), (0x1000_0000, 64 * KB)),
                system=(0x1FFF_0000, 32 * KB),
                uid_at=F4_SIGNATURE[0],
                size_at=F4_SIGNATURE[1],
                option_areas=((0x1FFF_C000, 16),),
                erase_s={16 * KB: 0.25, 64 * KB: 0.55, 128 * KB: 1.0},
                mass_s=8.0,
                program_s=16e-6,
            ),
        ),
    ),
    stm32_chip(
        "stm32f407",
        1024,
        (0x2000_0000, 128 * KB),
        (0x1000_0000, 64 * KB),
        port=stm32_port(
            "stm32f407",
            since="1.0",
            board="STM32F4DISC",
            clock_mhz=168,
            pyb_timers=_ALL_TIMERS,
            backup_registers=20,
            backup_memory=4096,
        ),
        flash_geometry=FlashGeometry({0x413: _DEVICE}),
    ),
    stm32_chip(
        "stm32f411",
        512,
        (0x2000_0000, 128 * KB),
        port=stm32_port(
            "stm32f411",
            since="1.7",
            board="NUCLEO_F411RE",
            clock_mhz=96,
            pyb_timers=_FEW_TIMERS,
            backup_registers=20,
            board_pins=NUCLEO_F411RE,
            not_known=_NO_BACKUP_RAM,
        ),
        flash_geometry=FlashGeometry({0x431: _DEVICE}),
        virtual=VirtualParts(
            pace_ns=22,
            heap=86784,  # what ports/stm32/boards/stm32f411.ld leaves after as much static data as on PYBV11
            board="STM32F411",
            part="STM32F411RE",
            stm32=Stm32LoaderView(
                name="stm32f411",
                line="F4",
                part="STM32F411RE",
                device_id=0x431,
                version=0x31,
                pages=_DEVICE.geometry.pages(512 * KB),
                banks=1,
                unit=4,
                once=False,
                ram=((0x2000_0000, 128 * KB),),
                system=(0x1FFF_0000, 32 * KB),
                uid_at=F4_SIGNATURE[0],
                size_at=F4_SIGNATURE[1],
                option_areas=((0x1FFF_C000, 16),),
                erase_s={16 * KB: 0.25, 64 * KB: 0.55, 128 * KB: 1.0},
                mass_s=4.0,
                program_s=16e-6,
            ),
        ),
    ),
    stm32_chip(
        "stm32f446",
        512,
        (0x2000_0000, 128 * KB),
        port=stm32_port(
            "stm32f446",
            since="1.9.1",
            board="NUCLEO_F446RE",
            clock_mhz=168,
            pyb_timers=_ALL_TIMERS,
            backup_registers=20,
            backup_memory=4096,
        ),
        flash_geometry=FlashGeometry({0x421: _DEVICE}),
    ),
)
