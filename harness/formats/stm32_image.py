"""Raw STM32 images: no container, so the vector table is all there is to check.

The first word is the initial stack pointer, the second the reset vector with bit 0 set for Thumb:
ARMv7-M Architecture Reference Manual, B1.5.3 "The vector table".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.chips import CHIPS, STM32_FLASH_BASE, Chip
from harness.formats.esp_image import ImageError

_LARGEST_FLASH = 2 * 1024 * 1024
_RAM_WINDOWS = (
    (0x1000_0000, 0x10000),
    (0x2000_0000, 0x8_0000),
    (0x2400_0000, 0x10_0000),
    (0x3000_0000, 0x4_8000),
)


@dataclass(frozen=True)
class Vectors:
    """``stack`` is the initial stack pointer, ``reset`` the entry address with its Thumb bit."""

    stack: int
    reset: int


def parse_vectors(data: bytes, *, chip: str | None = None) -> Vectors:
    """The vector table at ``data[0]``, checked against the memory of ``chip`` (None: of any STM32).

    Raises :class:`ImageError` when the stack pointer is not in RAM or not a multiple of 4, or the
    reset vector is not an odd address in the flash.
    """
    if len(data) < 8:
        raise ImageError(f"STM32 image: expected a vector table, found only {len(data)} bytes")
    stack, reset = struct.unpack_from("<II", data)
    known: Chip | None = CHIPS[chip] if chip else None
    ram = known.ram if known else _RAM_WINDOWS
    flash_size = (known.flash_size if known else None) or _LARGEST_FLASH
    whose = f"of the {chip}" if chip else "of any known STM32"
    # The stack grows down, so the pointer may stand one past the last byte of the RAM.
    if stack % 4 or not any(start < stack <= start + size for start, size in ram):
        where = ", ".join(f"0x{start:08x}..0x{start + size:08x}" for start, size in ram)
        raise ImageError(f"STM32 image: initial stack pointer 0x{stack:08x} is not in the RAM {whose} ({where})")
    if not reset & 1 or not STM32_FLASH_BASE <= reset < STM32_FLASH_BASE + flash_size:
        raise ImageError(
            f"STM32 image: reset vector 0x{reset:08x} is not an odd address in the flash {whose} "
            f"(0x{STM32_FLASH_BASE:08x}, {flash_size // 1024} KB)"
        )
    return Vectors(stack, reset)
