"""NodeMCU's ``file`` module, its small codecs, and the partition table that says where everything lies.

Sources: NodeMCU documentation of ``file``, ``encoder`` and ``crypto``; the runtime configuration record (RCR) of
``app/platform/platform.c``: records of words in the first 4 KB behind the boot part, the last live one counts.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.reference.engine.guest_files import File, Files, Mode
from harness.reference.flash.flash_region import SECTOR, Region
from harness.reference.nodemcu.state import LuaFault

#: Longest file name in bytes (SPIFFS object name, its end not counted).
NAME_LIMIT = 31
_READ = 1024
_MODES = {
    b"r": Mode(),
    b"w": Mode(read=False, write=True, create=True, truncate=True),
    b"a": Mode(read=False, write=True, create=True, append=True),
    b"r+": Mode(write=True),
    b"w+": Mode(write=True, create=True, truncate=True),
    b"a+": Mode(write=True, create=True, append=True),
}
_SEEK = {b"set": 0, b"cur": 1, b"end": 2}


class FileModule:
    """``file`` over a flat filesystem of ``size`` bytes."""

    def __init__(self, files: Files, size: int) -> None:
        self._files = files
        self._size = size
        self._open: dict[int, File] = {}
        self._last = 0
        self.host: dict[str, Callable[..., Any]] = {
            "file_content": self.content,
            "file_list": self._list,
            "file_exists": lambda name: self._stat(name) is not None,
            "file_stat": self._stat,
            "file_remove": self._remove,
            "file_rename": self._rename,
            "file_fsinfo": self._info,
            "file_format": self._format,
            "file_open": self._opened,
            "file_close": self._close,
            "file_read": self._read,
            "file_readline": lambda handle: self._read(handle, b"\n"),
            "file_write": self._write,
            "file_writeline": lambda handle, text: self._write(handle, text + b"\n"),
            "file_seek": self._seek,
            "file_flush": self._flush,
        }

    def content(self, name: bytes) -> bytes:
        """All of a file. Raises LuaFault as ``loadfile`` says it."""
        try:
            file = self._files.open(_path(name), Mode())
        except OSError:
            raise LuaFault(f"cannot open {name.decode('latin-1')}") from None
        try:
            return file.read(self._size)
        finally:
            file.close()

    def put(self, name: bytes, data: bytes) -> None:
        file = self._files.open(_path(name), _MODES[b"w"])
        file.write(data)
        file.close()

    def _names(self) -> list[str]:
        return [name for name, folder in self._files.listdir("/") if not folder]

    def _list(self) -> tuple[Any, ...]:
        return tuple(part for name in self._names() for part in (name.encode("latin-1"), self._stat(name.encode())))

    def _stat(self, name: bytes) -> int | None:
        try:
            return self._files.stat(_path(name)).size
        except OSError:
            return None

    def _remove(self, name: bytes) -> None:
        with contextlib.suppress(OSError):
            self._files.remove(_path(name))

    def _rename(self, old: bytes, new: bytes) -> bool:
        if self._stat(old) is None or self._stat(new) is not None:
            return False
        self._files.rename(_path(old), _path(new))
        return True

    def _info(self) -> tuple[int, int, int]:
        used = sum(-(-(self._stat(name.encode("latin-1")) or 0) // SECTOR) * SECTOR for name in self._names())
        return self._size - used, used, self._size

    def _format(self) -> None:
        for name in self._names():
            self._files.remove("/" + name)

    def _opened(self, name: bytes, mode: bytes | None = None) -> int | None:
        mode = mode or b"r"
        if mode not in _MODES:
            raise LuaFault("bad argument #2 to 'open' (invalid mode)")
        try:
            file = self._files.open(_path(name), _MODES[mode])
        except OSError:
            return None
        self._last += 1
        self._open[self._last] = file
        return self._last

    def _of(self, handle: int) -> File:
        try:
            return self._open[handle]
        except KeyError:
            raise LuaFault("file is closed") from None

    def _close(self, handle: int) -> None:
        file = self._open.pop(handle, None)
        if file is not None:
            file.close()

    def _read(self, handle: int, amount: float | bytes | None = None) -> bytes | None:
        file = self._of(handle)
        end = amount[:1] if isinstance(amount, bytes) else b""
        start = file.seek(0, 1)
        data = file.read(_READ if amount is None or end else max(0, int(amount)))
        if end and (at := data.find(end)) >= 0:
            data = data[: at + 1]
            file.seek(start + len(data), 0)
        return data or None

    def _write(self, handle: int, data: bytes) -> bool | None:
        try:
            return True if self._of(handle).write(data) == len(data) else None
        except OSError:
            return None

    def _seek(self, handle: int, whence: bytes | None = None, offset: float | None = None) -> int | None:
        try:
            return self._of(handle).seek(int(offset or 0), _SEEK[whence or b"cur"])
        except OSError:
            return None

    def _flush(self, handle: int) -> bool:
        self._of(handle).sync()
        return True

    def end(self) -> None:
        """The chip restarts: open files are closed by nobody, so what was not flushed may be lost."""
        for handle in list(self._open):
            with contextlib.suppress(OSError):
                self._close(handle)


def _path(name: bytes) -> str:
    name = name.removeprefix(b"/FLASH/").lstrip(b"/")
    if not 1 <= len(name) <= NAME_LIMIT:
        raise LuaFault("filename invalid")
    return "/" + name.replace(b"/", b"|").decode("latin-1")


def codec_functions() -> dict[str, Callable[..., Any]]:
    """``encoder``, and ``crypto.hash``."""

    def digest(name: bytes, data: bytes) -> bytes:
        if name.lower() not in (b"md5", b"sha1", b"sha256", b"sha384", b"sha512"):
            raise LuaFault("bad argument #1 to 'hash' (unknown algorithm)")
        return hashlib.new(name.decode().lower(), data, usedforsecurity=False).digest()

    def decode(data: bytes) -> bytes:
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error:
            raise LuaFault("invalid base64 string") from None

    def unhex(data: bytes) -> bytes:
        try:
            return binascii.unhexlify(data)
        except binascii.Error:
            raise LuaFault("invalid hexadecimal string") from None

    return {
        "encoder_toBase64": base64.b64encode,
        "encoder_fromBase64": decode,
        "encoder_toHex": binascii.hexlify,
        "encoder_fromHex": unhex,
        "crypto_hash": digest,
    }


# -- the runtime configuration record -----------------------------------------------------------------

#: Where it lies in flash, and the address at which the chip sees the flash.
RCR, MAPPED = 0x10000, 0x4020_0000
_DELETED, _TABLE_ID, _STARTUP_ID, _FREE = 0, 1, 6, 0xFF
_LFS, _SPIFFS = 103, 106
_ALIGNMENT = 0x2000


@dataclass(frozen=True)
class Layout:
    """Where LFS and filesystem lie: flash offsets and sizes in bytes; a size of 0 means there is none."""

    lfs: tuple[int, int]
    files: tuple[int, int]

    def to_record(self, irom_size: int, flash_size: int) -> bytes:
        """The partition table as one RCR record."""
        items = [
            (101, 0, 0xB000),
            (4, 0xD000, 0x1000),
            (5, 0xF000, 0x1000),
            (102, RCR, irom_size),
            (_LFS, *self.lfs),
            (_SPIFFS, *self.files),
            (6, flash_size - 0x3000, 0x3000),
            (0, RCR + irom_size, 0),
        ]
        body = b"".join(struct.pack("<III", *item) for item in items)
        return bytes([len(body) // 4, _TABLE_ID, 0, 0]) + body


class Configuration:
    """The RCR of ``flash``. Raises ValueError when it holds no partition table."""

    def __init__(self, flash: Region) -> None:
        self._flash = flash
        self._irom_size = 0
        body = self._find(_TABLE_ID)
        if body is None:
            raise ValueError("no partition table in the flash")
        parts = {kind: (offset, size) for kind, offset, size in struct.iter_unpack("<III", body)}
        self._irom_size = parts.get(102, (0, 0))[1]
        self.layout = Layout(parts.get(_LFS, (0, 0)), parts.get(_SPIFFS, (0, 0)))
        for offset, size in (self.layout.lfs, self.layout.files):
            if offset + size > flash.size or offset % SECTOR or size % SECTOR:
                raise ValueError("the partition table does not fit the flash")
        self.startup = (self._find(_STARTUP_ID) or b"").rstrip(b"\0")

    def _records(self) -> list[tuple[int, int, bytes]]:
        """Offset, id and body of each record."""
        records, at = [], RCR
        while at < RCR + SECTOR - 4:
            words, kind = self._flash.read(at, 2)
            if kind == _FREE:
                break
            size = min(4 * words, RCR + SECTOR - at - 4)
            records.append((at, kind, self._flash.read(at + 4, size)))
            at += 4 + size
        return records

    def _find(self, wanted: int) -> bytes | None:
        return next((body for _, kind, body in reversed(self._records()) if kind == wanted), None)

    def _put(self, kind: int, body: bytes) -> None:
        """Add a record and strike the old one out: only bits are cleared."""
        body += bytes(-len(body) % 4)
        records = self._records()
        at = records[-1][0] + 4 + len(records[-1][2]) if records else RCR
        if at + 4 + len(body) > RCR + SECTOR or len(body) > 4 * 255:
            raise LuaFault("RCR is full")
        self._flash.program(at, bytes([len(body) // 4, kind, 0, 0]) + body)
        for old, known, _ in records:
            if known == kind:
                self._flash.program(old + 1, bytes([_DELETED]))

    def change(self, layout: Layout) -> None:
        """Write another partition table. Raises LuaFault for one that cannot be."""
        for offset, size in (layout.lfs, layout.files):
            if offset % _ALIGNMENT or size % _ALIGNMENT or offset < RCR or offset + size > self._flash.size - 0x3000:
                raise LuaFault("Partition value out of range")
        if layout.files[1] and layout.lfs[0] + layout.lfs[1] > layout.files[0] > layout.lfs[0]:
            raise LuaFault("Partition value out of range")
        self._put(_TABLE_ID, layout.to_record(self._irom_size, self._flash.size)[4:])

    def set_startup(self, command: bytes) -> None:
        self._put(_STARTUP_ID, command)
