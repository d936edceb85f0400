"""What must be erased and written on an STM32: a pure comparison of the images with what the flash holds.

Erasing clears whole sectors, so what else stands in one is read before and written back; what stands behind an image
in the room that is its own is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from harness.errors import UsageError
from harness.flashing.flasher import FlashImage
from harness.flashing.stm32_sectors import Sector

#: Reads ``size`` bytes at an address.
Read = Callable[[int, int], bytes]
#: What a boot loader takes at once, and what is left out where it would only write 0xFF.
CHUNK = 256


@dataclass(frozen=True)
class Stm32Plan:
    """``erase`` are the sectors to be erased, ``write`` (address, bytes) in order; ``unchanged`` bytes are there."""

    erase: tuple[Sector, ...]
    write: tuple[tuple[int, bytes], ...]
    unchanged: int

    @cached_property
    def size(self) -> int:
        return sum(len(data) for _, data in self.write)


def check_places(images: Sequence[FlashImage], sectors: Sequence[Sector]) -> None:
    """Raises UsageError for an image outside the flash or on another one. Nothing has been read yet."""
    end, before = 0, ""
    first, last = sectors[0].address, sectors[-1].end
    for image in sorted(images, key=lambda one: one.offset):
        stop = image.offset + len(image.data)
        if image.offset < first or stop > last:
            raise UsageError(
                f"{image.label} needs 0x{image.offset:08x} to 0x{stop:08x}, this chip's flash is "
                f"0x{first:08x} to 0x{last:08x} ({(last - first) // 1024} KB)",
                hint="use an image for this chip; nothing was erased",
            )
        if image.offset % 8:
            raise UsageError(
                f"{image.label} is to be written to 0x{image.offset:08x}, inside a double word",
                hint="addresses are multiples of 8; nothing was erased",
            )
        if image.offset < end:
            raise UsageError(
                f"{image.label} at 0x{image.offset:08x} would overwrite the end of {before}",
                hint="correct the offsets in boards.yaml; nothing was erased",
            )
        end, before = stop, image.label


def make_plan(
    images: Sequence[FlashImage],
    sectors: Sequence[Sector],
    read: Read,
    *,
    always_erase: bool = False,
    piece: int = 1 << 30,
) -> Stm32Plan:
    """Compare sector by sector. ``images`` have passed :func:`check_places`.

    ``always_erase``: what writes erases each sector that it touches, blank or not. ``piece`` bytes are read at a time,
    and no more of a sector than tells that it must be erased.
    """
    erase: list[Sector] = []
    write: list[tuple[int, bytes]] = []
    unchanged = 0
    for sector in sectors:
        parts = [_within(image, sector) for image in images]
        wanted = [(address, data) for address, data in parts if data]
        regions = [_compare(address, data, read, piece) for address, data in wanted]
        if all(same for same, _ in regions):
            unchanged += sum(len(data) for _, data in wanted)
        elif not always_erase and all(blank for _, blank in regions):
            write += wanted  # blank where it matters: nothing to erase, nothing to keep
        else:
            own = [(image.offset, image.offset + max(len(image.data), image.room)) for image in images]
            content = bytearray(_around(sector, own, read))
            for address, data in wanted:
                content[address - sector.address : address - sector.address + len(data)] = data
            erase.append(sector)
            write.append((sector.address, bytes(content)))
    return Stm32Plan(tuple(erase), tuple(_chunks(write)), unchanged)


def _compare(address: int, data: bytes, read: Read, piece: int) -> tuple[bool, bool]:
    """Whether the flash holds ``data`` there, and whether it is blank; ends when it is neither."""
    same = blank = True
    for at in range(0, len(data), piece):
        wanted = data[at : at + piece]
        there = read(address + at, len(wanted))
        same = same and there == wanted
        blank = blank and there.count(0xFF) == len(there)
        if not same and not blank:
            break
    return same, blank


def _within(image: FlashImage, sector: Sector) -> tuple[int, bytes]:
    start = max(image.offset, sector.address)
    stop = min(image.offset + len(image.data), sector.end)
    return start, image.data[start - image.offset : stop - image.offset] if start < stop else b""


def _around(sector: Sector, own: Sequence[tuple[int, int]], read: Read) -> bytes:
    """The sector as it is now, where no image has its place (``own``: begin and end of each); 0xFF elsewhere."""
    content = bytearray(b"\xff" * sector.size)
    at = sector.address
    for start, stop in [*sorted(own), (sector.end, sector.end)]:
        before = min(start, sector.end)
        if at < before:
            content[at - sector.address : before - sector.address] = read(at, before - at)
        at = max(at, stop)
    return bytes(content)


def _chunks(writes: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    chunks = []
    for address, data in writes:
        data += b"\xff" * (-len(data) % 8)
        for at in range(0, len(data), CHUNK):
            piece = data[at : at + CHUNK]
            if piece.count(0xFF) != len(piece):
                chunks.append((address + at, piece))
    return chunks
