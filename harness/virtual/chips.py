"""What tells one virtual chip from another: one table entry each.

Register addresses and detection values: esptool documentation, "Serial Protocol", and the chips' technical
reference manuals, chapters "eFuse Controller" and "SPI". A chip is as real as what esptool reads of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ChipSpec:
    """Addresses as the CPU sees them; ``rom_status`` is the length of the ROM's status field in bytes.

    ``spi_*`` are register offsets of the flash's SPI controller; ``spi_lengths`` is None where the data
    lengths stand in USR1. ``chip_id`` is what GET_SECURITY_INFO reports, None where the ROM lacks that
    command. ``mac_at`` is the address of the fuse word with the MAC's last bytes. ``registers`` have fixed
    values; the MAC's are added per board.
    """

    name: str
    magic: int
    rom_status: int
    rom_baud: int  # of the ROM's boot text
    spi_base: int
    spi_usr: int
    spi_usr1: int
    spi_usr2: int
    spi_w0: int
    spi_lengths: tuple[int, int] | None  # MOSI, MISO
    boot_offset: int
    mac_at: int
    rom_can: frozenset[str]
    chip_id: int | None = None
    spi_address_shifted: bool = True  # the address stands in the high bits of ADDR
    erase_defect: bool = False  # the ROM erases more than it is asked to
    registers: dict[int, int] = field(default_factory=dict)

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


MAGIC_REGISTER = 0x40001000

CHIPS: dict[str, ChipSpec] = {
    chip.name: chip
    for chip in (
        ChipSpec(
            name="esp8266",
            magic=0xFFF0C101,
            rom_status=2,
            rom_baud=74880,
            spi_base=0x60000200,
            spi_usr=0x1C,
            spi_usr1=0x20,
            spi_usr2=0x24,
            spi_w0=0x40,
            spi_lengths=None,
            boot_offset=0,
            mac_at=0x3FF00050,
            erase_defect=True,
            rom_can=frozenset({"flash", "mem", "reg"}),
            registers={
                0x60000014: 451,  # UART divider: a 26 MHz crystal at 115200
            },
        ),
        ChipSpec(
            name="esp32",
            magic=0x00F01D83,
            rom_status=4,
            rom_baud=115200,
            spi_base=0x3FF42000,
            spi_usr=0x1C,
            spi_usr1=0x20,
            spi_usr2=0x24,
            spi_w0=0x80,
            spi_lengths=(0x28, 0x2C),
            boot_offset=0x1000,
            mac_at=0x3FF5A004,
            rom_can=frozenset({"flash", "mem", "reg", "spi", "md5", "deflate", "slow-read", "baud"}),
            registers={
                0x3FF5A00C: 1 << 15 | 1 << 9,  # revision bit 0, package D0WD
                0x3FF5A014: 1 << 20,  # revision bit 1
                0x3FF6607C: 1 << 31,  # revision bit 2: all three set is revision 3
                0x3FF40014: 347,  # UART divider: a 40 MHz crystal at 115200
                # From these two the ROM works out its crystal: 800 * 15625 * 128 / 40 = 40 MHz. A host asks
                # for a baud rate in proportion to it.
                0x3FF5F06C: 800 << 7,
                0x3FF5A010: 128,
            },
        ),
    )
}
