"""Espressif firmware images: parsing and building the container that the boot ROMs load.

Follows esptool documentation, "Firmware Image Format" (header, segments, checksum, appended SHA-256)
and, for the ESP8266's second version with its CRC, "ESP8266 Non-OS SDK API Reference", FOTA images.
Signed and encrypted images are not handled.
"""

from __future__ import annotations

import binascii
import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.chips import chip_of_image
from harness.errors import UsageError

MAGIC = 0xE9
MAGIC_ESP8266_V2 = 0xEA
CHECKSUM_SEED = 0xEF
MAX_SEGMENTS = 16
# One segment never exceeds the largest flash that these chips can have.
MAX_SEGMENT_SIZE = 64 * 1024 * 1024

FlashMode = Literal["qio", "qout", "dio", "dout"]
FLASH_MODES: tuple[FlashMode, ...] = ("qio", "qout", "dio", "dout")
_KB, _MB = 1024, 1024 * 1024
FLASH_SIZES_ESP8266: dict[int, int] = {
    0: 512 * _KB, 1: 256 * _KB, 2: 1 * _MB, 3: 2 * _MB, 4: 4 * _MB,
    5: 2 * _MB, 6: 4 * _MB, 8: 8 * _MB, 9: 16 * _MB,
}  # fmt: skip
FLASH_SIZES_ESP32: dict[int, int] = {n: _MB << n for n in range(8)}
FREQ_40M = 0x0

_HEADER = struct.Struct("<BBBBI")
# wp_pin, 3 drive bytes, chip id, min rev (old), min rev, max rev, reserved, hash appended
_EXTENDED = struct.Struct("<BBBBHBHH4sB")
_SEGMENT = struct.Struct("<II")
WP_PIN_DISABLED = 0xEE


class ImageError(UsageError):
    """The bytes are not the firmware image that they should be."""


@dataclass(frozen=True)
class Segment:
    """``data`` is copied to (or mapped at) ``address``; ``file_offset`` is where it begins in the image."""

    address: int
    data: bytes
    file_offset: int


@dataclass(frozen=True)
class EspImage:
    """One parsed image. Sizes and offsets in bytes, relative to the image's first byte.

    Structure is sound once parsed; whether the *content* is, is told by :attr:`faults`, so that a
    caller can show both the value stored and the value computed.
    """

    version: int  # 1, or 2 for the ESP8266's 0xEA images; ESP32-family images are version 1
    chip_id: int | None  # None: ESP8266
    entry: int
    flash_mode: int
    flash_size_freq: int
    segments: tuple[Segment, ...]
    checksum: int
    checksum_computed: int
    sha256: bytes | None
    sha256_computed: bytes | None
    crc32: int | None
    crc32_computed: int | None
    min_revision: int  # major * 100 + minor, as max_revision; 0 and 0: only min_revision_old counts
    max_revision: int  # 65535: any
    min_revision_old: int  # of images before ESP-IDF 4.4.3: the major revision, on an ESP32-C3 the minor one
    length: int  # up to and including checksum, SHA-256 and CRC

    @property
    def chip(self) -> str | None:
        """Name of the chip, or None for a chip id that is not known."""
        if self.chip_id is None:
            return "esp8266"
        known = chip_of_image(self.chip_id)
        return known.name if known else None

    @property
    def flash_size(self) -> int | None:
        sizes = FLASH_SIZES_ESP8266 if self.chip_id is None else FLASH_SIZES_ESP32
        return sizes.get(self.flash_size_freq >> 4)

    @property
    def faults(self) -> tuple[str, ...]:
        """What is wrong with the content, in words; empty when checksum, SHA-256 and CRC agree."""
        problems = []
        if self.checksum != self.checksum_computed:
            problems.append(f"checksum stored 0x{self.checksum:02x}, computed 0x{self.checksum_computed:02x}")
        if self.sha256 != self.sha256_computed:
            stored = (self.sha256 or b"").hex()[:16]
            problems.append(f"SHA-256 stored {stored}…, computed {(self.sha256_computed or b'').hex()[:16]}…")
        if self.crc32 != self.crc32_computed:
            problems.append(f"CRC-32 stored 0x{self.crc32 or 0:08x}, computed 0x{self.crc32_computed or 0:08x}")
        return tuple(problems)


def looks_like_esp8266(data: bytes) -> bool:
    """Whether a 0xE9 image is the ESP8266's, which has no extended header.

    The word after the common header is then the first segment's load address. In an ESP32-family
    image it is the WP pin and the pin drive bytes, which never have those values.
    """
    if len(data) < 12:
        return False
    word: int = struct.unpack_from("<I", data, 8)[0]
    return 0x3FFE_0000 <= word < 0x4000_0000 or 0x4010_0000 <= word < 0x4030_0000


def parse(data: bytes, *, esp8266: bool | None = None) -> EspImage:
    """Parse the image that begins at ``data[0]``; what follows its end is ignored.

    ``esp8266`` says which of the two header forms to read (None: by :func:`looks_like_esp8266`).
    Raises :class:`ImageError` for anything that is not a complete image: wrong magic, too many
    segments, a segment past the end, a missing checksum or hash.
    """
    if data[:1] == bytes([MAGIC_ESP8266_V2]):
        return _parse_esp8266_v2(data)
    _need(data, 0, _HEADER.size, "image header")
    magic, count, mode, size_freq, entry = _HEADER.unpack_from(data)
    if magic != MAGIC:
        raise ImageError(
            f"expected an ESP image (first byte 0xe9 or 0xea), found 0x{magic:02x}",
            hint="give the .bin file of the firmware release, not an .elf, .hex or .uf2 file",
        )
    _check_count(count)
    if esp8266 is None:
        esp8266 = looks_like_esp8266(data)
    position, chip_id, hash_appended = _HEADER.size, None, 0
    old_rev = min_rev = max_rev = 0
    if not esp8266:
        _need(data, position, _EXTENDED.size, "extended header")
        fields = _EXTENDED.unpack_from(data, position)
        chip_id, old_rev, min_rev, max_rev, hash_appended = fields[4], fields[5], fields[6], fields[7], fields[9]
        if hash_appended > 1:
            raise ImageError(f"expected 0 or 1 in the header's hash flag, found {hash_appended}")
        position += _EXTENDED.size
    segments, position = _parse_segments(data, position, count)
    checksum, position = _parse_checksum(data, position)
    sha = computed = None
    if hash_appended:
        _need(data, position, 32, "SHA-256")
        sha, computed = data[position : position + 32], hashlib.sha256(data[:position]).digest()
        position += 32
    return EspImage(
        version=1, chip_id=chip_id, entry=entry, flash_mode=mode, flash_size_freq=size_freq,
        segments=segments, checksum=checksum, checksum_computed=checksum_of(s.data for s in segments),
        sha256=sha, sha256_computed=computed, crc32=None, crc32_computed=None,
        min_revision=min_rev, max_revision=max_rev, min_revision_old=old_rev, length=position,
    )  # fmt: skip


def _parse_esp8266_v2(data: bytes) -> EspImage:
    """0xEA header, the irom segment with address 0 and outside the checksum, then a 0xE9 image and a CRC."""
    _need(data, 0, _HEADER.size, "image header")
    irom, position = _parse_segments(data, _HEADER.size, 1)
    _need(data, position, _HEADER.size, "second image header")
    magic, count, mode, size_freq, entry = _HEADER.unpack_from(data, position)
    if magic != MAGIC:
        raise ImageError(f"expected the second header (0xe9) at 0x{position:x}, found 0x{magic:02x}")
    _check_count(count)
    segments, position = _parse_segments(data, position + _HEADER.size, count)
    checksum, position = _parse_checksum(data, position)
    _need(data, position, 4, "CRC-32")
    stored = struct.unpack_from("<I", data, position)[0]
    return EspImage(
        version=2, chip_id=None, entry=entry, flash_mode=mode, flash_size_freq=size_freq,
        segments=irom + segments, checksum=checksum, checksum_computed=checksum_of(s.data for s in segments),
        sha256=None, sha256_computed=None, crc32=stored, crc32_computed=esp8266_crc32(data[:position]),
        min_revision=0, max_revision=0, min_revision_old=0, length=position + 4,
    )  # fmt: skip


def esp8266_crc32(data: bytes) -> int:
    """The CRC of version 2 images: inverted when its top bit is set, plus one otherwise."""
    crc = binascii.crc32(data)
    return crc ^ 0xFFFF_FFFF if crc & 0x8000_0000 else crc + 1


def checksum_of(parts: Iterable[bytes]) -> int:
    """XOR of all bytes of all segments, seeded with 0xEF."""
    checksum = CHECKSUM_SEED
    for part in parts:
        checksum ^= _xor(part)
    return checksum


def _xor(data: bytes) -> int:
    # Folding halves of one large integer is some 50 times faster than a loop over the bytes.
    value, width = int.from_bytes(data, "little"), len(data)
    while width > 1:
        half = (width + 1) // 2
        value = (value >> (8 * half)) ^ (value & ((1 << (8 * half)) - 1))
        width = half
    return value


def _need(data: bytes, position: int, size: int, what: str) -> None:
    if position + size > len(data):
        raise ImageError(
            f"image is truncated: its {what} ends at byte {position + size}, the data at {len(data)}",
            hint="fetch or build the image again; the file is not complete",
        )


def _check_count(count: int) -> None:
    if not 1 <= count <= MAX_SEGMENTS:
        raise ImageError(f"expected 1 to {MAX_SEGMENTS} segments in the image header, found {count}")


def _parse_segments(data: bytes, position: int, count: int) -> tuple[tuple[Segment, ...], int]:
    segments = []
    for number in range(count):
        _need(data, position, _SEGMENT.size, f"header of segment {number}")
        address, size = _SEGMENT.unpack_from(data, position)
        position += _SEGMENT.size
        if size > MAX_SEGMENT_SIZE:
            raise ImageError(f"segment {number} claims {size} bytes, more than any flash holds")
        _need(data, position, size, f"segment {number}")
        segments.append(Segment(address, data[position : position + size], position))
        position += size
    return tuple(segments), position


def _parse_checksum(data: bytes, position: int) -> tuple[int, int]:
    """The checksum is the last byte of the 16-byte block in which the segments end."""
    end = position + 16 - position % 16
    _need(data, end - 1, 1, "checksum")
    return data[end - 1], end


def _size_code(flash_size: int, sizes: dict[int, int]) -> int:
    for code, size in sizes.items():
        if size == flash_size:
            return code
    known = ", ".join(f"{s // _KB} KB" for s in sorted(sizes.values()))
    raise UsageError(f"flash size {flash_size} bytes has no code in the image header", hint=f"one of {known}")


def _body(header: bytes, segments: Sequence[tuple[int, bytes]]) -> bytes:
    _check_count(len(segments))
    out = bytearray(header)
    for address, data in segments:
        data += bytes(-len(data) % 4)
        out += _SEGMENT.pack(address, len(data)) + data
    checksum = checksum_of([data for _, data in segments])
    out += bytes(15 - len(out) % 16) + bytes([checksum])
    return bytes(out)


def build_esp32(
    segments: Sequence[tuple[int, bytes]],
    *,
    entry: int,
    chip_id: int = 0,
    flash_mode: FlashMode = "dio",
    flash_size: int = 4 * _MB,
    revisions: tuple[int, int] = (0, 0),
) -> bytes:
    """An ESP32-family image (40 MHz flash) of ``(load address, data)`` segments, SHA-256 appended, for chips of these
    ``revisions`` (major * 100 + minor, the last one included; both 0: for all).

    Raises :class:`UsageError` for more than 16 segments or a flash size without a code.
    """
    size_freq = _size_code(flash_size, FLASH_SIZES_ESP32) << 4 | FREQ_40M
    header = _HEADER.pack(MAGIC, len(segments), FLASH_MODES.index(flash_mode), size_freq, entry)
    header += _EXTENDED.pack(WP_PIN_DISABLED, 0, 0, 0, chip_id, 0, *revisions, bytes(4), 1)
    body = _body(header, segments)
    return body + hashlib.sha256(body).digest()


def build_esp8266(
    segments: Sequence[tuple[int, bytes]],
    *,
    entry: int,
    flash_mode: FlashMode = "dio",
    flash_size: int = 4 * _MB,
) -> bytes:
    """An ESP8266 version 1 image (40 MHz flash) of ``(load address, data)`` segments."""
    size_freq = _size_code(flash_size, FLASH_SIZES_ESP8266) << 4 | FREQ_40M
    header = _HEADER.pack(MAGIC, len(segments), FLASH_MODES.index(flash_mode), size_freq, entry)
    return _body(header, segments)
