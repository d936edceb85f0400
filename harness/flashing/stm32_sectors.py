"""The sectors of an STM32's flash, for a flasher that has read the chip's device id."""

from __future__ import annotations

from dataclasses import dataclass

from harness.chips import CHIPS, STM32_FLASH_BASE, Device, FlashGeometry
from harness.errors import UsageError


def geometry_of(chip: str) -> FlashGeometry:
    """Raises UsageError for a chip whose flash nobody has described."""
    geometry = CHIPS[chip].flash_geometry
    if geometry is None:
        raise UsageError(
            f"how the flash of the {chip} is cut into sectors is not known: it cannot be written to",
            hint="its record (harness.chips) lacks flash_geometry; 'flash: {method: none}' tests what the board holds",
        )
    return geometry


def device_of(chip: str, device_id: int, where: str) -> Device:
    """Raises UsageError when a chip that calls itself ``device_id`` cannot be a ``chip``."""
    expected = geometry_of(chip).devices
    if device_id not in expected:
        others = sorted(
            one.name
            for one in CHIPS.values()
            if one.flash_geometry is not None and device_id in one.flash_geometry.devices
        )
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
    for number, length in enumerate(device.geometry.pages(size)):
        sectors.append(Sector(number, address, length))
        address += length
    return sectors
