"""The SPI controller in front of the flash chip, as far as a loader's "USR" commands use it."""

from __future__ import annotations

from harness.chips import EsptoolView

_CMD_USR = 1 << 18
_MANUFACTURER, _TYPE = 0xEF, 0x40  # Winbond W25Q
#: JESD216 signature at address 0 of the SFDP table.
_SFDP_SIGNATURE = 0x50444653


class SpiController:
    """Registers of the controller; a written USR bit runs the command at once."""

    def __init__(self, chip: EsptoolView, flash_size: int) -> None:
        self._chip = chip
        self._capacity = flash_size.bit_length() - 1  # JEDEC capacity byte: log2 of the size in bytes
        self._registers: dict[int, int] = {}

    def owns(self, address: int) -> bool:
        return 0 <= address - self._chip.spi_base < 0x100

    def read(self, address: int) -> int:
        return self._registers.get(address - self._chip.spi_base, 0)

    def write(self, address: int, value: int) -> None:
        offset = address - self._chip.spi_base
        if offset == 0 and value & _CMD_USR:
            opcode = self._registers.get(self._chip.spi_usr2, 0) & 0xFF
            self._registers[self._chip.spi_w0] = self._answer(opcode)
            value &= ~_CMD_USR  # the command is done: the bit reads back as 0
        self._registers[offset] = value

    def _answer(self, opcode: int) -> int:
        if opcode == 0x9F:  # RDID
            return self._capacity << 16 | _TYPE << 8 | _MANUFACTURER
        if opcode == 0x5A:  # SFDP
            address = self._registers.get(4, 0) >> (8 if self._chip.spi_address_shifted else 0)
            return _SFDP_SIGNATURE if address == 0 else 0
        return 0  # status registers: idle, nothing protected
