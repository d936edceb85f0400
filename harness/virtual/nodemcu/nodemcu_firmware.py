"""The image that makes a virtual ESP8266 a NodeMCU board."""

from __future__ import annotations

from harness.errors import UsageError
from harness.formats.virtual_image import build
from harness.reference.nodemcu.nodemcu_machine import Firmware
from harness.reference.nodemcu.nodemcu_storage import RCR, Layout
from harness.virtual.nodemcu.app import payload

#: The boards' regions: LFS behind the code, the filesystem from the next megabyte on (NodeMCU ``tools``' default).
LFS_OFFSET, LFS_SIZE = 0xC0000, 0x20000
FILES_OFFSET = 0x100000
_SECTOR = 4096
_SDK_SIZE = 0x5000


def partition_layout(flash_size: int, *, lfs_size: int = LFS_SIZE, lfs_offset: int = LFS_OFFSET) -> Layout:
    """Where LFS and filesystem lie in a flash of that size. Raises UsageError when there is no room."""
    files = (flash_size - FILES_OFFSET - _SDK_SIZE) // 0x2000 * 0x2000
    if files < 16 * _SECTOR:
        raise UsageError(f"virtual esp8266: no room for a filesystem in {flash_size} bytes of flash")
    if lfs_size % 0x2000 or lfs_size > FILES_OFFSET - lfs_offset:
        raise UsageError(
            f"an LFS region of {lfs_size} bytes is not possible",
            hint=f"multiples of 8192 up to {FILES_OFFSET - lfs_offset}",
        )
    return Layout((lfs_offset, lfs_size), (FILES_OFFSET, files))


def rcr_sector(flash_size: int, *, lfs_size: int = LFS_SIZE, lfs_offset: int = LFS_OFFSET) -> bytes:
    """The sector with the runtime configuration record: it holds the partition table."""
    layout = partition_layout(flash_size, lfs_size=lfs_size, lfs_offset=lfs_offset)
    record = layout.to_record(lfs_offset - RCR, flash_size)
    return record.ljust(_SECTOR, b"\xff")


def nodemcu_image(
    *,
    firmware: Firmware | None = None,
    flash_size: int = 4 * 1024 * 1024,
    lfs_size: int = LFS_SIZE,
    lfs_offset: int = LFS_OFFSET,
) -> bytes:
    """The image from offset 0 on: boot part, manifest, and the RCR where the firmware looks for it.

    The same arguments give the same bytes. Raises UsageError for a flash that is too small.
    """
    what = firmware or Firmware()
    image = build("esp8266", payload(what), version=what.version, project="nodemcu", flash_size=flash_size)
    return image.ljust(RCR, b"\xff") + rcr_sector(flash_size, lfs_size=lfs_size, lfs_offset=lfs_offset)
