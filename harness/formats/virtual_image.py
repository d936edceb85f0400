"""The images of the virtual boards: a VM's WebAssembly module in the chip's real container.

Everything around the module is what esptool and a boot ROM look at (headers, checksums, partition
table, application description); the module takes the place of the machine code. The same input
gives the same bytes, so unchanged firmware is recognised as unchanged.
"""

from __future__ import annotations

import hashlib
import struct
import zlib

from harness.chips import CHIPS, STM32_FLASH_BASE
from harness.errors import UsageError
from harness.formats import app_desc, esp_image, partitions
from harness.formats.inspect_image import ESP8266_IROM, ESP8266_LENGTH_WORD
from harness.formats.partitions import Partition
from harness.runtimes.traits import DEFAULT_RUNTIME, traits_of_vm

PAYLOAD_MAGIC = b"VMWASM\0\1"
#: The payload that follows is packed by zlib.
PACKED_MAGIC = b"VMWASM\0\2"
_MB = 1024 * 1024

# The ESP32 family: MicroPython's 4 MB table with a ROMFS partition (ports/esp32/partitions-4MiB-romfs.csv).
_ESP32_APP = 0x10000
_ESP32_APP_SIZE = 0x1D_0000
_ESP32_ROMFS = (0x1E_0000, 0x2_0000)
_ESP32_VFS = 0x20_0000
# ESP8266: MicroPython's 2 MB ROMFS variant; the SDK keeps its parameters in the last 5 sectors.
_ESP8266_ROMFS = (0xB_0000, 0x5_0000)
_ESP8266_VFS = 0x10_0000
_ESP8266_SDK_SIZE = 0x5000

# STM32: the last 256 KB of the flash hold ROMFS and the filesystem; on the F405 these are its last two sectors.
_STM32_ROMFS_SIZE = 0x2_0000
_STM32_VFS_SIZE = 0x2_0000
_STM32_CODE = 0x200


def layout(chip: str, flash_size: int = 4 * _MB) -> dict[str, tuple[int, int]]:
    """Where the data areas lie: label -> (flash offset, size) in bytes; on STM32 an address in place of the offset.

    The size of an STM32's flash is its own, whatever ``flash_size`` says. Raises :class:`UsageError` for a flash
    that is too small to hold them (2 MB are enough on the ESP8266, more than 2 MB are needed on the ESP32).
    """
    if CHIPS[chip].family == "esp32":
        return {p.label: (p.offset, p.size) for p in _esp32_partitions(chip, flash_size)}
    own = CHIPS[chip].flash_size
    if own is not None:
        vfs = STM32_FLASH_BASE + own - _STM32_VFS_SIZE
        return {"romfs": (vfs - _STM32_ROMFS_SIZE, _STM32_ROMFS_SIZE), "vfs": (vfs, _STM32_VFS_SIZE)}
    vfs_size = flash_size - _ESP8266_VFS - _ESP8266_SDK_SIZE
    if vfs_size < 16 * partitions.SECTOR:
        raise UsageError(f"virtual esp8266: no room for a filesystem in {flash_size} bytes of flash")
    return {"romfs": _ESP8266_ROMFS, "vfs": (_ESP8266_VFS, vfs_size)}


def flash_offset(chip: str) -> int:
    """Where the image is written, in bytes from the start of the flash; on STM32 the address."""
    return CHIPS[chip].boot_offset


def build(
    chip: str,
    payload: bytes,
    *,
    version: str,
    project: str = DEFAULT_RUNTIME,
    flash_size: int = 4 * _MB,
) -> bytes:
    """The image that makes a virtual ``chip`` run ``payload``, for :func:`flash_offset`.

    ``version`` is what the inspector then finds in it. Raises :class:`UsageError` when the payload
    does not fit in front of the ROMFS area, or the flash size is not one that the chip can have.
    """
    if CHIPS[chip].family == "esp32":
        return _build_esp32(chip, payload, version, project, flash_size)
    if CHIPS[chip].family == "stm32":
        return _build_stm32(chip, payload, version, project)
    return _build_esp8266(payload, version, project, flash_size)


def _wrap(payload: bytes) -> bytes:
    return PAYLOAD_MAGIC + struct.pack("<I", len(payload)) + payload + bytes(-len(payload) % 4)


def _wrap_packed(payload: bytes) -> bytes:
    """For a chip whose boot loader takes each byte as it stands; what esptool sends it packs by itself."""
    packed = zlib.compress(payload, 9)
    return PACKED_MAGIC + struct.pack("<I", len(packed)) + packed + bytes(-len(packed) % 4)


def _title(project: str) -> str:
    traits = traits_of_vm(project)
    return traits.title if traits else project


def _filler(tag: str, size: int) -> bytes:
    """Bytes that stand where machine code would: the same for ever, and not blank."""
    out = b""
    while len(out) < size:
        out += hashlib.sha256(f"{tag} {len(out)}".encode()).digest()
    return out[:size]


def _esp32_partitions(chip: str, flash_size: int) -> list[Partition]:
    vfs_size = flash_size - _ESP32_VFS
    if vfs_size < 16 * partitions.SECTOR:
        raise UsageError(f"virtual {chip}: no room for a filesystem in {flash_size} bytes of flash")
    data = partitions.TYPE_DATA
    return [
        Partition("nvs", data, partitions.DATA_NVS, 0x9000, 0x6000),
        Partition("phy_init", data, partitions.DATA_PHY, 0xF000, 0x1000),
        Partition("factory", partitions.TYPE_APP, partitions.APP_FACTORY, _ESP32_APP, _ESP32_APP_SIZE),
        Partition("romfs", data, partitions.DATA_ROMFS, *_ESP32_ROMFS),
        Partition("vfs", data, partitions.DATA_FAT, _ESP32_VFS, vfs_size),
    ]


def _build_esp32(chip: str, payload: bytes, version: str, project: str, flash_size: int) -> bytes:
    record = CHIPS[chip]
    assert record.virtual is not None and record.image_id is not None
    (data, cache, code), app_code = record.virtual.loads_at
    boot = esp_image.build_esp32(
        [
            (data, _filler(f"{chip} boot dram", 0x4A0)),
            (cache, _filler(f"{chip} boot cache", 0x1000)),
            (code, _filler(f"{chip} boot iram", 0x600)),
        ],
        entry=code + 0x1E4,
        chip_id=record.image_id,
        flash_size=flash_size,
    )
    desc = app_desc.AppDesc(
        version=version,
        project=project,
        # Fixed, so that the same firmware gives the same bytes whenever it is built.
        time="00:00:00",
        date="Jan  1 2000",
        idf_version="virtual",
        elf_sha256=hashlib.sha256(payload).digest(),
    )
    app = esp_image.build_esp32(
        [
            (record.flash_map[0][0] + 0x20, app_desc.build(desc) + _wrap(payload)),
            (app_code, _filler(f"{chip} app iram", 0x400)),
        ],
        entry=app_code + 0x100,
        chip_id=record.image_id,
        flash_size=flash_size,
    )
    table = _esp32_partitions(chip, flash_size)
    if len(app) > _ESP32_APP_SIZE:
        raise UsageError(
            f"virtual {chip}: a payload of {len(payload)} bytes makes an application of {len(app)}, "
            f"more than its partition of {_ESP32_APP_SIZE}",
            hint="strip the WebAssembly module of its debug and name sections",
        )
    start = record.boot_offset
    image = boot.ljust(partitions.TABLE_OFFSET - start, b"\xff") + partitions.build_table(table)
    return image.ljust(_ESP32_APP - start, b"\xff") + app


def _build_esp8266(payload: bytes, version: str, project: str, flash_size: int) -> bytes:
    layout("esp8266", flash_size)
    # There is no application description on this chip; a VM's banner string is how one is recognised.
    banner = f"{_title(project)} {version} on 2000-01-01; virtual esp8266\0"
    boot = esp_image.build_esp8266(
        [
            (0x4010_0000, _filler("esp8266 iram", 0x800)),
            (0x3FFE_8000, banner.encode("ascii") + _filler("esp8266 dram", 0x200)),
        ],
        entry=0x4010_0460,
        flash_size=flash_size,
    )
    irom = _wrap(payload)
    total = ESP8266_IROM + len(irom)
    if total + 16 > _ESP8266_ROMFS[0]:
        room = _ESP8266_ROMFS[0] - ESP8266_IROM - 16 - len(_wrap(b""))
        raise UsageError(
            f"virtual esp8266: a payload of {len(payload)} bytes does not fit the {room} bytes in front of "
            f"the ROMFS area at 0x{_ESP8266_ROMFS[0]:x}",
            hint="strip the WebAssembly module of its debug and name sections",
        )
    image = boot.ljust(ESP8266_LENGTH_WORD, b"\xff") + struct.pack("<I", total) + irom
    return image + hashlib.md5(image[4:], usedforsecurity=False).digest()


def _build_stm32(chip: str, payload: bytes, version: str, project: str) -> bytes:
    start, size = CHIPS[chip].ram[0]
    entry = STM32_FLASH_BASE + _STM32_CODE + 1
    # Every exception leads to the same place, as in a start-up file whose handlers are all weak.
    vectors = struct.pack("<II", start + size, entry) + struct.pack("<I", entry) * 14
    banner = f"{_title(project)} {version} on 2000-01-01; virtual {chip}\0"
    head = vectors.ljust(_STM32_CODE - 0x80, b"\0") + banner.encode("ascii").ljust(0x80, b"\0")
    image = head + _wrap_packed(payload)
    room = layout(chip)["romfs"][0] - STM32_FLASH_BASE
    if len(head) > _STM32_CODE or len(image) + 16 > room:
        raise UsageError(
            f"virtual {chip}: a payload of {len(payload)} bytes, packed, does not fit the {room} bytes in front of the "
            "ROMFS area",
            hint="strip the WebAssembly module of its debug and name sections",
        )
    return image + hashlib.md5(image, usedforsecurity=False).digest()
