"""A guest's linear memory, bounds-checked."""

from __future__ import annotations

import ctypes
from typing import Protocol

import wasmtime


class GuestFault(Exception):
    """The guest passed an address outside its memory."""


class Readable(Protocol):
    """Memory that can be looked at, from address 0 to its length."""

    def __len__(self) -> int: ...
    def read(self, address: int, size: int) -> bytes: ...


class Writable(Protocol):
    """Memory that can be changed, in bytes and in little-endian words."""

    def read(self, address: int, size: int) -> bytes: ...
    def write(self, address: int, data: bytes) -> None: ...
    def read_u32(self, address: int) -> int: ...
    def write_u32(self, address: int, value: int) -> None: ...


class GuestMemory:
    """Byte access to a guest's memory; addresses are the guest's 32-bit ones.

    The view is taken again after each growth; wasmtime reserves the address space, so it does not move.
    """

    def __init__(self, memory: wasmtime.Memory, store: wasmtime.Store) -> None:
        self._memory = memory
        self._store = store
        self._view = memoryview(b"")
        self._closed = False
        self._refresh()

    def close(self) -> None:
        """The guest is gone: every address is outside its memory from here on."""
        self._closed = True
        self._view = memoryview(b"")

    def _refresh(self) -> None:
        if self._closed:
            return
        size = self._memory.data_len(self._store)
        base = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        self._view = memoryview((ctypes.c_ubyte * size).from_address(base)).cast("B")

    def __len__(self) -> int:
        self._refresh()
        return len(self._view)

    def _check(self, address: int, size: int) -> None:
        if address < 0 or size < 0 or address + size > len(self._view):
            self._refresh()
            if address < 0 or size < 0 or address + size > len(self._view):
                raise GuestFault(f"guest address 0x{address & 0xFFFFFFFF:08x}+{size} is outside its memory")

    def grow(self, size: int) -> int:
        """Add at least ``size`` bytes; returns the address of the first new one."""
        pages = -(-size // 65536)
        first = self._memory.grow(self._store, pages)
        self._refresh()
        return int(first) * 65536

    def read(self, address: int, size: int) -> bytes:
        address &= 0xFFFFFFFF
        self._check(address, size)
        return bytes(self._view[address : address + size])

    def write(self, address: int, data: bytes) -> None:
        address &= 0xFFFFFFFF
        self._check(address, len(data))
        self._view[address : address + len(data)] = data

    def read_u32(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), "little")

    def write_u32(self, address: int, value: int) -> None:
        self.write(address, (value & 0xFFFFFFFF).to_bytes(4, "little"))

    def write_u64(self, address: int, value: int) -> None:
        self.write(address, (value & 0xFFFFFFFFFFFFFFFF).to_bytes(8, "little"))
