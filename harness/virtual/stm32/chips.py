"""What tells one virtual STM32 from another: one table entry each.

Flash geometry, option bytes, unique id and flash size: RM0090 (F405) and RM0351 (L476), chapters "Embedded Flash
memory interface" and "Device electronic signature". Device ids and system memory: AN2606. Erase and programming times:
the data sheets' typical values at 3.3 V (DS8626 and DS10198, "Memory characteristics").
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

KB = 1024
FLASH_BASE = 0x0800_0000


@dataclass(frozen=True)
class Stm32Spec:
    """Addresses as the CPU sees them, sizes in bytes, times in seconds.

    ``pages`` are the sizes of what one erase clears, in the order of their numbers; ``banks`` of them have one half
    of the pages each. ``unit`` bytes are programmed at a time, once between two erasures when ``once``. ``erase_s``
    is the time for a page of each size, ``mass_s`` for all of them, ``program_s`` for one unit.
    """

    name: str
    line: str
    """F4 or L4: how its option bytes are laid out."""
    part: str
    device_id: int
    version: int
    """Protocol version of the boot loader as Get tells it, BCD (AN2606)."""
    pages: tuple[int, ...]
    banks: int
    unit: int
    once: bool
    ram: tuple[tuple[int, int], ...]
    system: tuple[int, int]
    uid_at: int
    size_at: int
    option_areas: tuple[tuple[int, int], ...]
    erase_s: dict[int, float]
    mass_s: float
    program_s: float

    @property
    def flash_size(self) -> int:
        return sum(self.pages)

    @property
    def starts(self) -> tuple[int, ...]:
        """The offset in the flash at which each page begins."""
        return (0, *accumulate(self.pages[:-1]))

    @property
    def granule(self) -> int:
        """The size of which all pages are multiples, and at most what the filesystem erases at once."""
        return min(*self.pages, 4 * KB)

    def pages_at(self, offset: int, size: int) -> range:
        """The pages that ``size`` bytes from ``offset`` touch."""
        touched = [
            page
            for page, (start, length) in enumerate(zip(self.starts, self.pages, strict=True))
            if start < offset + size and offset < start + length
        ]
        return range(touched[0], touched[-1] + 1) if touched else range(0)


CHIPS: dict[str, Stm32Spec] = {
    chip.name: chip
    for chip in (
        Stm32Spec(
            name="stm32f405",
            line="F4",
            part="STM32F405RG",
            device_id=0x413,
            version=0x31,
            pages=(*[16 * KB] * 4, 64 * KB, *[128 * KB] * 7),
            banks=1,
            unit=4,
            once=False,
            ram=((0x2000_0000, 128 * KB), (0x1000_0000, 64 * KB)),
            system=(0x1FFF_0000, 32 * KB),
            uid_at=0x1FFF_7A10,
            size_at=0x1FFF_7A22,
            option_areas=((0x1FFF_C000, 16),),
            erase_s={16 * KB: 0.25, 64 * KB: 0.55, 128 * KB: 1.0},
            mass_s=8.0,
            program_s=16e-6,
        ),
        Stm32Spec(
            name="stm32l476",
            line="L4",
            part="STM32L476RG",
            device_id=0x415,
            version=0x31,
            pages=(2 * KB,) * 512,
            banks=2,
            unit=8,
            once=True,
            ram=((0x2000_0000, 96 * KB), (0x1000_0000, 32 * KB)),
            system=(0x1FFF_0000, 32 * KB),
            uid_at=0x1FFF_7590,
            size_at=0x1FFF_75E0,
            option_areas=((0x1FFF_7800, 40), (0x1FFF_F800, 40)),
            erase_s={2 * KB: 0.0220},
            mass_s=0.0221,
            program_s=81.7e-6,
        ),
    )
}
