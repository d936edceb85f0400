"""esp_app_desc_t: the 256 bytes at the start of an ESP32-family application that say what it is.

Source: ESP-IDF Programming Guide, "App Image Format", section "Application Description".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from harness.formats.banner import plain
from harness.formats.esp_image import ImageError

MAGIC = 0xABCD5432
SIZE = 256
# magic, secure_version, 8 reserved, version, project_name, time, date, idf_ver, app_elf_sha256,
# min/max efuse block revision, mmu page size (log2), reserved
_STRUCT = struct.Struct("<II8x32s32s16s16s32s32sHHB75x")


@dataclass(frozen=True)
class AppDesc:
    version: str
    project: str
    time: str
    date: str
    idf_version: str
    elf_sha256: bytes = bytes(32)
    secure_version: int = 0


def parse(data: bytes) -> AppDesc:
    """Raises :class:`ImageError` when ``data`` is too short or has no app description magic."""
    if len(data) < SIZE:
        raise ImageError(f"application description: expected {SIZE} bytes, found {len(data)}")
    magic, secure, version, project, time, date, idf, sha, *_ = _STRUCT.unpack_from(data)
    if magic != MAGIC:
        raise ImageError(f"application description: expected magic 0x{MAGIC:08x}, found 0x{magic:08x}")
    return AppDesc(
        version=plain(version),
        project=plain(project),
        time=plain(time),
        date=plain(date),
        idf_version=plain(idf),
        elf_sha256=sha,
        secure_version=secure,
    )


def build(desc: AppDesc) -> bytes:
    """The 256 bytes. Raises :class:`ImageError` for text that does not fit its field with its NUL."""
    return _STRUCT.pack(
        MAGIC,
        desc.secure_version,
        _field("version", desc.version, 32),
        _field("project", desc.project, 32),
        _field("time", desc.time, 16),
        _field("date", desc.date, 16),
        _field("idf_version", desc.idf_version, 32),
        desc.elf_sha256,
        0,
        0,
        0,
    )


def _field(name: str, text: str, size: int) -> bytes:
    if not text.isascii() or len(text) >= size:
        raise ImageError(f"application description: {name} {text!r} must be ASCII of at most {size - 1} bytes")
    return text.encode("ascii")
