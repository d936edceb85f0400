"""NOR flash: programming clears bits, erasing a sector sets them, and the power may fail at any step.

The smallest thing that a power cut can tear is one *step*: the programming of one write unit or the erasing of one
sector. A region counts its steps and the erasures and programmings of each sector (wear), and
:meth:`Region.cut_power` makes the power fail at the step of one's choice.

Write units as MicroPython's ports give them (``rom_ioctl``): 4 bytes on the ESP8266, 16 in the STM32's internal flash.
On an STM32L4 eight bytes share an ECC and can be programmed once between two erasures (RM0351): ``rewrite=False``.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from mmap import mmap

SECTOR = 4096
#: Bytes of a write unit: a multiple of every supported port's.
UNIT = 16


class PowerCut(Exception):
    """The power failed during an operation. The region answers again after :meth:`Region.power_on`."""


class Region:
    """``size`` bytes of flash, erased unless ``data`` (its content, kept by the caller) says otherwise.

    Raises ValueError for a size that is not a whole number of sectors.
    """

    def __init__(
        self,
        size: int,
        *,
        unit: int = UNIT,
        rewrite: bool = True,
        sector: int = SECTOR,
        data: bytearray | mmap | None = None,
    ) -> None:
        if size <= 0 or sector <= 0 or size % sector:
            raise ValueError(f"flash size must be a multiple of {sector}, came {size}")
        if unit <= 0 or sector % unit:
            raise ValueError(f"a write unit must divide a sector of {sector} bytes, came {unit}")
        self.size = size
        self.unit = unit
        self.sector = sector
        #: Times each sector was erased, and write units programmed in each.
        self.erasures = [0] * (size // sector)
        self.programmings = [0] * (size // sector)
        #: Steps done since the region was made.
        self.steps = 0
        self._rewrite = rewrite
        self._data = bytearray(b"\xff" * size) if data is None else data
        self._lock = threading.RLock()
        self._cut_at: int | None = None
        self._tear = random.Random(0)
        self._powered = True

    def read(self, offset: int, size: int) -> bytes:
        with self._lock:
            self._check(offset, size)
            return bytes(self._data[offset : offset + size])

    def blank(self, offset: int, size: int) -> bool:
        """Every bit reads 1."""
        return self.read(offset, size).count(0xFF) == size

    def program(self, offset: int, data: bytes) -> None:
        """Clear the bits that are 0 in ``data``; bits that are 0 already stay so.

        Raises ValueError outside the region, and for a unit that holds something when it may be programmed once.
        """
        with self._lock:
            self._check(offset, len(data))
            if not self._rewrite:
                self._check_once(offset, len(data))
            if self._cut_at is None:
                self._clear(offset, data)
                self.steps += self._unit_count(offset, offset + len(data))
                return
            for start, end in self._units(offset, len(data)):
                piece = data[start - offset : end - offset]
                if self._is_cut():
                    self._clear(start, bytes(byte | self._tear.getrandbits(8) for byte in piece))
                    self._lose_power()
                self._clear(start, piece)
                self.steps += 1

    def erase(self, offset: int, size: int) -> None:
        """Set all bits of whole sectors. Raises ValueError when not aligned to them."""
        with self._lock:
            self._check(offset, size)
            if offset % self.sector or size % self.sector:
                raise ValueError(f"erase of 0x{offset:x}+0x{size:x} is not aligned to sectors of {self.sector}")
            for start in range(offset, offset + size, self.sector):
                self.erasures[start // self.sector] += 1
                if self._is_cut():
                    old = int.from_bytes(self._data[start : start + self.sector], "little")
                    torn = old | self._tear.getrandbits(8 * self.sector)
                    self._data[start : start + self.sector] = torn.to_bytes(self.sector, "little")
                    self._lose_power()
                self._data[start : start + self.sector] = b"\xff" * self.sector
                self.steps += 1

    def cut_power(self, after: int, *, seed: int = 0) -> None:
        """Fail after ``after`` more steps, in the middle of the next one: some of its bits have changed by then.

        Which ones ``seed`` decides.
        """
        self._cut_at = self.steps + after
        self._tear = random.Random(seed)

    def power_on(self) -> None:
        """The power is back, or the cut that was asked for is called off."""
        self._powered = True
        self._cut_at = None

    def _is_cut(self) -> bool:
        return self._cut_at is not None and self.steps >= self._cut_at

    def _lose_power(self) -> None:
        self._powered = False
        raise PowerCut(f"the power failed at step {self.steps}")

    def _units(self, offset: int, size: int) -> Iterator[tuple[int, int]]:
        """Start and end of the part in each write unit."""
        end = offset + size
        while offset < end:
            stop = min(end, offset - offset % self.unit + self.unit)
            yield offset, stop
            offset = stop

    def _unit_count(self, start: int, end: int) -> int:
        return -(-end // self.unit) - start // self.unit if end > start else 0

    def _clear(self, offset: int, data: bytes) -> None:
        end = offset + len(data)
        for sector in range(offset // self.sector, -(-end // self.sector)):
            first, last = max(offset, sector * self.sector), min(end, (sector + 1) * self.sector)
            self.programmings[sector] += self._unit_count(first, last)
        old = self._data[offset : offset + len(data)]
        if old.count(0xFF) != len(data):
            both = int.from_bytes(old, "little") & int.from_bytes(data, "little")
            data = both.to_bytes(len(data), "little")
        self._data[offset : offset + len(data)] = data

    def _check(self, offset: int, size: int) -> None:
        if not self._powered:
            raise PowerCut("the flash has no power")
        if offset < 0 or size < 0 or offset + size > self.size:
            raise ValueError(f"0x{offset:x}+0x{size:x} is outside the flash of 0x{self.size:x} bytes")

    def _check_once(self, offset: int, size: int) -> None:
        start = offset - offset % self.unit
        end = -(-(offset + size) // self.unit) * self.unit
        if bytes(self._data[start:end]).count(0xFF) != end - start:
            raise ValueError(f"0x{offset:x}+0x{size:x} was programmed already; this flash takes each unit once")
