"""The serial boot loader: the chip's ROM, and the stub that a host may load on top of it.

Follows esptool's documentation, "Serial Protocol" (packets, checksum, status bytes) and "Flasher Stub"
(its commands and error codes). The stub's code is taken in and not executed: at its entry the loader
switches to the stub's behaviour. Fuses of secure boot and flash
encryption can be read; neither is carried out. Left out: USB, NAND.
Everything from the wire is bounded; a bad frame gets an error status or no answer, as the chip's would.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable
from typing import Protocol

from harness.chips import EsptoolView
from harness.virtual.nor_flash import SECTOR, Flash
from harness.virtual.slip import Decoder, encode
from harness.virtual.spi import SpiController

#: Where esptool looks for what tells the ESP8266 and the ESP32 apart.
MAGIC_REGISTER = 0x40001000

_BLOCK_LIMIT = 32 * 1024
_RAM_LIMIT = 512 * 1024


class Host(Protocol):
    """What the loader needs of its chip."""

    def send(self, data: bytes) -> None: ...
    def set_baud(self, baud: int) -> None: ...
    def lock_baud(self) -> None:
        """Autobaud: keep the rate at which the host is talking now."""
        ...

    def run_application(self) -> None: ...
    def watchdog_armed(self) -> None:
        """The RTC's watchdog was switched on: it resets the chip after a while, unless it is switched off again."""
        ...


class _Refused(Exception):
    """The command fails with this reason byte."""

    def __init__(self, reason: int) -> None:
        super().__init__(reason)
        self.reason = reason


_INVALID_MESSAGE, _FAILED_TO_ACT, _CHECKSUM = 0x05, 0x06, 0x07
_STUB_BAD_LENGTH, _STUB_CHECKSUM, _STUB_NOT_IN_FLASH_MODE = 0xC0, 0xC1, 0xC6
_STUB_INFLATE, _STUB_NOT_ENOUGH, _STUB_TOO_MUCH = 0xC7, 0xC8, 0xC9
#: What opens the RTC watchdog's registers, and the bit that switches it on (TRM, "Watchdog Timers").
_WATCHDOG_KEY, _WATCHDOG_ENABLED = 0x50D83AA1, 1 << 31

_STUB_ONLY = {0xD0, 0xD1, 0xD2, 0xD3}
_NEEDS = {0x0B: "spi", 0x0D: "spi", 0x0E: "slow-read", 0x0F: "baud", 0x13: "md5"} | dict.fromkeys(
    (0x10, 0x11, 0x12), "deflate"
)
_UNSUPPORTED_OP = 0  # the ROM answers an unknown command under another number


class _Write:
    """A flash write in progress: where the next byte goes, and how many may still come."""

    def __init__(self, flash: Flash, offset: int, size: int, inflate: bool) -> None:
        self._flash = flash
        self._next = offset
        self._end = offset + size
        self._erased_to = offset // SECTOR * SECTOR
        self._inflator = zlib.decompressobj() if inflate else None
        self.blocks = 0

    def erase_to(self, end: int) -> None:
        """Erase ahead so that everything below ``end`` can be written."""
        end = min(-(-end // SECTOR) * SECTOR, self._flash.size)
        if end > self._erased_to:
            self._flash.erase(self._erased_to, end - self._erased_to)
            self._erased_to = end

    def data(self, block: bytes) -> None:
        if self._inflator is None:
            self._put(block)
            return
        if self._inflator.eof:
            raise _Refused(_STUB_TOO_MUCH)
        try:
            self._put(self._inflator.decompress(block, self._end - self._next + 1))
        except zlib.error:
            raise _Refused(_STUB_INFLATE) from None

    def _put(self, data: bytes) -> None:
        # A last block is padded to full size; the padding may run past the announced end, not past the flash.
        limit = self._end if self._inflator else min(self._flash.size, self._end + _BLOCK_LIMIT)
        if self._next + len(data) > limit:
            raise _Refused(_STUB_TOO_MUCH)
        self.erase_to(self._next + len(data))
        self._flash.program(self._next, data)
        self._next += len(data)

    def finish(self) -> None:
        if self._inflator is not None and self._next < self._end:
            raise _Refused(_STUB_NOT_ENOUGH)


class _Read:
    """A stub's flash read in progress: blocks are sent while fewer than the window are unconfirmed."""

    def __init__(self, flash: Flash, offset: int, size: int, block: int, window: int) -> None:
        self._flash = flash
        self._start, self._size, self._block = offset, size, block
        self._ahead = block * max(1, window)
        self._sent = 0
        self._digest = hashlib.md5(usedforsecurity=False)
        self.done = False

    def acknowledged(self, total: int) -> bytes:
        """Frames to send now that the host has ``total`` bytes."""
        out = bytearray()
        while self._sent < self._size and self._sent < total + self._ahead:
            count = min(self._block, self._size - self._sent)
            data = self._flash.read(self._start + self._sent, count)
            self._digest.update(data)
            self._sent += count
            out += encode(data)
        if total >= self._size:
            out += encode(self._digest.digest())
            self.done = True
        return bytes(out)


class Loader:
    """One stay in download mode. ``feed`` takes what came over the line and answers through ``host``."""

    def __init__(self, chip: EsptoolView, flash: Flash, mac: bytes, host: Host) -> None:
        self._chip = chip
        self._flash = flash
        self._host = host
        self._decoder = Decoder()
        self._spi = SpiController(chip, flash.size)
        self._registers = {MAGIC_REGISTER: chip.magic, **chip.registers, **chip.mac_registers(mac)}
        self._ram_left = 0
        self._write: _Write | None = None
        self._read: _Read | None = None
        self.stub = False
        self._watchdog_unlocked = False
        self._leaving = False
        self._commands: dict[int, Callable[[bytes], tuple[int, bytes]]] = {
            0x02: self._flash_begin,
            0x03: self._flash_data,
            0x04: self._flash_end,
            0x05: self._mem_begin,
            0x07: self._mem_data,
            0x09: self._write_reg,
            0x0A: self._read_reg,
            0x0B: lambda _: (0, b""),  # SPI_SET_PARAMS
            0x0D: lambda _: (0, b""),  # SPI_ATTACH
            0x0E: self._read_slow,
            0x10: self._deflate_begin,
            0x11: self._flash_data,
            0x12: self._flash_end,
            0x13: self._md5,
            0x14: self._security_info,
            0xD0: self._erase_flash,
            0xD1: self._erase_region,
        }

    def feed(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._frame(frame)

    # -- packets ---------------------------------------------------------------------------------

    def _frame(self, frame: bytes) -> None:
        if self._read is not None and len(frame) == 4:
            self._continue_read(int.from_bytes(frame, "little"))
            return
        if len(frame) < 8 or frame[0] != 0:
            return
        _, op, size, checksum = struct.unpack_from("<BBHI", frame)
        body = frame[8:]
        try:
            if len(body) != size:
                raise _Refused(_STUB_BAD_LENGTH if self.stub else _INVALID_MESSAGE)
            self._command(op, body, checksum)
        except _Refused as refused:
            self._reply(op, status=bytes([1, refused.reason]))
        except (struct.error, ValueError):  # fields missing, or outside the flash
            self._reply(op, status=bytes([1, _STUB_BAD_LENGTH if self.stub else _FAILED_TO_ACT]))

    def _reply(self, op: int, value: int = 0, data: bytes = b"", status: bytes = b"\0\0") -> None:
        if not self.stub and self._chip.rom_status == 4:
            status += b"\0\0"
        body = data + status
        self._host.send(encode(struct.pack("<BBHI", 1, op, len(body), value & 0xFFFFFFFF) + body))

    def _command(self, op: int, body: bytes, checksum: int) -> None:
        if op == 0x08:
            self._sync(body)
        elif op == 0x06:
            self._mem_end(body)
        elif op == 0x0F and self._can(op):
            self._change_baud(body)
        elif op == 0xD2 and self.stub:
            self._start_read(body)
        elif op == 0xD3 and self.stub:
            self._host.run_application()
        elif op in self._commands and self._can(op):
            if op in (0x03, 0x07, 0x11):
                self._check(body, checksum)
            value, data = self._commands[op](body)
            self._reply(op, value, data)
            self._leave()
        else:
            self._reply(_UNSUPPORTED_OP, status=bytes([1, _INVALID_MESSAGE]))

    def _leave(self) -> None:
        """After an END that asked for it: a stub returns to the ROM's loader, the ROM starts the application."""
        if self._leaving:
            self._leaving = False
            if self.stub:
                self.stub = False
            else:
                self._host.run_application()

    def _can(self, op: int) -> bool:
        if op == 0x14:
            return self._chip.chip_id is not None
        if self.stub:
            return op != 0x0E
        return op not in _STUB_ONLY and (op not in _NEEDS or _NEEDS[op] in self._chip.rom_can)

    def _check(self, body: bytes, checksum: int) -> None:
        size = struct.unpack_from("<I", body)[0]
        block = body[16:]
        if size != len(block) or size > _BLOCK_LIMIT:
            raise _Refused(_STUB_BAD_LENGTH if self.stub else _INVALID_MESSAGE)
        if checksum & 0xFF != xor_checksum(block):
            raise _Refused(_STUB_CHECKSUM if self.stub else _CHECKSUM)

    # -- commands --------------------------------------------------------------------------------

    def _sync(self, body: bytes) -> None:
        if body[:4] != b"\x07\x07\x12\x20":
            raise _Refused(_INVALID_MESSAGE)
        self._read = None
        if not self.stub:
            self._host.lock_baud()
        for _ in range(8):
            self._reply(0x08, value=0 if self.stub else 0x20120707)

    def _read_reg(self, body: bytes) -> tuple[int, bytes]:
        address = struct.unpack_from("<I", body)[0]
        if self._spi.owns(address):
            return self._spi.read(address), b""
        return self._registers.get(address, 0), b""

    def _write_reg(self, body: bytes) -> tuple[int, bytes]:
        for address, value, mask, _delay in struct.iter_unpack("<IIII", body):
            if self._spi.owns(address):
                self._spi.write(address, self._spi.read(address) & ~mask | value & mask)
            elif self._chip.rtc_watchdog is not None:
                self._write_watchdog(address, value, *self._chip.rtc_watchdog)
        return 0, b""

    def _write_watchdog(self, address: int, value: int, protection: int, _timeout: int, configuration: int) -> None:
        if address == protection:
            self._watchdog_unlocked = value == _WATCHDOG_KEY
        elif address == configuration and self._watchdog_unlocked and value & _WATCHDOG_ENABLED:
            self._host.watchdog_armed()

    def _mem_begin(self, body: bytes) -> tuple[int, bytes]:
        size = struct.unpack_from("<I", body)[0]
        if size > _RAM_LIMIT:
            raise _Refused(_FAILED_TO_ACT)
        self._ram_left = size
        return 0, b""

    def _mem_data(self, body: bytes) -> tuple[int, bytes]:
        self._ram_left -= len(body) - 16
        if self._ram_left < 0:
            raise _Refused(_FAILED_TO_ACT)
        return 0, b""

    def _mem_end(self, body: bytes) -> None:
        stay, _entry = struct.unpack_from("<II", body)
        self._reply(0x06)
        if stay == 0:  # jump to what was loaded: it is the stub, and it says so
            self.stub = True
            self._host.send(encode(b"OHAI"))

    def _change_baud(self, body: bytes) -> None:
        new, _old = struct.unpack_from("<II", body)
        if not 300 <= new <= 5_000_000:
            raise _Refused(_FAILED_TO_ACT)
        self._reply(0x0F)
        self._host.set_baud(new)

    def _flash_begin(self, body: bytes) -> tuple[int, bytes]:
        erase, blocks, block, offset = struct.unpack_from("<IIII", body)
        if self._chip.erase_defect and not self.stub:
            erase = _esp8266_erase_size(offset, erase)
        self._begin(offset, max(erase, blocks * block), inflate=False)
        if erase and self._write is not None:
            self._write.erase_to(offset + erase)
        return 0, b""

    def _deflate_begin(self, body: bytes) -> tuple[int, bytes]:
        size, _blocks, _block, offset = struct.unpack_from("<IIII", body)
        self._begin(offset, size, inflate=True)
        return 0, b""

    def _begin(self, offset: int, size: int, *, inflate: bool) -> None:
        if offset + size > self._flash.size + _BLOCK_LIMIT or offset > self._flash.size:
            raise _Refused(_FAILED_TO_ACT)
        self._write = _Write(self._flash, offset, size, inflate)

    def _flash_data(self, body: bytes) -> tuple[int, bytes]:
        sequence = struct.unpack_from("<I", body, 4)[0]
        if self._write is None:
            raise _Refused(_STUB_NOT_IN_FLASH_MODE if self.stub else _FAILED_TO_ACT)
        if sequence == self._write.blocks - 1:  # a repeat of the block whose answer got lost
            return 0, b""
        if sequence != self._write.blocks:
            raise _Refused(_FAILED_TO_ACT)
        self._write.data(body[16:])
        self._write.blocks += 1
        return 0, b""

    def _flash_end(self, body: bytes) -> tuple[int, bytes]:
        stay = struct.unpack_from("<I", body)[0]
        write, self._write = self._write, None
        if write is not None:
            write.finish()
        self._leaving = stay == 0
        return 0, b""

    def _read_slow(self, body: bytes) -> tuple[int, bytes]:
        offset, size = struct.unpack_from("<II", body)
        if size > 64:
            raise _Refused(_FAILED_TO_ACT)
        return 0, self._flash.read(offset, size).ljust(64, b"\0")

    def _md5(self, body: bytes) -> tuple[int, bytes]:
        offset, size = struct.unpack_from("<II", body)
        digest = hashlib.md5(self._flash.read(offset, size), usedforsecurity=False)
        return 0, digest.digest() if self.stub else digest.hexdigest().encode()

    def _security_info(self, _body: bytes) -> tuple[int, bytes]:
        chip = self._chip  # flags, boot encryption counter and key purposes
        return 0, struct.pack("<IB7sII", chip.security_flags, chip.crypt_count, bytes(7), chip.chip_id or 0, 0)

    def _erase_flash(self, _body: bytes) -> tuple[int, bytes]:
        self._flash.erase(0, self._flash.size)
        return 0, b""

    def _erase_region(self, body: bytes) -> tuple[int, bytes]:
        offset, size = struct.unpack_from("<II", body)
        self._flash.erase(offset, size)
        return 0, b""

    def _start_read(self, body: bytes) -> None:
        offset, size, block, window = struct.unpack_from("<IIII", body)
        self._flash.read(offset, size)  # refuses what is outside
        if not 16 <= block <= 4096 or window > 64:
            raise _Refused(_STUB_BAD_LENGTH)
        self._reply(0xD2)
        self._read = _Read(self._flash, offset, size, block, window)
        self._continue_read(0)

    def _continue_read(self, total: int) -> None:
        assert self._read is not None
        read = self._read
        out = read.acknowledged(total)
        if read.done:
            self._read = None
        self._host.send(out)


def xor_checksum(data: bytes) -> int:
    """XOR of all bytes, seeded with 0xEF."""
    value = int.from_bytes(data, "little")
    size = len(data)
    # Fold the long number in halves: far quicker than byte by byte in Python.
    while size > 1:
        half = size // 2
        low = value & ((1 << 8 * half) - 1)
        value = (value >> 8 * half) ^ low
        size -= half
    return (value & 0xFF) ^ 0xEF


def _esp8266_erase_size(offset: int, size: int) -> int:
    """What the ESP8266 ROM really erases when asked for ``size`` bytes.

    Its erase routine counts the sectors of the first 64 kB block twice (the known SPIEraseArea defect, which
    hosts compensate by asking for less).
    """
    sectors = -(-size // SECTOR)
    head = 16 - offset // SECTOR % 16
    return (2 * sectors if sectors <= head else sectors + head) * SECTOR
