"""An image in flash that is replaced as a whole or not at all, whenever the power fails.

A part of a region is divided into slots. An update erases a slot that does not hold the current image, programs the
new image behind the slot's header, and the header last. The header carries a sequence number and two checksums, so a
slot counts only if both its parts are whole, and the highest number is the current image. Slots are taken in turn,
which spreads the wear over them.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from harness.errors import UsageError
from harness.reference.flash.flash_region import SECTOR, Region

_MAGIC = b"VMIM"
_HEADER = struct.Struct("<4sQIII")  # magic, sequence, length, checksum of the image, checksum of the words before
_PREFIX = struct.Struct("<4sQII")


@dataclass(frozen=True)
class Stored:
    """An image that is whole: its slot, sequence number, and where it lies in the region (bytes)."""

    slot: int
    sequence: int
    offset: int
    size: int


class ImageStore:
    """``slots`` slots in the ``size`` bytes of ``region`` from ``offset``.

    Raises ValueError for fewer than two slots, or slots that are not whole sectors.
    """

    def __init__(self, region: Region, *, offset: int = 0, size: int | None = None, slots: int = 2) -> None:
        size = region.size - offset if size is None else size
        if slots < 2:
            raise ValueError("an image can be replaced safely only with two slots or more")
        if offset % SECTOR or size <= 0 or size % (slots * SECTOR) or offset + size > region.size:
            raise ValueError(f"{slots} slots of whole sectors do not fit 0x{offset:x}+0x{size:x}")
        self._region = region
        self._offset = offset
        self._slot_size = size // slots
        self._slots = slots
        self._image_at = -(-_HEADER.size // region.unit) * region.unit

    @property
    def capacity(self) -> int:
        """The largest image, in bytes."""
        return self._slot_size - self._image_at

    @property
    def current(self) -> Stored | None:
        """The newest whole image; None when there is none."""
        whole = [stored for slot in range(self._slots) if (stored := self._look(slot))]
        return max(whole, key=lambda stored: stored.sequence, default=None)

    def read(self) -> bytes | None:
        """The current image's bytes."""
        stored = self.current
        return None if stored is None else self._region.read(stored.offset, stored.size)

    def update(self, image: bytes) -> Stored:
        """Replace the current image. Raises UsageError for one that is too large."""
        if len(image) > self.capacity:
            raise UsageError(
                f"the image has {len(image)} bytes; a slot holds {self.capacity}",
                hint="make the image smaller, or give the region fewer and larger slots",
            )
        current = self.current
        slot = (current.slot + 1) % self._slots if current else 0
        sequence = current.sequence + 1 if current else 1
        start = self._start(slot)
        used = self._image_at + len(image)
        self._region.erase(start, -(-used // SECTOR) * SECTOR)
        self._region.program(start + self._image_at, image)
        prefix = _PREFIX.pack(_MAGIC, sequence, len(image), zlib.crc32(image))
        self._region.program(start, prefix + struct.pack("<I", zlib.crc32(prefix)))
        return Stored(slot, sequence, start + self._image_at, len(image))

    def _start(self, slot: int) -> int:
        return self._offset + slot * self._slot_size

    def _look(self, slot: int) -> Stored | None:
        start = self._start(slot)
        header = self._region.read(start, _HEADER.size)
        magic, sequence, length, checksum, header_checksum = _HEADER.unpack(header)
        if magic != _MAGIC or header_checksum != zlib.crc32(header[: _PREFIX.size]) or length > self.capacity:
            return None
        image = self._region.read(start + self._image_at, length)
        return Stored(slot, sequence, start + self._image_at, length) if zlib.crc32(image) == checksum else None
