"""The NOR flash of a virtual board.

The content lives in a shared file mapping, so it survives the process however that ends, as flash does.
"""

from __future__ import annotations

import mmap
from pathlib import Path

from harness.reference.flash.flash_region import SECTOR, UNIT, Region

__all__ = ["SECTOR", "Flash"]


class Flash(Region):
    """``size`` bytes of flash, erased at first; kept in the file ``path`` when given.

    ``sector`` bytes are what an erase is aligned to; with ``once`` a unit of that many bytes can be programmed only
    when it is erased.
    """

    def __init__(self, size: int, path: Path | None = None, *, sector: int = SECTOR, once: int = 0) -> None:
        super().__init__(
            size,
            unit=once or UNIT,
            rewrite=not once,
            sector=sector,
            data=None if path is None else _mapped(path, size, sector),
        )
        #: Bits that read 0 whatever is written: address to mask.
        self.stuck: dict[int, int] = {}

    def read(self, offset: int, size: int) -> bytes:
        data = super().read(offset, size)
        hit = [at for at in self.stuck if offset <= at < offset + size]
        if not hit:
            return data
        changed = bytearray(data)
        for at in hit:
            changed[at - offset] &= ~self.stuck[at] & 0xFF
        return bytes(changed)


def _mapped(path: Path, size: int, sector: int) -> mmap.mmap:
    if size <= 0 or size % sector:  # before a file of that size is made
        raise ValueError(f"flash size must be a multiple of {sector}, came {size}")
    path.parent.mkdir(parents=True, exist_ok=True)
    known = path.stat().st_size if path.exists() else 0
    if known != size:  # new, or a chip of another size was fitted: erased
        path.write_bytes(b"\xff" * size)
    with path.open("r+b") as file:
        return mmap.mmap(file.fileno(), size)
