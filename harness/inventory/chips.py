"""The chips a board can have: where they boot from, and the addresses an image for them may name.

ESP image chip ids, bootloader offsets and flash windows: ESP-IDF Programming Guide, "Application
Startup Flow" and "Memory Types", and esptool documentation, "Firmware Image Format". STM32 flash and
RAM: memory map chapters of the reference manuals RM0008 to RM0433, for the largest part of each line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KB = 1024
MB = 1024 * 1024

Family = Literal["esp8266", "esp32", "stm32", "generic"]

#: A board of which nothing is known but what its VM says: never written to, and asked what it can do.
GENERIC = "generic"


@dataclass(frozen=True)
class Chip:
    """One chip. Addresses and sizes in bytes; a range is (first address, size).

    ``boot_offset`` is where the first image goes: a flash offset on ESP chips, an address on STM32.
    ``image_id`` is the chip id in the extended header of an ESP32-family image.
    ``flash_map`` are the addresses at which flash is seen by the CPU.
    """

    name: str
    family: Family
    boot_offset: int
    flash_map: tuple[tuple[int, int], ...]
    ram: tuple[tuple[int, int], ...] = ()
    image_id: int | None = None

    @property
    def flash_size(self) -> int | None:
        """The internal flash in bytes; None where the flash is a chip of its own (ESP)."""
        return self.flash_map[0][1] if self.family == "stm32" else None

    def in_flash(self, address: int) -> bool:
        return any(start <= address < start + size for start, size in self.flash_map)


def _esp(name: str, image_id: int, boot_offset: int, *flash_map: tuple[int, int]) -> Chip:
    return Chip(name, "esp32", boot_offset, flash_map, image_id=image_id)


def _stm(name: str, flash: int, *ram: tuple[int, int]) -> Chip:
    return Chip(name, "stm32", STM32_FLASH_BASE, ((STM32_FLASH_BASE, flash),), ram)


STM32_FLASH_BASE = 0x0800_0000

CHIPS: dict[str, Chip] = {
    chip.name: chip
    for chip in (
        Chip(GENERIC, "generic", 0x0, ()),
        Chip("esp8266", "esp8266", 0x0, ((0x4020_0000, 1 * MB),)),
        _esp("esp32", 0, 0x1000, (0x3F40_0000, 4 * MB), (0x400D_0000, 0x33_0000)),
        _esp("esp32s2", 2, 0x1000, (0x3F00_0000, 0x3F_0000), (0x4008_0000, 0xB0_0000)),
        _esp("esp32c3", 5, 0x0, (0x3C00_0000, 8 * MB), (0x4200_0000, 8 * MB)),
        _esp("esp32s3", 9, 0x0, (0x3C00_0000, 32 * MB), (0x4200_0000, 32 * MB)),
        _esp("esp32c2", 12, 0x0, (0x3C00_0000, 4 * MB), (0x4200_0000, 4 * MB)),
        _esp("esp32c6", 13, 0x0, (0x4200_0000, 16 * MB)),
        _esp("esp32h2", 16, 0x0, (0x4200_0000, 16 * MB)),
        _esp("esp32p4", 18, 0x2000, (0x4000_0000, 192 * MB)),
        _esp("esp32c5", 23, 0x2000, (0x4200_0000, 32 * MB)),
        _stm("stm32f103", 512 * KB, (0x2000_0000, 64 * KB)),
        _stm("stm32f401", 512 * KB, (0x2000_0000, 96 * KB)),
        _stm("stm32f405", 1 * MB, (0x2000_0000, 128 * KB), (0x1000_0000, 64 * KB)),
        _stm("stm32f407", 1 * MB, (0x2000_0000, 128 * KB), (0x1000_0000, 64 * KB)),
        _stm("stm32f411", 512 * KB, (0x2000_0000, 128 * KB)),
        _stm("stm32f446", 512 * KB, (0x2000_0000, 128 * KB)),
        _stm("stm32f746", 1 * MB, (0x2000_0000, 320 * KB)),
        _stm("stm32g474", 512 * KB, (0x2000_0000, 128 * KB), (0x1000_0000, 32 * KB)),
        _stm("stm32h743", 2 * MB, (0x2000_0000, 128 * KB), (0x2400_0000, 512 * KB), (0x3000_0000, 288 * KB)),
        _stm("stm32l432", 256 * KB, (0x2000_0000, 64 * KB), (0x1000_0000, 16 * KB)),
        _stm("stm32l476", 1 * MB, (0x2000_0000, 96 * KB), (0x1000_0000, 32 * KB)),
        _stm("stm32wb55", 1 * MB, (0x2000_0000, 256 * KB)),
    )
}

BY_IMAGE_ID: dict[int, Chip] = {c.image_id: c for c in CHIPS.values() if c.image_id is not None}
