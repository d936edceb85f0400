"""What faults do to a virtual board's flash and to its start; when they do, ``faults.py`` decides."""

from __future__ import annotations

import random
import re

from harness.virtual.boot import Boot
from harness.virtual.faults import Faults
from harness.virtual.flash import Flash
from harness.virtual.flash_files import FlashFiles

#: The file that takes up all space, and the bytes of one write of it.
BALLAST, _PIECE = "/ballast.bin", 16 * 1024
#: Where both chips' firmware has its code, in bytes from the start of the flash.
_CODE = range(0x12000, 0x40000)
_VERSION = re.compile(rb"(?<![0-9.])([0-9])\.([0-9]{2})\.([0-9])(?![0-9.])")


def at_boot(faults: Faults, flash: Flash, found: Boot) -> tuple[bytes, bytes]:
    """What stands on the line before the application, and the application that starts."""
    assert found.payload is not None
    chance = faults.boots("boot-garbage")
    noise = chance.randbytes(chance.randrange(20, 200)) if chance else b""
    _fill(flash, found.partitions.get("vfs"), full=faults.boots("full-filesystem") is not None)
    return noise, _lie(found.payload) if faults.boots("wrong-version") else found.payload


def decay(flash: Flash, *, stuck: bool, chance: random.Random) -> None:
    """Lose a bit of the firmware, for good (``stuck``) or until it is written again."""
    at = chance.choice(_CODE)
    while not (byte := flash.read(at, 1)[0]) or byte == 0xFF:
        at = chance.choice(_CODE)
    if stuck:
        flash.stuck[at] = byte
    else:
        flash.program(at, b"\0")


def _lie(payload: bytes) -> bytes:
    """The same firmware under another version of the same length, so that nothing else in it moves."""
    return _VERSION.sub(rb"\g<1>.07.\g<3>", payload)


def _fill(flash: Flash, place: tuple[int, int] | None, *, full: bool) -> None:
    """Take all space of the filesystem, or give back what was taken at an earlier start."""
    if place is None or (not full and BALLAST.encode()[1:] not in flash.read(*place)):
        return
    files = FlashFiles(flash, *place)
    fs = files._fs
    if not full:
        if BALLAST[1:] in fs.listdir("/"):
            fs.remove(BALLAST)
        return
    try:
        with fs.open(BALLAST, "wb") as ballast:
            while True:
                ballast.write(b"\xa5" * _PIECE)
                ballast.flush()
    except Exception as problem:  # the library's own error for "no space left", raised at a write or at the close
        if type(problem).__name__ != "LittleFSError":
            raise
