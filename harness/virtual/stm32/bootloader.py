"""The boot loader in an STM32's system memory, by its serial port: AN3155, protocol version 3.1.

One byte at a time from the line, one command after the other; nothing is framed, so a host that stops in the middle
of a command leaves a loader that takes whatever comes next for the rest of it, as a real one does. AN3155 on
protection: commands that reach memory are refused while readout is protected (level 1); erasing and writing
write-protected pages is acknowledged and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import reduce
from operator import xor
from typing import Protocol

from harness.chips import STM32_FLASH_BASE, Stm32LoaderView
from harness.virtual.nor_flash import Flash
from harness.virtual.stm32.options import Options

ACK, NACK = b"\x79", b"\x1f"
SYNC = 0x7F
_MASS, _BANK_1, _BANK_2 = 0xFFFF, 0xFFFE, 0xFFFD
#: Commands that readout protection refuses.
_NEEDS_OPEN = frozenset({0x11, 0x21, 0x31, 0x44, 0x63, 0x73, 0x82})
#: What the receiver keeps while the loader is busy; on a chip it is less.
_BACKLOG = 4096

#: What a step of the protocol asks for: so many bytes (int), or so many seconds of being busy (float).
Step = Generator[int | float, bytes, None]


class Host(Protocol):
    """What the loader needs of its chip."""

    def send(self, data: bytes) -> None: ...
    def lock_baud(self) -> None:
        """Autobaud: keep the rate at which the host is talking now."""
        ...

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Call ``action`` when the time is over, unless the chip is reset before."""
        ...

    def go(self, address: int) -> None:
        """Jump to the code whose vector table stands there."""
        ...

    def reset(self) -> None: ...


class Bootloader:
    """One stay in the boot loader. ``fast``: erasing and programming take no time."""

    def __init__(
        self, spec: Stm32LoaderView, flash: Flash, options: Options, uid: bytes, host: Host, *, fast: bool = False
    ) -> None:
        self._spec = spec
        self._flash = flash
        self._options = options
        self._host = host
        self._pace = 0.0 if fast else 1.0
        self._received = bytearray()
        self._busy = False
        self._ram = {start: bytearray(size) for start, size in spec.ram}
        self._system = {
            spec.uid_at: uid,
            spec.size_at: (spec.flash_size // 1024).to_bytes(2, "little"),
        }
        self._commands: dict[int, Callable[[], Step]] = {
            0x00: self._get,
            0x01: self._get_version,
            0x02: self._get_id,
            0x11: self._read,
            0x21: self._go,
            0x31: self._write,
            0x44: self._erase,
            0x63: self._write_protect,
            0x73: self._write_unprotect,
            0x82: self._readout_protect,
            0x92: self._readout_unprotect,
        }
        self._protocol = self._run()
        self._wanted: int | float = next(self._protocol)

    def feed(self, data: bytes) -> None:
        """What came over the line; while the loader is busy it is kept."""
        self._received += data[: max(0, _BACKLOG - len(self._received))]
        if not self._busy:
            self._go_on()

    def _go_on(self) -> None:
        while True:
            if isinstance(self._wanted, float):
                if self._wanted > 0:
                    self._busy = True
                    self._host.later(self._wanted, self._resume)
                    return
                taken = b""
            elif len(self._received) >= self._wanted:
                taken = bytes(self._received[: self._wanted])
                del self._received[: self._wanted]
            else:
                return
            self._wanted = self._protocol.send(taken)

    def _resume(self) -> None:
        self._busy = False
        self._wanted = 0.0
        self._go_on()

    # -- the conversation ------------------------------------------------------------------------

    def _run(self) -> Step:
        while (yield 1)[0] != SYNC:  # no pattern to measure the rate by
            pass
        self._host.lock_baud()
        self._host.send(ACK)
        while True:
            code, complement = yield 2  # a second 0x7F makes a bad pair of two
            command = self._commands.get(code)
            refused = self._options.level > 0 and code in _NEEDS_OPEN
            if code ^ complement != 0xFF or command is None or refused:
                self._host.send(NACK)
            else:
                self._host.send(ACK)
                yield from command()

    def _get(self) -> Step:
        codes = bytes(self._commands)
        self._host.send(bytes([len(codes), self._spec.version]) + codes + ACK)
        yield 0.0

    def _get_version(self) -> Step:
        self._host.send(bytes([self._spec.version, 0, 0]) + ACK)
        yield 0.0

    def _get_id(self) -> Step:
        self._host.send(b"\x01" + self._spec.device_id.to_bytes(2, "big") + ACK)
        yield 0.0

    def _address(self) -> Generator[int | float, bytes, int | None]:
        """The address that the host names; None when it is damaged."""
        data = yield 5
        return None if reduce(xor, data) else int.from_bytes(data[:4], "big")

    def _read(self) -> Step:
        address = yield from self._address()
        if address is None or self._memory(address, 1) is None:
            self._host.send(NACK)
            return
        self._host.send(ACK)
        count, complement = yield 2
        content = self._memory(address, count + 1)
        if count ^ complement != 0xFF or content is None:
            self._host.send(NACK)
            return
        self._host.send(ACK + content)

    def _go(self) -> Step:
        address = yield from self._address()
        if address is None or self._memory(address, 8) is None:
            self._host.send(NACK)
            return
        self._host.send(ACK)
        self._host.go(address)

    def _write(self) -> Step:
        address = yield from self._address()
        in_flash = address is not None and self._in_flash(address, 1)
        if address is None or not self._writable(address, 1) or (in_flash and address % self._spec.unit):
            self._host.send(NACK)
            return
        self._host.send(ACK)
        (count,) = yield 1
        data = yield count + 2
        data, checksum = data[:-1], data[-1]
        if reduce(xor, data, count) != checksum or len(data) % 4 or not self._writable(address, len(data)):
            self._host.send(NACK)
            return
        if in_flash:
            yield self._pace * self._spec.program_s * -(-len(data) // self._spec.unit)
            self._host.send(ACK if self._program(address - STM32_FLASH_BASE, data) else NACK)
        elif self._options.holds(address, len(data)):
            self._options.write(address, data)
            self._host.send(ACK)
            self._host.reset()
        else:
            start = self._ram_of(address, len(data))
            assert start is not None
            self._ram[start][address - start : address - start + len(data)] = data
            self._host.send(ACK)

    def _program(self, offset: int, data: bytes) -> bool:
        """Whether the flash took it; a page that is write-protected stays as it is, and nobody is told."""
        if any(self._options.protected(page) for page in self._spec.pages_at(offset, len(data))):
            return True
        data += b"\xff" * (-len(data) % self._spec.unit)
        try:
            self._flash.program(offset, data)
        except ValueError:  # PROGERR: a unit that is not erased
            return False
        return True

    def _erase(self) -> Step:
        head = yield 2
        count = int.from_bytes(head, "big")
        spec = self._spec
        if count >= 0xFFF0:
            (checksum,) = yield 1
            pages = self._bank(count)
            if reduce(xor, head) != checksum or pages is None:
                self._host.send(NACK)
                return
            yield self._pace * spec.mass_s
            self._clear(pages)
            self._host.send(ACK)
            return
        body = yield 2 * (count + 1) + 1
        numbers = [int.from_bytes(body[at : at + 2], "big") for at in range(0, len(body) - 1, 2)]
        if reduce(xor, head + body) or any(page >= len(spec.pages) for page in numbers):
            self._host.send(NACK)
            return
        for page in numbers:
            yield self._pace * spec.erase_s[spec.pages[page]]
            self._clear([page])
        self._host.send(ACK)

    def _bank(self, code: int) -> range | None:
        pages = len(self._spec.pages)
        if code == _MASS:
            return range(pages)
        if self._spec.banks == 2 and code in (_BANK_1, _BANK_2):
            return range(pages // 2) if code == _BANK_1 else range(pages // 2, pages)
        return None

    def _clear(self, pages: range | list[int]) -> None:
        for page in pages:
            if not self._options.protected(page):
                self._flash.erase(self._spec.starts[page], self._spec.pages[page])

    # -- protection ------------------------------------------------------------------------------

    def _write_protect(self) -> Step:
        (count,) = yield 1
        body = yield count + 2
        try:
            if reduce(xor, body, count):
                raise ValueError
            self._options.protect(body[:-1])
        except ValueError:
            self._host.send(NACK)
            return
        self._host.send(ACK)
        self._host.reset()

    def _write_unprotect(self) -> Step:
        self._options.unprotect()
        self._host.send(ACK)
        self._host.reset()
        yield 0.0

    def _readout_protect(self) -> Step:
        self._options.protect_readout()
        self._host.send(ACK)
        self._host.reset()
        yield 0.0

    def _readout_unprotect(self) -> Step:
        """Back to level 0: the flash is erased before, write-protected pages too."""
        if self._options.level:
            yield self._pace * self._spec.mass_s
            self._flash.erase(0, self._flash.size)
        self._options.unprotect_readout()
        self._host.send(ACK)
        self._host.reset()

    # -- memory ----------------------------------------------------------------------------------

    def _in_flash(self, address: int, size: int) -> bool:
        return address >= STM32_FLASH_BASE and address + size <= STM32_FLASH_BASE + self._spec.flash_size

    def _ram_of(self, address: int, size: int) -> int | None:
        for start, memory in self._ram.items():
            if start <= address and address + size <= start + len(memory):
                return start
        return None

    def _writable(self, address: int, size: int) -> bool:
        return (
            self._in_flash(address, size)
            or self._options.holds(address, size)
            or self._ram_of(address, size) is not None
        )

    def _memory(self, address: int, size: int) -> bytes | None:
        """What stands there; None when the loader does not give it."""
        if self._in_flash(address, size):
            return self._flash.read(address - STM32_FLASH_BASE, size)
        if self._options.holds(address, size):
            return self._options.read(address, size)
        start = self._ram_of(address, size)
        if start is not None:
            return bytes(self._ram[start][address - start : address - start + size])
        begin, length = self._spec.system
        if begin <= address and address + size <= begin + length:
            return self._from_system_memory(address, size)
        return None

    def _from_system_memory(self, address: int, size: int) -> bytes:
        """Its code is not here (0xFF); the device's electronic signature is."""
        content = bytearray(b"\xff" * size)
        for at, data in self._system.items():
            for index, byte in enumerate(data):
                if 0 <= at + index - address < size:
                    content[at + index - address] = byte
        return bytes(content)
