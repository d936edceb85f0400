"""NOR flash: writing clears bits, erasing a sector sets them.

The content lives in a shared file mapping, so it survives the process however that ends, as flash does.
"""

from __future__ import annotations

import mmap
import threading
from pathlib import Path

SECTOR = 4096


class Flash:
    """``size`` bytes of flash, erased at first; kept in the file ``path`` when given."""

    def __init__(self, size: int, path: Path | None = None) -> None:
        if size % SECTOR:
            raise ValueError(f"flash size must be a multiple of {SECTOR}, came {size}")
        self.size = size
        self._lock = threading.RLock()
        self._data: bytearray | mmap.mmap
        if path is None:
            self._data = bytearray(b"\xff" * size)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        known = path.stat().st_size if path.exists() else 0
        if known != size:  # new, or a chip of another size was fitted: erased
            path.write_bytes(b"\xff" * size)
        with path.open("r+b") as file:
            self._data = mmap.mmap(file.fileno(), size)

    def _check(self, offset: int, size: int) -> None:
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"0x{offset:x}+0x{size:x} is outside the flash of 0x{self.size:x} bytes")

    def read(self, offset: int, size: int) -> bytes:
        self._check(offset, size)
        with self._lock:
            return bytes(self._data[offset : offset + size])

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits that are 0 in ``data``."""
        self._check(offset, len(data))
        with self._lock:
            old = self._data[offset : offset + len(data)]
            if old.count(0xFF) != len(data):
                both = int.from_bytes(old, "little") & int.from_bytes(data, "little")
                data = both.to_bytes(len(data), "little")
            self._data[offset : offset + len(data)] = data

    def erase(self, offset: int, size: int) -> None:
        """Set all bits of whole sectors. Raises ValueError when not aligned to them."""
        self._check(offset, size)
        if offset % SECTOR or size % SECTOR:
            raise ValueError(f"erase of 0x{offset:x}+0x{size:x} is not aligned to sectors of {SECTOR}")
        with self._lock:
            self._data[offset : offset + size] = b"\xff" * size
