"""The option bytes of a virtual STM32: readout and write protection, as they stand in its memory.

RM0090, "Description of the option bytes" (F4: one area, write protection a bit for each sector) and RM0351, same
section (L4: an area for each bank, each word with its complement, write protection as ranges of pages).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from harness.chips import Stm32LoaderView
from harness.virtual.nor_flash import SECTOR, Flash

_LEVEL_0, _LEVEL_2 = 0xAA, 0xCC
_LEVEL_1 = 0x00
#: Where an area stands in the file that keeps them, for each of the areas.
_PITCH = 0x100
_F4_FACTORY = struct.pack("<IIHHI", 0xFFFF_AAEF, 0xFFFF_FFFF, 0xFFFF, 0xFFFF, 0xFFFF_FFFF)
#: FLASH_OPTR and the four write protection words of a bank: a start behind the end protects nothing.
_L4_USER, _L4_NO_WRP = 0xFFEF_F8AA, 0xFF00_FFFF
#: Offsets of WRPxA and WRPxB in a bank's area.
_L4_WRP = (0x18, 0x20)


class Options:
    """The option bytes of one chip. ``store`` keeps them over the process; erased, it gets the factory's.

    Reading and writing take addresses as the CPU sees them. What is written counts from the chip's next reset on a
    real chip, which its boot loader causes at once; here it counts at once.
    """

    def __init__(self, spec: Stm32LoaderView, store: Flash | None = None) -> None:
        self._spec = spec
        self._store = store or Flash(SECTOR)
        if self._store.blank(0, SECTOR):
            for index in range(len(spec.option_areas)):
                self._put(index, self._factory(index))

    def holds(self, address: int, size: int) -> bool:
        """Whether the ``size`` bytes from ``address`` are option bytes."""
        return self._find(address, size) is not None

    def read(self, address: int, size: int) -> bytes:
        place = self._find(address, size)
        if place is None:
            raise ValueError(f"0x{address:08x} holds no option bytes")
        index, at = place
        return self._area(index)[at : at + size]

    def write(self, address: int, data: bytes) -> None:
        """Raises ValueError outside the option bytes."""
        place = self._find(address, len(data))
        if place is None:
            raise ValueError(f"0x{address:08x} holds no option bytes")
        index, at = place
        area = bytearray(self._area(index))
        area[at : at + len(data)] = data
        self._put(index, bytes(area))

    # -- readout protection ----------------------------------------------------------------------

    @property
    def level(self) -> int:
        """0 open, 1 readout refused, 2 for ever (no boot loader, no way back)."""
        value = self._area(0)[self._rdp_at]
        return {_LEVEL_0: 0, _LEVEL_2: 2}.get(value, 1)

    def protect_readout(self) -> None:
        self._set_rdp(_LEVEL_1)

    def unprotect_readout(self) -> None:
        """Level 0 again. The chip erases its flash before it does this: that is the caller's part."""
        self._set_rdp(_LEVEL_0)

    @property
    def _rdp_at(self) -> int:
        return 1 if self._spec.line == "F4" else 0

    def _set_rdp(self, value: int) -> None:
        area = bytearray(self._area(0))
        area[self._rdp_at] = value
        if self._spec.line == "L4":
            area[4] = value ^ 0xFF
        self._put(0, bytes(area))

    # -- write protection ------------------------------------------------------------------------

    def protected(self, page: int) -> bool:
        if self._spec.line == "F4":
            return not int.from_bytes(self._area(0)[8:10], "little") >> page & 1
        per_bank = len(self._spec.pages) // self._spec.banks
        area = self._area(page // per_bank)
        return any(area[at] <= page % per_bank <= area[at + 2] for at in _L4_WRP)

    def protect(self, pages: Iterable[int]) -> None:
        """Protect these pages against writing. On an L4 the range from the first to the last of them in each bank.

        Raises ValueError for a page that the chip has not.
        """
        wanted = sorted(set(pages))
        if not wanted or wanted[-1] >= len(self._spec.pages):
            raise ValueError("no such page")
        if self._spec.line == "F4":
            area = bytearray(self._area(0))
            bits = int.from_bytes(area[8:10], "little") & ~sum(1 << page for page in wanted)
            area[8:10] = bits.to_bytes(2, "little")
            self._put(0, bytes(area))
            return
        per_bank = len(self._spec.pages) // self._spec.banks
        for bank in range(self._spec.banks):
            here = [page % per_bank for page in wanted if page // per_bank == bank]
            if here:
                self._put_l4_word(bank, _L4_WRP[0], 0xFF00_FF00 | here[0] | here[-1] << 16)

    def unprotect(self) -> None:
        """Take away all write protection."""
        if self._spec.line == "F4":
            area = bytearray(self._area(0))
            area[8:10] = b"\xff\xff"
            self._put(0, bytes(area))
            return
        for bank in range(self._spec.banks):
            for at in _L4_WRP:
                self._put_l4_word(bank, at, _L4_NO_WRP)

    # -- bytes -----------------------------------------------------------------------------------

    def _factory(self, index: int) -> bytes:
        if self._spec.line == "F4":
            return _F4_FACTORY
        words = [0xFFFF_FFFF] * 5
        words[3] = words[4] = _L4_NO_WRP
        if index == 0:
            words[0] = _L4_USER
        return b"".join(struct.pack("<II", word, word ^ 0xFFFF_FFFF) for word in words)

    def _put_l4_word(self, index: int, at: int, word: int) -> None:
        area = bytearray(self._area(index))
        area[at : at + 8] = struct.pack("<II", word, word ^ 0xFFFF_FFFF)
        self._put(index, bytes(area))

    def _find(self, address: int, size: int) -> tuple[int, int] | None:
        for index, (start, length) in enumerate(self._spec.option_areas):
            if start <= address and address + size <= start + length:
                return index, address - start
        return None

    def _area(self, index: int) -> bytes:
        return self._store.read(index * _PITCH, self._spec.option_areas[index][1])

    def _put(self, index: int, area: bytes) -> None:
        content = bytearray(self._store.read(0, SECTOR))
        content[index * _PITCH : index * _PITCH + len(area)] = area
        self._store.erase(0, SECTOR)
        self._store.program(0, bytes(content))
