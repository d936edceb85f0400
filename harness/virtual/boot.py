"""The boot ROM's other half: it looks at what is in the flash, says so on the console, and boots it or not.

Image format: esptool documentation, "Firmware Image Format"; partition table: ESP-IDF Programming Guide,
"Partition Tables". The ROMs are closed: their words follow public boot logs. This parser is the chip's
own and shares nothing with ``harness.firmware``, which builds the images.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from harness.chips import RomWords, chip_named
from harness.virtual.live_board import virtual_parts
from harness.virtual.nor_flash import Flash
from harness.virtual.rom import xor_checksum
from harness.virtual.serial_chip import Boot

__all__ = ["Boot", "boot", "download_text"]

_PAYLOAD_MAGIC = b"VMWASM\0\1"
_APP_DESC_SIZE = 256
_TABLE, _TABLE_SIZE = 0x8000, 0xC00
_IROM = 0x9000
#: Starts at which there is no program counter to tell of.
_WITHOUT_PC = ("power-on", "external", "deep-sleep", "brown-out")

#: ESP8266: 1 power on, 2 external reset; a software restart repeats what was before.
ESP8266_REASONS = {"power-on": 1, "external": 2, "software": 2, "watchdog": 4, "panic": 2, "deep-sleep": 2}


class _Bad(Exception):
    """The image is not valid; the text says it as the chip does."""


def boot(chip: str, flash: Flash, reason: str) -> Boot:
    return _boot_esp8266(flash, reason) if chip == "esp8266" else _boot_esp32(chip, flash, reason)


def download_text(chip: str, reason: str) -> tuple[int, bytes]:
    """(baud, text) when the boot loader is asked for at a reset."""
    if chip == "esp8266":
        cause = ESP8266_REASONS[reason]
        return 74880, f"\r\n ets Jan  8 2013,rst cause:{cause}, boot mode:(1,6)\r\n\r\n".encode()
    rom = _rom(chip)
    said = Boot()
    said.say(115200, _banner(rom, reason, rom.download) + "waiting for download\n")
    return said.text[0]


def _rom(chip: str) -> RomWords:
    view = virtual_parts(chip).esptool
    assert view is not None and view.rom is not None, f"nobody has written down what the {chip}'s ROM says"
    return view.rom


def _banner(rom: RomWords, reason: str, mode: str) -> str:
    code, name = rom.reasons[reason]
    # The newer ROMs tell where the program was that a reset of the core has ended.
    pc = "" if rom.first or reason in _WITHOUT_PC else "Saved PC:0x40000000\n"
    return f"{rom.greeting}rst:0x{code:x} ({name}),{mode}\n{pc}"


@dataclass(frozen=True)
class _Image:
    chip_id: int
    segments: list[tuple[int, int, int]]  # address, size, flash offset of the data
    checksum: tuple[int, int]  # computed, stored
    end: int  # flash offset after the checksum byte
    hash_appended: bool
    entry: int


def _image(flash: Flash, offset: int, extended: bool) -> _Image:
    if offset + 24 > flash.size:
        raise _Bad("flash read err, 1000")
    header = flash.read(offset, 24)
    count, entry = header[1], struct.unpack_from("<I", header, 4)[0]
    if header[0] != 0xE9:
        raise _Bad(f"invalid header: 0x{struct.unpack_from('<I', header)[0]:08x}")
    if not 1 <= count <= 16:
        raise _Bad(f"invalid segment count: {count}")
    at = offset + (24 if extended else 8)
    segments, checksum = [], 0xEF
    for _ in range(count):
        if at + 8 > flash.size:
            raise _Bad("flash read err, 1000")
        address, size = struct.unpack("<II", flash.read(at, 8))
        if size > flash.size or at + 8 + size > flash.size:
            raise _Bad("flash read err, 1000")
        segments.append((address, size, at + 8))
        checksum ^= xor_checksum(flash.read(at + 8, size)) ^ 0xEF
        at += 8 + size
    last = offset + ((at - offset) | 15)
    if last + 1 > flash.size:
        raise _Bad("flash read err, 1000")
    stored = flash.read(last, 1)[0]
    chip_id = struct.unpack_from("<H", header, 12)[0]
    return _Image(chip_id, segments, (checksum, stored), last + 1, extended and header[23] == 1, entry)


def _payload(data: bytes) -> bytes | None:
    if data[:8] != _PAYLOAD_MAGIC or len(data) < 12:
        return None
    size = struct.unpack_from("<I", data, 8)[0]
    return data[12 : 12 + size] if size <= len(data) - 12 else None


# -- ESP32 ---------------------------------------------------------------------------------------


def _boot_esp32(chip: str, flash: Flash, reason: str) -> Boot:
    result = Boot()
    rom, record = _rom(chip), chip_named(chip)
    result.say(115200, _banner(rom, reason, rom.flash))
    try:
        image = _image(flash, record.boot_offset, extended=True)
    except _Bad as bad:
        line = str(bad)
        repeat = 3 if line.startswith("invalid header") else 1
        result.say(115200, f"{line}\n" * repeat + ("" if repeat > 1 else "ets_main.c 371 \n"))
        return result
    if not rom.first and image.chip_id != record.image_id:
        wrong = f"Invalid chip id. Expected {record.image_id} read {image.chip_id}. Bootloader for wrong chip?"
        result.say(115200, f"{wrong}\nets_main.c 329 \n")
        return result
    result.say(115200, rom.before_load)
    for index, (address, size, _) in enumerate(image.segments):
        length = f"{size}" if rom.first else f"0x{size:x}"
        room = "ho 0 tail 12 room 4\n" if rom.first and index == 0 else ""
        result.say(115200, f"load:0x{address:08x},len:{length}\n{room}")
    computed, stored = image.checksum
    if computed != stored:
        wrong = f"csum err:0x{stored:02x}!=0x{computed:02x}\nets_main.c 384 \n"
        if not rom.first:
            wrong = f"Checksum failure. Calculated 0x{computed:02x} stored 0x{stored:02x}\nets_main.c 329 \n"
        result.say(115200, wrong)
        return result
    if not rom.first and image.hash_appended:
        _say_wrong_hash(flash, record.boot_offset, image, result)
    result.say(115200, f"entry 0x{image.entry:08x}\n")
    try:
        _second_stage(flash, result, record.image_id)
    except _Bad as bad:
        result.payload = None
        result.again_because = "bootloader"
        result.say(115200, f"{bad}\n")
    return result


def _say_wrong_hash(flash: Flash, offset: int, image: _Image, result: Boot) -> None:
    """The newer ROMs compute the boot loader's SHA-256, and start it all the same."""
    computed = hashlib.sha256(flash.read(offset, image.end - offset)).digest()
    stored = flash.read(image.end, min(32, flash.size - image.end))
    if computed != stored:
        words = f"SHA-256 comparison failed:\nCalculated: {computed.hex()}\nExpected: {stored.hex()}\n"
        result.say(115200, f"{words}Attempting to boot anyway...\n")


def _second_stage(flash: Flash, result: Boot, chip_id: int | None) -> None:
    """What the boot loader in the flash does: partition table, then the application with checksum and hash."""
    result.partitions = _partitions(flash)
    if "factory" not in result.partitions:
        raise _Bad("E (68) boot: No bootable app partitions in the partition table")
    offset, _size = result.partitions["factory"]
    not_bootable = (
        "E (%d) boot: Factory app partition is not bootable\n"
        "E (%d) boot: No bootable app partitions in the partition table"
    )
    try:
        image = _image(flash, offset, extended=True)
    except _Bad:
        magic = flash.read(offset, 1)[0]
        words = f"E (71) esp_image: image at 0x{offset:x} has invalid magic byte (nothing flashed here?)"
        if magic == 0xE9:
            words = f"E (71) esp_image: image at 0x{offset:x} has invalid segments"
        raise _Bad(f"{words}\n" + not_bootable % (74, 79)) from None
    if image.chip_id != chip_id:
        # ESP-IDF, bootloader_common_check_chip_validity().
        raise _Bad(
            f"E (72) boot_comm: mismatch chip ID, expected {chip_id}, found {image.chip_id}\n" + not_bootable % (74, 79)
        )
    computed, stored = image.checksum
    if computed != stored:
        raise _Bad(
            f"E (412) esp_image: Checksum failed. Calculated 0x{computed:x} read 0x{stored:x}\n"
            + not_bootable % (415, 420)
        )
    if image.hash_appended:
        digest = hashlib.sha256(flash.read(offset, image.end - offset)).digest()
        if digest != flash.read(image.end, min(32, flash.size - image.end)):
            raise _Bad("E (433) esp_image: Image hash failed - image is corrupt\n" + not_bootable % (436, 441))
    _address, size, at = image.segments[0]
    result.payload = _payload(flash.read(at, size)[_APP_DESC_SIZE:])
    if result.payload is None:
        raise _Bad("E (440) boot: the application holds no code that this CPU executes")


def _partitions(flash: Flash) -> dict[str, tuple[int, int]]:
    if flash.size < _TABLE + _TABLE_SIZE:
        raise _Bad("E (60) flash_parts: load partition table error!")
    table = flash.read(_TABLE, _TABLE_SIZE)
    places: dict[str, tuple[int, int]] = {}
    for index in range(0, len(table), 32):
        row = table[index : index + 32]
        if row[:2] == b"\xeb\xeb":
            if hashlib.md5(table[:index], usedforsecurity=False).digest() != row[16:]:
                raise _Bad(
                    "E (60) flash_parts: calculated MD5 differs from the stored one\n"
                    "E (64) boot: Failed to verify partition table\nE (69) boot: load partition table error!"
                )
            return places
        if row[:2] != b"\xaa\x50":
            magic = struct.unpack_from("<H", row)[0]
            raise _Bad(
                f"E (60) flash_parts: partition {index // 32} invalid magic number 0x{magic:x}\n"
                "E (67) boot: Failed to verify partition table\nE (72) boot: load partition table error!"
            )
        offset, size = struct.unpack_from("<II", row, 4)
        if offset + size > flash.size:
            raise _Bad(
                f"E (60) flash_parts: partition {index // 32} invalid - offset 0x{offset:x} size 0x{size:x} "
                f"exceeds flash chip size 0x{flash.size:x}\n"
                "E (67) boot: Failed to verify partition table\nE (72) boot: load partition table error!"
            )
        places[row[12:28].rstrip(b"\0").decode("ascii", "replace")] = (offset, size)
    return places


# -- ESP8266 -------------------------------------------------------------------------------------


def _boot_esp8266(flash: Flash, reason: str) -> Boot:
    result = Boot()
    result.say(74880, f"\n ets Jan  8 2013,rst cause:{ESP8266_REASONS[reason]}, boot mode:(3,6)\n\n")
    try:
        image = _image(flash, 0, extended=False)
    except _Bad:
        result.say(74880, "flash read err, 0\nets_main.c 181 \n")
        return result
    for index, (address, size, _) in enumerate(image.segments):
        lead = f"load 0x{address:08x}, len {size}, room {16 if index == 0 else 8} \n"
        result.say(
            74880,
            lead + f"tail {size % 16}\nchksum 0x{xor_checksum(flash.read(image.segments[index][2], size)):02x}\n",
        )
    computed, stored = image.checksum
    if computed != stored:
        result.say(74880, "csum err\nets_main.c 181 \n")
        return result
    result.say(74880, f"csum 0x{computed:02x}\n")
    result.payload = _irom(flash)
    if result.payload is None:
        # The ROM does not look at the code in flash: the CPU runs into it and faults.
        result.again_because = "panic"
        result.say(
            115200,
            "Fatal exception 0(IllegalInstructionCause):\n"
            "epc1=0x40209004, epc2=0x00000000, epc3=0x00000000, excvaddr=0x00000000, depc=0x00000000\n",
        )
        return result
    vfs = 0x100000
    result.partitions = {"romfs": (0xB0000, 0x50000), "vfs": (vfs, flash.size - vfs - 0x5000)}
    return result


def _irom(flash: Flash) -> bytes | None:
    """The code that the CPU executes from flash; None when it is damaged.

    Real hardware would execute a damaged byte; the virtual CPU takes the image's own MD5 as the sign that
    it cannot.
    """
    if flash.size < _IROM + 12 + 16:
        return None
    length = struct.unpack("<I", flash.read(_IROM - 4, 4))[0]
    if not _IROM + 12 <= length <= flash.size - 16:
        return None
    digest = hashlib.md5(flash.read(4, length - 4), usedforsecurity=False).digest()
    if digest != flash.read(length, 16):
        return None
    return _payload(flash.read(_IROM, length - _IROM))
