"""The USB side of an STM32's system-memory boot loader (AN3156, DfuSe), without the USB: what a host may ask of it.

There is no USB bus here, so :mod:`harness.virtual.dfu_util` stands in for dfu-util and asks by the board's port for
orders.
"""

from __future__ import annotations

from itertools import groupby

from harness.chips import KB, STM32_FLASH_BASE, Stm32LoaderView
from harness.errors import UsageError
from harness.virtual.nor_flash import Flash


def memory_layout(spec: Stm32LoaderView) -> str:
    """The string of alternate setting 0: all sectors can be read, erased and written (UM0424)."""
    parts = [f"{len(list(same)):02}*{size // KB:03}Kg" for size, same in groupby(spec.pages)]
    return f"@Internal Flash  /0x{STM32_FLASH_BASE:08x}/{','.join(parts)}"


def usb_serial(uid: bytes) -> str:
    """The serial number that the boot loader makes of the chip's id, and MicroPython with it
    (``ports/stm32/usbd_desc.c``)."""
    return bytes([uid[11], (uid[10] + uid[2]) & 255, uid[9], (uid[8] + uid[0]) & 255, uid[7], uid[6]]).hex().upper()


class DfuLoader:
    """One stay in the boot loader. Addresses as the CPU sees them. Raises UsageError for what is outside the flash."""

    def __init__(self, spec: Stm32LoaderView, flash: Flash, uid: bytes) -> None:
        self._spec = spec
        self._flash = flash
        self.memory = memory_layout(spec)
        self.serial = usb_serial(uid)

    def read(self, address: int, size: int) -> bytes:
        return self._flash.read(self._offset(address, size), size)

    def write(self, address: int, data: bytes) -> None:
        """Erase the sectors that ``data`` touches, and write it."""
        offset = self._offset(address, len(data))
        for page in self._spec.pages_at(offset, len(data)):
            self._flash.erase(self._spec.starts[page], self._spec.pages[page])
        self._flash.program(offset, data)

    def _offset(self, address: int, size: int) -> int:
        offset = address - STM32_FLASH_BASE
        if offset < 0 or size < 0 or offset + size > self._spec.flash_size:
            raise UsageError(f"0x{address:08x} and {size} bytes are not in the flash: {self.memory}")
        return offset
