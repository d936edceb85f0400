"""What a virtual board is made of: what its chip looks like to a flasher, and the figures of its firmware.

A chip is as real as what esptool and stm32loader read of it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from itertools import accumulate

KB = 1024


@dataclass(frozen=True)
class RomWords:
    """What the boot ROM of an ESP32 chip says on its console, by public boot logs.

    ``greeting`` are its lines before ``rst:``, ``flash`` and ``download`` its two boot modes, ``reasons`` the number
    and name of each cause of a start. ``before_load`` stands in front of the list of segments. ``first`` is the
    ESP32's own generation: sizes in decimal, another word for a wrong checksum, no look at the chip's number in the
    image.
    """

    greeting: str
    flash: str
    download: str
    before_load: str
    reasons: dict[str, tuple[int, str]]
    first: bool = False


@dataclass(frozen=True)
class EsptoolView:
    """What esptool reads of an ESP. Addresses as the CPU sees them.

    ``rom_status`` is the length of the ROM's status field in bytes. ``spi_*`` are register offsets of the flash's SPI
    controller. ``chip_id`` is what GET_SECURITY_INFO reports, None where the ROM lacks that command; ``security_flags``
    and ``crypt_count`` are its first two fields. ``mac_at`` is the address of the fuse word with the MAC's last bytes.
    ``registers`` have fixed values; the MAC's are added per board. ``fuses`` are the (register, mask) of what can be
    burnt for good, by name. ``major_bits`` are those that count the major revision, lowest first (ESP32), in place of
    which ``major_at`` is the (register, shift, bits) of what holds it; ``minor_at`` is the same of the minor one.
    ``rtc_watchdog`` are the registers that esptool resets a chip by: write protection, timeout, configuration.

    Register addresses and detection values: esptool documentation, "Serial Protocol", and the chips' technical
    reference manuals, chapters "eFuse Controller" and "SPI".
    """

    name: str
    magic: int
    rom_status: int
    spi_base: int
    spi_usr2: int
    spi_w0: int
    mac_at: int
    rom_can: frozenset[str]
    chip_id: int | None = None
    spi_address_shifted: bool = True  # the address stands in the high bits of ADDR
    erase_defect: bool = False  # the ROM erases more than it is asked to
    registers: dict[int, int] = field(default_factory=dict)
    fuses: dict[str, tuple[int, int]] = field(default_factory=dict)
    major_bits: tuple[tuple[int, int], ...] = ()
    major_at: tuple[int, int, int] | None = None
    minor_at: tuple[int, int, int] | None = None
    rtc_watchdog: tuple[int, int, int] | None = None
    rom: RomWords | None = None
    security_flags: int = 0
    crypt_count: int = 0

    def burnt(self, fuses: Collection[str], revision: tuple[int, int] | None = None) -> EsptoolView:
        """The view of a chip with these ``fuses`` burnt, of this (major, minor) revision.

        Raises ValueError for what this chip does not have.
        """
        registers = dict(self.registers)
        for name in fuses:
            if name not in self.fuses:
                raise ValueError(f"the {self.name} has no fuse {name!r}; it has {', '.join(self.fuses) or 'none'}")
            address, mask = self.fuses[name]
            registers[address] = registers.get(address, 0) | mask
        if revision is not None:
            major, minor = revision
            most = (1 << self.major_at[2]) - 1 if self.major_at else len(self.major_bits)
            if self.minor_at is None or major > most or minor >= 1 << self.minor_at[2]:
                raise ValueError(f"there is no {self.name} of revision v{major}.{minor}")
            for bit, (address, mask) in enumerate(self.major_bits):
                value = registers.get(address, 0) & ~mask
                registers[address] = value | mask if bit < major else value
            for place, value in ((self.major_at, major), (self.minor_at, minor)):
                if place is not None:
                    address, shift, bits = place
                    field_mask = ((1 << bits) - 1) << shift
                    registers[address] = registers.get(address, 0) & ~field_mask | value << shift
        return replace(
            self,
            registers=registers,
            security_flags=self.security_flags | ("secure-boot" in fuses),
            crypt_count=self.crypt_count | ("flash-encryption" in fuses),
        )

    def mac_registers(self, mac: bytes) -> dict[int, int]:
        """The fuse words that hold ``mac`` (6 bytes, most significant first)."""
        if self.name == "esp8266":
            return {
                self.mac_at: mac[5] << 24,
                self.mac_at + 0x4: mac[3] << 8 | mac[4],
                self.mac_at + 0xC: int.from_bytes(mac[:3], "big"),
            }
        return {
            self.mac_at: int.from_bytes(mac[2:], "big"),
            self.mac_at + 4: int.from_bytes(mac[:2], "big"),
        }


@dataclass(frozen=True)
class Stm32LoaderView:
    """What an STM32's boot loader shows. Addresses as the CPU sees them, sizes in bytes, times in seconds.

    ``pages`` are the sizes of what one erase clears, in the order of their numbers; ``banks`` of them have one half
    of the pages each. ``unit`` bytes are programmed at a time, once between two erasures when ``once``. ``erase_s``
    is the time for a page of each size, ``mass_s`` for all of them, ``program_s`` for one unit.

    Flash geometry, option bytes, unique id and flash size: RM0090 (F405) and RM0351 (L476), chapters "Embedded Flash
    memory interface" and "Device electronic signature". Device ids and system memory: AN2606. Erase and programming
    times: the data sheets' typical values at 3.3 V (DS8626 and DS10198, "Memory characteristics").
    """

    name: str
    line: str
    """F4 or L4: how its option bytes are laid out."""
    part: str
    device_id: int
    version: int
    """Protocol version of the boot loader as Get tells it, BCD (AN2606)."""
    pages: tuple[int, ...]
    banks: int
    unit: int
    once: bool
    ram: tuple[tuple[int, int], ...]
    system: tuple[int, int]
    uid_at: int
    size_at: int
    option_areas: tuple[tuple[int, int], ...]
    erase_s: dict[int, float]
    mass_s: float
    program_s: float

    @property
    def flash_size(self) -> int:
        return sum(self.pages)

    @property
    def starts(self) -> tuple[int, ...]:
        """The offset in the flash at which each page begins."""
        return (0, *accumulate(self.pages[:-1]))

    @property
    def granule(self) -> int:
        """The size of which all pages are multiples, and at most what the filesystem erases at once."""
        return min(*self.pages, 4 * KB)

    def pages_at(self, offset: int, size: int) -> range:
        """The pages that ``size`` bytes from ``offset`` touch."""
        touched = [
            page
            for page, (start, length) in enumerate(zip(self.starts, self.pages, strict=True))
            if start < offset + size and offset < start + length
        ]
        return range(touched[0], touched[-1] + 1) if touched else range(0)


@dataclass(frozen=True)
class VirtualParts:
    """Figures of a virtual board's firmware, and one of the two views.

    ``pace_ns`` are nanoseconds per executed instruction: round numbers in the proportion of the chips' clocks, no claim
    about silicon. ``heap`` is the raw MicroPython heap of the chip's port in bytes, tables included. ``board`` and
    ``part`` stand in the VM's banner. ``loads_at`` are the addresses in RAM of an ESP image's parts: the boot loader's
    segments, and the application's code. ``circuitpython_region`` is what CircuitPython's heap and its supervisor's
    allocations share, in bytes; 0: there is no virtual CircuitPython for the chip.
    """

    pace_ns: int
    heap: int
    board: str
    part: str
    esptool: EsptoolView | None = None
    stm32: Stm32LoaderView | None = None
    loads_at: tuple[tuple[int, ...], int] = ((), 0)
    circuitpython_region: int = 0
