"""What the harness knows of one chip: one record with optional parts.

A part that nobody knows is None and says why (``port_unknown``); whoever asks for it gets :class:`Unsuitable` with that
sentence, so that what needs it is skipped with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from harness.chips.flash_geometry import FlashGeometry
from harness.chips.port import Port
from harness.chips.virtual_parts import VirtualParts
from harness.errors import Unsuitable

KB = 1024
MB = 1024 * 1024

Family = Literal["esp8266", "esp32", "stm32", "generic"]

#: A board of which nothing is known but what its VM says: never written to, and asked what it can do.
GENERIC = "generic"
#: Where every STM32 has its flash, and boots from.
STM32_FLASH_BASE = 0x0800_0000


@dataclass(frozen=True, eq=False)
class Chip:
    """One chip. Addresses and sizes in bytes; a range is (first address, size).

    ``boot_offset`` is where the first image goes: a flash offset on ESP chips, an address on STM32.
    ``image_id`` is the chip id in the extended header of an ESP32-family image.
    ``flash_map`` are the addresses at which flash is seen by the CPU.

    Raises ValueError for a record that contradicts itself.
    """

    name: str
    family: Family
    boot_offset: int
    flash_map: tuple[tuple[int, int], ...]
    ram: tuple[tuple[int, int], ...] = ()
    image_id: int | None = None
    port: Port | None = None
    """What MicroPython's port promises of the chip."""
    port_unknown: str = "nobody has written it down"
    """Why there is no ``port``."""
    flash_geometry: FlashGeometry | None = None
    """STM32: its device ids and how its flash is cut."""
    virtual: VirtualParts | None = None
    """What a virtual board with the chip is made of; None: there is none."""
    sources: tuple[str, ...] = ()
    """Documents that boot, flash and RAM are taken from."""
    _ports: dict[str, Port] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.name or self.name != self.name.lower() or not self.name.isascii() or not self.name.isalnum():
            raise ValueError(f"a chip's name is lower-case letters and digits; came {ascii(self.name)[:60]}")
        if self.family not in get_args(Family):
            raise ValueError(f"{self.name}: expected a family of {', '.join(get_args(Family))}; came {self.family!r}")
        if self.port is not None and (self.port.name, self.port.family) != (self.name, self.family):
            raise ValueError(f"{self.name}: its port is that of the {self.port.family} {self.port.name}")

    @property
    def flash_size(self) -> int | None:
        """The internal flash in bytes; None where the flash is a chip of its own (ESP)."""
        return self.flash_map[0][1] if self.family == "stm32" else None

    @property
    def has_serial_jtag(self) -> bool:
        """Whether its virtual board can be reached by a USB Serial/JTAG unit of its own."""
        view = self.virtual.esptool if self.virtual is not None else None
        return view is not None and view.rom is not None and "usb" in view.rom.reasons

    def in_flash(self, address: int) -> bool:
        return any(start <= address < start + size for start, size in self.flash_map)

    def port_at(self, version: str = "") -> Port | None:
        """The port as MicroPython's ``version`` has it; empty: the newest that is known. None: it is not known."""
        if self.port is None:
            return None
        if version not in self._ports:
            self._ports[version] = self.port.at(version)
        return self._ports[version]

    def promised(self, version: str = "") -> Port:
        """As :meth:`port_at`. Raises :class:`Unsuitable` where the port is not known."""
        port = self.port_at(version)
        if port is None:
            raise Unsuitable(f"what MicroPython's port promises of {self.name} is not known: {self.port_unknown}")
        return port
