"""What faults and traits do to a virtual board's flash and to its start; when they do, ``faults.py`` decides.

What a chip says at a start that goes wrong: public boot logs of the ESP32's ROM with a flash that does not answer in
the mode or at the frequency of the image's header; ESP-IDF ``components/esp_system/port/cpu_start.c`` (PSRAM, octal
flash), ``components/esp_psram`` (the PSRAM's id).
"""

from __future__ import annotations

import contextlib
import random
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from littlefs import LittleFS, LittleFSError

from harness.chips import CHIPS
from harness.virtual.faults import Faults
from harness.virtual.flash_files import FlashFiles
from harness.virtual.nor_flash import Flash

if TYPE_CHECKING:
    from harness.virtual.serial_chip import Boot

#: How the files that take up all space begin, and their sizes in bytes.
_BALLAST, _SIZES = "ballast-", (128 * 1024, 16 * 1024, 4096, 1024)
#: Where the chips' firmware has its code, in bytes from the start of the flash; NodeMCU's, a manifest, ends before it.
_CODE, _SMALL_CODE = range(0x12000, 0x40000), range(0x9000, 0x10000)
_BLANK = b"\0\xff"
_NODEMCU = b"NODEMCU\0"
_VERSION = re.compile(rb"(?<![0-9.])([0-9])\.([0-9]{2})\.([0-9])(?![0-9.])")
_LUA_VERSION = re.compile(rb"(?<![0-9.])([0-9])\.[0-9]\.([0-9])(?![0-9.])")


#: Bytes of an image's header: the mode, and the frequency beside the size (esptool, "Firmware Image Format").
_MODE_AT, _FREQUENCY_AT, _QUAD, _80_MHZ = 2, 3, (0, 1), 0xF
_MODES = ("QIO", "QOUT", "DIO", "DOUT")
_NO_PSRAM = (
    "E (285) quad_psram: PSRAM ID read error: 0xffffffff, PSRAM chip not found or not supported, or wrong PSRAM line "
    "mode\n"
)
_ABORTS = "\nabort() was called at PC 0x40081be9 on core 0\n\n\nBacktrace: 0x40081c3d:0x3ffe3b60\n\nRebooting...\n"
_CONSOLE_BAUD = 115200


def as_the_board_is(faults: Faults, chip: str, flash: Flash, booted: Boot) -> Boot:
    """The start that this board has in place of ``booted``, which one without its traits would have."""
    if CHIPS[chip].family != "esp32" or booted.payload is None:
        return booted
    mode, frequency = flash.read(CHIPS[chip].boot_offset + _MODE_AT, 2)
    quad, fast = mode in _QUAD, frequency & 0xF == _80_MHZ
    if (quad and faults.lasts("no-quad-flash")) or (fast and faults.lasts("slow-flash")):
        # The ROM reads the header slowly, and all that follows as the header says.
        read = "load:0x3fff0030,len:6936\nload:0xffffffff,len:-1\n" if quad else "load:0x0f3f0004,len:4864\n"
        failed = replace(booted, text=booted.text[:1], payload=None, again_because="watchdog")
        failed.say(
            _CONSOLE_BAUD,
            "configsip: 0, SPIWP:0xee\nclk_drv:0x00,q_drv:0x00,d_drv:0x00,cs0_drv:0x00,hd_drv:0x00,wp_drv:0x00\n"
            f"mode:{_MODES[mode]}, clock div:{1 if fast else 2}\n{read}",
        )
        return failed
    said = ""
    if faults.lasts("octal-build"):
        said = "E (92) cpu_start: Octal Flash option selected, but EFUSE not configured!\n" + _ABORTS
    elif faults.lasts("no-psram-abort"):
        said = f"{_NO_PSRAM}E cpu_start: Failed to init external RAM!\n{_ABORTS}"
    elif faults.lasts("no-psram"):
        said = f"{_NO_PSRAM}E cpu_start: Failed to init external RAM; continuing without it.\n"
    if not said:
        return booted
    stops = said.endswith(_ABORTS)
    started = replace(booted, text=list(booted.text), again_because="panic")
    started.payload = None if stops else booted.payload
    started.say(_CONSOLE_BAUD, said)
    return started


def at_boot(faults: Faults, flash: Flash, booted: Boot) -> tuple[bytes, bytes]:
    """What stands on the line before the application, and the application that starts."""
    assert booted.payload is not None
    chance = faults.boots("boot-garbage")
    noise = chance.randbytes(chance.randrange(20, 200)) if chance else b""
    _fill(flash, _files(flash, booted), full=faults.boots("full-filesystem") is not None)
    return noise, _with_wrong_version(booted.payload) if faults.boots("wrong-version") else booted.payload


def decay(flash: Flash, *, stuck: bool, chance: random.Random) -> None:
    """Lose a bit of the firmware, for good (``stuck``) or until it is written again."""
    code = next((written for where in (_CODE, _SMALL_CODE) if (written := _written_in(flash, where))), [])
    if not code:
        return  # a chip without firmware
    at = chance.choice(code)
    byte = flash.read(at, 1)[0]
    if stuck:
        flash.stuck[at] = byte
    else:
        flash.program(at, b"\0")


def _written_in(flash: Flash, where: range) -> list[int]:
    data = flash.read(where.start, len(where))
    return [where.start + place for place, byte in enumerate(data) if byte not in _BLANK]


def _with_wrong_version(payload: bytes) -> bytes:
    """The same firmware under another version of the same length, so that nothing else in it moves."""
    if payload.startswith(_NODEMCU):
        return _LUA_VERSION.sub(rb"\g<1>.7.\g<2>", payload)
    return _VERSION.sub(rb"\g<1>.07.\g<3>", payload)


def _files(flash: Flash, booted: Boot) -> tuple[int, int] | None:
    """Where the filesystem lies: NodeMCU's is another than MicroPython's on the same chip."""
    if booted.payload is not None and booted.payload.startswith(_NODEMCU):
        from harness.virtual.nodemcu.nodemcu_firmware import partition_layout  # brings the Lua VM along

        return partition_layout(flash.size).files
    return booted.partitions.get("vfs")


def _fill(flash: Flash, place: tuple[int, int] | None, *, full: bool) -> None:
    """Take all space of the filesystem, or give back what was taken at an earlier start."""
    if place is None or (not full and _BALLAST.encode() not in flash.read(*place)):
        return
    fs = FlashFiles(flash, *place)._fs
    for name in [name for name in fs.listdir("/") if name.startswith(_BALLAST)]:
        fs.remove(f"/{name}")
    count = 0
    for size in _SIZES if full else ():
        # A file that does not fit is not there at all: so smaller ones follow, down to a block.
        while _written(fs, f"/{_BALLAST}{count}", b"\xa5" * size):
            count += 1


def _written(fs: LittleFS, path: str, data: bytes) -> bool:
    try:
        with fs.open(path, "wb") as file:
            file.write(data)
    except LittleFSError:
        with contextlib.suppress(LittleFSError):
            fs.remove(path)
        return False
    return True
