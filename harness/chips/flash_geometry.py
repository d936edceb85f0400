"""How the flash of an STM32 is cut, and by which device ids the chip is told.

Device ids: AN2606, "Device-dependent boot loader parameters". Geometry and addresses: the reference manuals' chapters
"Embedded Flash memory" and "Device electronic signature".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Geometry:
    """Sizes of what one erase clears, in bytes: in each bank those of ``first``, then as many of ``rest`` as fit.

    ``bank`` is the size of the largest bank; None: the whole flash is one.
    """

    rest: int
    first: tuple[int, ...] = ()
    bank: int | None = None

    def pages(self, flash: int) -> tuple[int, ...]:
        """The sizes of all pages of a flash with ``flash`` bytes, in the order of their numbers."""
        bank = min(flash, self.bank or flash)
        sizes = (*self.first, *[self.rest] * ((bank - sum(self.first)) // self.rest))
        return sizes * (flash // bank)


@dataclass(frozen=True)
class Device:
    """One device id. ``uid_at`` and ``size_at`` are addresses: 12 bytes, and 16 bits of kilobytes."""

    geometry: Geometry
    uid_at: int
    size_at: int


@dataclass(frozen=True)
class FlashGeometry:
    """The devices that boards with a chip may carry, by device id; ``debug_id_at``: address of DBGMCU_IDCODE."""

    devices: Mapping[int, Device]
    debug_id_at: int = 0xE004_2000
