"""How a virtual STM32 starts what its flash holds: without a word, and without a look at more than two of its words.

The core loads its stack pointer and its program counter from the vector table (ARMv7-M Architecture Reference
Manual, B1.5.5 "Reset behavior"); there is no header, no checksum and no text. With a table that leads nowhere the
core locks up. Real hardware would execute a damaged byte of the code; the virtual CPU takes the image's own MD5 as
the sign that it cannot, and locks up as well. This reader is the chip's own and shares nothing with
``harness.firmware``, which builds the images.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

from harness.chips import KB, STM32_FLASH_BASE, Stm32LoaderView
from harness.virtual.nor_flash import Flash
from harness.virtual.serial_chip import Boot

#: Before a payload as it is, and before one that zlib has packed.
_PLAIN_MAGIC, _PACKED_MAGIC = b"VMWASM\0\1", b"VMWASM\0\2"
#: Where the code begins, after the vector table.
_CODE = 0x200
#: Bytes of the largest payload that is unpacked.
_PAYLOAD_LIMIT = 16 * KB * KB
#: The last of the flash: ROMFS, then the filesystem, in bytes.
_ROMFS_SIZE, _VFS_SIZE = 128 * KB, 128 * KB


def boot(spec: Stm32LoaderView, flash: Flash) -> Boot:
    """What the chip executes after its reset; no payload and no next try when it hangs."""
    stack, reset = struct.unpack("<II", flash.read(0, 8))
    in_ram = any(start < stack <= start + size for start, size in spec.ram)
    if stack % 4 or not in_ram or not reset & 1 or not STM32_FLASH_BASE <= reset < STM32_FLASH_BASE + spec.flash_size:
        return Boot(again_because="")
    vfs = spec.flash_size - _VFS_SIZE
    romfs = vfs - _ROMFS_SIZE
    return Boot(
        payload=_payload(flash, romfs),
        partitions={"romfs": (romfs, _ROMFS_SIZE), "vfs": (vfs, _VFS_SIZE)},
        again_because="",
    )


def _payload(flash: Flash, end: int) -> bytes | None:
    head = flash.read(_CODE, 12)
    size = struct.unpack_from("<I", head, 8)[0]
    stop = _CODE + 12 + size + -size % 4
    if head[:8] not in (_PLAIN_MAGIC, _PACKED_MAGIC) or stop + 16 > end:
        return None
    if hashlib.md5(flash.read(0, stop), usedforsecurity=False).digest() != flash.read(stop, 16):
        return None
    payload = flash.read(_CODE + 12, size)
    return payload if head[:8] == _PLAIN_MAGIC else _unpacked(payload, _PAYLOAD_LIMIT)


def _unpacked(packed: bytes, limit: int) -> bytes | None:
    unpacking = zlib.decompressobj()
    try:
        payload = unpacking.decompress(packed, limit)
    except zlib.error:
        return None
    return payload if unpacking.eof else None
