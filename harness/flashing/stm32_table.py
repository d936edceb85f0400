"""What a flasher must know of an STM32: device ids, erase geometry, and where its unique id stands.

Device ids: AN2606, "Device-dependent boot loader parameters". Geometry and addresses: the reference manuals' chapters
"Embedded Flash memory" and "Device electronic signature".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import UsageError
from harness.inventory.chips import CHIPS, KB, STM32_FLASH_BASE

Geometry = Callable[[int], tuple[int, ...]]


def _pages(size: int) -> Geometry:
    return lambda flash: (size,) * (flash // size)


def _f4(flash: int) -> tuple[int, ...]:
    bank = min(flash, 1024 * KB)
    one = (*[16 * KB] * 4, 64 * KB, *[128 * KB] * ((bank - 128 * KB) // (128 * KB)))
    return one * (flash // bank)


def _f7(flash: int) -> tuple[int, ...]:
    return (*[32 * KB] * 4, 128 * KB, *[256 * KB] * ((flash - 256 * KB) // (256 * KB)))


@dataclass(frozen=True)
class Device:
    """One device id. ``uid_at`` and ``size_at`` are addresses: 12 bytes, and 16 bits of kilobytes."""

    geometry: Geometry
    uid_at: int
    size_at: int


_F1 = (0x1FFF_F7E8, 0x1FFF_F7E0)
_F4 = (0x1FFF_7A10, 0x1FFF_7A22)
_F7 = (0x1FF0_F420, 0x1FF0_F442)
_H7 = (0x1FF1_E800, 0x1FF1_E880)
_L4 = (0x1FFF_7590, 0x1FFF_75E0)

#: For each chip of the inventory, the devices that boards with it may carry.
DEVICES: dict[str, dict[int, Device]] = {
    "stm32f103": {
        0x410: Device(_pages(1 * KB), *_F1),
        0x412: Device(_pages(1 * KB), *_F1),
        0x414: Device(_pages(2 * KB), *_F1),
        0x430: Device(_pages(2 * KB), *_F1),
    },
    "stm32f401": {0x423: Device(_f4, *_F4), 0x433: Device(_f4, *_F4)},
    "stm32f405": {0x413: Device(_f4, *_F4)},
    "stm32f407": {0x413: Device(_f4, *_F4)},
    "stm32f411": {0x431: Device(_f4, *_F4)},
    "stm32f446": {0x421: Device(_f4, *_F4)},
    "stm32f746": {0x449: Device(_f7, *_F7)},
    "stm32g474": {0x469: Device(_pages(2 * KB), *_L4)},
    "stm32h743": {0x450: Device(_pages(128 * KB), *_H7)},
    "stm32l432": {0x435: Device(_pages(2 * KB), *_L4)},
    "stm32l476": {0x415: Device(_pages(2 * KB), *_L4)},
    "stm32wb55": {0x495: Device(_pages(4 * KB), *_L4)},
}


def device_of(chip: str, device_id: int, where: str) -> Device:
    """Raises UsageError when a chip that calls itself ``device_id`` cannot be a ``chip``."""
    expected = DEVICES[chip]
    if device_id not in expected:
        others = sorted(name for name, devices in DEVICES.items() if device_id in devices)
        raise UsageError(
            f"{where}: expected an {chip} (device id {', '.join(f'0x{one:03x}' for one in expected)}); "
            f"the chip's is 0x{device_id:03x}{f', as of {chr(32).join(others)}' if others else ''}",
            hint="correct the board's chip or identity in boards.yaml; nothing was written",
        )
    return expected[device_id]


@dataclass(frozen=True)
class Sector:
    """What one erase clears: its number, address and size in bytes."""

    number: int
    address: int
    size: int

    @property
    def end(self) -> int:
        return self.address + self.size


def sectors_of(chip: str, device: Device, flash_size: int | None = None) -> list[Sector]:
    """All sectors of the flash; ``flash_size`` in bytes as the chip tells it (None: the largest of its line)."""
    size = flash_size or CHIPS[chip].flash_size
    assert size is not None
    sectors, address = [], STM32_FLASH_BASE
    for number, length in enumerate(device.geometry(size)):
        sectors.append(Sector(number, address, length))
        address += length
    return sectors
