"""What a firmware file is, and whether it may be written to a given board.

``inspect`` describes anything and never refuses; ``require_for`` is the gate before a flash is
touched. Layouts of complete ("combined", "merged") images: ESP-IDF Programming Guide, "Partition
Tables"; esptool documentation, "merge-bin"; for the ESP8266, the length word and MD5 that
MicroPython's ``makeimg`` step adds around the part that is executed from flash.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, field, replace
from typing import Literal

from harness.chips import CHIPS, GENERIC, STM32_FLASH_BASE, Chip, chip_of_image
from harness.formats import app_desc, esp_image, partitions, stm32_image, uf2
from harness.formats.app_desc import AppDesc
from harness.formats.banner import find_banner
from harness.formats.esp_image import EspImage, ImageError
from harness.formats.partitions import Partition

Kind = Literal[
    "esp8266-v1",
    "esp8266-v2",
    "esp32-app",
    "esp32-bootloader",
    "esp32-combined",
    "partition-table",
    "stm32-raw",
    "data",
    "unknown",
]

# Where MicroPython's ESP8266 images keep the part that is executed from flash, and its length word.
ESP8266_IROM = 0x9000
ESP8266_LENGTH_WORD = ESP8266_IROM - 4

_OTHER_FORMATS = (
    (b"\x7fELF", "an ELF file"),
    (b"DfuSe", "a DfuSe (.dfu) file"),
    (b"UF2\n", "a UF2 file"),
    (b":", "an Intel HEX file"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"<", "an HTML or XML page"),
)
#: Those that no program writes to a chip.
_NO_FIRMWARE = ("a ZIP archive", "a gzip file", "an HTML or XML page")


@dataclass(frozen=True)
class SegmentInfo:
    """``address`` in the chip's memory, ``size`` in bytes, ``file_offset`` from the start of the file."""

    address: int
    size: int
    file_offset: int


@dataclass(frozen=True)
class ImageInfo:
    """What is known of one file. ``size`` in bytes; ``problems`` are reasons not to write it.

    ``table_offset`` is where its partition table goes in the flash. ``offset_hint`` is where it belongs: a flash offset
    on ESP chips, an address on STM32, None when the content does not say. ``chip`` is None when the content does not
    name one (a raw STM32 image).
    """

    name: str
    kind: Kind
    size: int
    sha256: str
    chip: str | None = None
    version: str | None = None
    project: str | None = None
    offset_hint: int | None = None
    segments: tuple[SegmentInfo, ...] = ()
    partitions: tuple[Partition, ...] = ()
    table_offset: int | None = None
    app: AppDesc | None = None
    problems: tuple[str, ...] = field(default=())
    notes: tuple[str, ...] = field(default=())


def inspect(data: bytes, *, name: str = "firmware") -> ImageInfo:
    """Describe ``data``; never raises for its content. ``name`` is only for messages."""
    info = ImageInfo(name, "unknown", len(data), hashlib.sha256(data).hexdigest())
    blank = _leading_blank(data)
    first = data[blank : blank + 1]
    if first in (b"\xe9", b"\xea"):
        info = _inspect_esp(info, data, blank)
    elif data[:2] == b"\xaa\x50":
        info = _inspect_table(info, data)
    elif other := next((what for magic, what in _OTHER_FORMATS if data.startswith(magic)), None):
        return replace(info, notes=(f"looks like {other}",))
    else:
        info = _inspect_stm32(info, data)
    if not info.version and (banner := find_banner(data)):
        info = replace(info, version=banner.version, project=banner.project)
    return info


def _leading_blank(data: bytes) -> int:
    """Complete images made for offset 0 start with erased flash up to the chip's boot offset."""
    for offset in (0x1000, 0x2000):
        if data[:offset] == b"\xff" * offset and data[offset : offset + 1] == b"\xe9":
            return offset
    return 0


def _inspect_esp(info: ImageInfo, data: bytes, start: int) -> ImageInfo:
    body = data[start:] if start else data
    try:
        image = esp_image.parse(body)
    except ImageError as error:
        # Which chip it is for is in the header, so it can be told of a truncated file as well.
        return replace(info, chip=_chip_of_header(body), problems=(error.message,))
    info = replace(info, chip=image.chip, problems=image.faults, segments=_segments(image, start))
    if image.chip_id is None:
        return _inspect_esp8266(info, image, data)
    if image.chip is None:
        return replace(info, problems=(f"chip id {image.chip_id} is not known", *info.problems))
    chip = CHIPS[image.chip]
    desc = _app_desc(image)
    if desc or any(chip.in_flash(s.address) for s in image.segments):
        trailing = len(body) - image.length
        notes = (f"{trailing} bytes follow the image",) if trailing else ()
        info = replace(info, kind="esp32-app", app=desc, notes=info.notes + notes)
        return _with_app_version(info, desc)
    table_at = start + partitions.TABLE_OFFSET - chip.boot_offset
    tables = partitions.tables_in(data, chip.boot_offset - start)
    if not tables and table_at < max(len(data), start + image.length + 1) <= start + image.length + 16:
        return replace(info, kind="esp32-bootloader", offset_hint=chip.boot_offset)  # a large one
    if not tables and len(data) <= table_at:
        problems = info.problems + _cut_problem(body[image.length :], "a partition table")
        return replace(info, kind="esp32-bootloader", offset_hint=chip.boot_offset, problems=problems)
    return _inspect_combined(info, data, chip, start)


def _cut_problem(rest: bytes, expected: str) -> tuple[str, ...]:
    """Padding after an image is there for what comes next; a file that ends in it was cut."""
    if rest and not rest.strip(b"\xff"):
        return (f"image is truncated: it ends in padding, where {expected} was expected to follow",)
    return ()


def _chip_of_header(body: bytes) -> str | None:
    if body[:1] == b"\xea" or esp_image.looks_like_esp8266(body):
        return "esp8266"
    if len(body) < 14:
        return None
    known = chip_of_image(struct.unpack_from("<H", body, 12)[0])
    return known.name if known else None


def _segments(image: EspImage, start: int) -> tuple[SegmentInfo, ...]:
    return tuple(SegmentInfo(s.address, len(s.data), start + s.file_offset) for s in image.segments)


def _app_desc(image: EspImage) -> AppDesc | None:
    try:
        return app_desc.parse(image.segments[0].data)
    except ImageError:
        return None


def _with_app_version(info: ImageInfo, desc: AppDesc | None) -> ImageInfo:
    if desc is None:
        return info
    return replace(info, version=desc.version or None, project=desc.project or None)


def _inspect_combined(info: ImageInfo, data: bytes, chip: Chip, start: int) -> ImageInfo:
    """Bootloader, partition table and application in one file; ``data[start]`` is the bootloader."""
    base = chip.boot_offset - start  # flash offset of data[0]
    info = replace(info, kind="esp32-combined", offset_hint=base)
    problems = list(info.problems)
    tables = partitions.tables_in(data, base)
    try:
        table = tables[0].partitions if tables else partitions.parse_table(data[partitions.TABLE_OFFSET - base :])
    except ImageError as error:
        return replace(info, problems=(*problems, error.message))
    table_offset = tables[0].offset if tables else partitions.TABLE_OFFSET
    if problem := partitions.layout_problem(table, table_offset):
        problems.append(f"partition table: {problem}")
    info = replace(info, partitions=table, table_offset=table_offset)
    app_found = False
    for part in table:
        at = part.offset - base
        if not part.is_app or app_found or data[at : at + 1] in (b"", b"\xff"):
            continue
        app_found = True
        try:
            image = esp_image.parse(data[at:], esp8266=False)
        except ImageError as error:
            problems.append(f"application in {part.label!r}: {error.message}")
            continue
        problems += [f"application in {part.label!r}: {fault}" for fault in image.faults]
        if image.chip != chip.name:
            problems.append(f"application in {part.label!r} is for {image.chip}, its bootloader for {chip.name}")
        if image.length > part.size:
            problems.append(f"application of {image.length} bytes does not fit {part.label!r} ({part.size} bytes)")
        desc = _app_desc(image)
        info = replace(info, app=desc, segments=info.segments + _segments(image, at))
        info = _with_app_version(info, desc)
    if not app_found:
        problems.append("no application in any app partition: the file ends before it, or it is blank")
    return replace(info, problems=tuple(problems))


def _inspect_esp8266(info: ImageInfo, image: EspImage, data: bytes) -> ImageInfo:
    if image.version == 2:
        return replace(info, kind="esp8266-v2")
    info = replace(info, kind="esp8266-v1", offset_hint=0)
    gap = data[image.length : ESP8266_LENGTH_WORD]
    if len(data) < ESP8266_IROM:
        rest = _cut_problem(gap, "the part that is executed from flash")
        return replace(info, problems=info.problems + rest)
    total = struct.unpack_from("<I", data, ESP8266_LENGTH_WORD)[0]
    # Other firmware has no length word. It is one when it fits the file, or stands after padding.
    if total + 16 != len(data) and (not gap or gap.strip(b"\xff") or total == 0xFFFF_FFFF):
        return info
    if total < ESP8266_IROM or total > len(data) - 16:
        problem = f"image is truncated: its length word says {total} bytes and an MD5, the file has {len(data)}"
        return replace(info, problems=(*info.problems, problem))
    # The first 4 bytes are left out of the MD5 because flashing tools patch the flash parameters there.
    computed = hashlib.md5(data[4:total], usedforsecurity=False).digest()
    stored = data[total : total + 16]
    if stored != computed:
        problem = f"MD5 stored {stored.hex()}, computed {computed.hex()}"
        return replace(info, problems=(*info.problems, problem))
    irom = SegmentInfo(CHIPS["esp8266"].flash_map[0][0] + ESP8266_IROM, total - ESP8266_IROM, ESP8266_IROM)
    return replace(info, segments=(*info.segments, irom))


def _inspect_table(info: ImageInfo, data: bytes) -> ImageInfo:
    info = replace(info, kind="partition-table", offset_hint=partitions.TABLE_OFFSET)
    try:
        return replace(info, partitions=partitions.parse_table(data))
    except ImageError as error:
        return replace(info, problems=(error.message,))


def _inspect_stm32(info: ImageInfo, data: bytes) -> ImageInfo:
    try:
        vectors = stm32_image.parse_vectors(data)
    except ImageError:
        return info
    note = f"stack 0x{vectors.stack:08x}, reset 0x{vectors.reset:08x}"
    return replace(info, kind="stm32-raw", offset_hint=STM32_FLASH_BASE, notes=(note,))


def require_for(
    board_chip: str,
    offset: int,
    data: bytes,
    flash_size: int | None,
    *,
    name: str = "firmware",
    kind: Literal["firmware", "data"] = "firmware",
) -> ImageInfo:
    """The gate before a flash is erased: ``data`` may be written at ``offset`` of ``board_chip``.

    ``offset`` is a flash offset on ESP chips and an address on STM32; ``flash_size`` in bytes (None:
    not known, or as the chip's table says). ``kind="data"`` (a filesystem image, a raw piece of
    code) is checked for its size only. Raises :class:`ImageError` (exit code 2) when it is for
    another chip or another offset, truncated or damaged, or does not fit the flash.
    """
    chip = CHIPS[board_chip]
    flash_size = flash_size or chip.flash_size
    _require_fits(chip, offset, data, flash_size, name)
    if kind == "data":
        return ImageInfo(name, "data", len(data), hashlib.sha256(data).hexdigest())
    info = inspect(data, name=name)
    if chip.family == GENERIC:
        return _require_generic(info, data)
    if chip.family == "stm32":
        _require_stm32(chip, offset, data, info)
        return replace(info, chip=board_chip)
    if info.kind == "partition-table":
        info = replace(info, chip=board_chip if chip.family == "esp32" else None)
    elif info.chip is None:
        came = "; ".join((*info.notes, *info.problems)) or "no image header that any chip here boots"
        raise ImageError(
            f"{name}: expected a firmware image for {board_chip}, found {came} (first bytes {data[:4].hex(' ')})",
            hint="give the .bin file of the release; mark a filesystem or data image with 'kind: data'",
        )
    if info.chip != board_chip:
        raise ImageError(
            f"{name}: expected an image for {board_chip}, found one for {info.chip or 'ESP32-family chips'}",
            hint=f"take the firmware built for {board_chip}, or correct the board's chip in boards.yaml",
        )
    if info.problems:
        raise ImageError(
            f"{name}: the image is damaged: {'; '.join(info.problems)}",
            hint="fetch or build the image again, and compare its SHA-256 with the release's",
        )
    _require_offset(chip, offset, info)
    if flash_size and (over := [p for p in info.partitions if p.end > flash_size]):
        raise ImageError(
            f"{name}: its partition {over[0].label!r} ends at 0x{over[0].end:x}, the flash at 0x{flash_size:x}",
            hint="take the firmware variant for this flash size",
        )
    return info


def _require_generic(info: ImageInfo, data: bytes) -> ImageInfo:
    """Nothing is known of the chip: what is surely no firmware is refused, and a damaged UF2."""
    if other := next((what for magic, what in _OTHER_FORMATS if data.startswith(magic) and what in _NO_FIRMWARE), None):
        raise ImageError(
            f"{info.name}: expected firmware, found {other}",
            hint="fetch it again; was a page, or an archive, saved in place of the file?",
        )
    if data.startswith(uf2.MAGIC) and (problem := uf2.problem(data)):
        raise ImageError(
            f"{info.name}: the image is damaged: {problem}",
            hint="fetch or build the image again, and compare its SHA-256 with the release's",
        )
    return info


def _require_fits(chip: Chip, offset: int, data: bytes, flash_size: int | None, name: str) -> None:
    if not data:
        raise ImageError(f"{name}: expected a firmware image, the file is empty")
    start = offset - STM32_FLASH_BASE if chip.family == "stm32" else offset
    if start < 0:
        raise ImageError(
            f"{name}: offset 0x{offset:x} is not in the flash of {chip.name}",
            hint=f"expected 0x{chip.boot_offset:x} or above",
        )
    if flash_size and start + len(data) > flash_size:
        raise ImageError(
            f"{name}: {len(data)} bytes at 0x{offset:x} end 0x{start + len(data) - flash_size:x} bytes past "
            f"the flash of {flash_size // 1024} KB",
            hint="take the firmware variant for this flash size, or correct the offset",
        )


def _require_stm32(chip: Chip, offset: int, data: bytes, info: ImageInfo) -> None:
    if info.chip or (info.notes and info.kind == "unknown"):
        came = f"one for {info.chip}" if info.chip else "; ".join(info.notes)
        raise ImageError(
            f"{info.name}: expected a raw image for {chip.name}, found {came}",
            hint="give the raw .bin file (arm-none-eabi-objcopy -O binary makes one of an .elf)",
        )
    try:
        vectors = stm32_image.parse_vectors(data, chip=chip.name)
    except ImageError as error:
        raise ImageError(
            f"{info.name}: {error.message}",
            hint=f"take the firmware built for {chip.name}; 'kind: data' marks code without a vector table",
        ) from None
    if vectors.reset < offset:
        raise ImageError(
            f"{info.name}: its reset vector 0x{vectors.reset:08x} lies before its offset 0x{offset:08x}",
            hint="correct the offset to the address that the image was linked for",
        )


def _require_offset(chip: Chip, offset: int, info: ImageInfo) -> None:
    wrong: int | str | None = None
    if info.kind == "partition-table":
        # Its place is the boot loader's constant; it must be a sector between that and what the table lists.
        first = min((part.offset for part in info.partitions), default=partitions.SEARCH_END)
        if offset % partitions.SECTOR or not chip.boot_offset < offset <= first - partitions.SECTOR:
            wrong = f"0x{info.offset_hint or 0:x}"
    elif info.offset_hint is not None and offset != info.offset_hint:
        wrong = f"0x{info.offset_hint:x}"
    elif info.kind == "esp32-app" and (offset <= partitions.TABLE_OFFSET or offset % partitions.APP_ALIGNMENT):
        wrong = "its app partition (a multiple of 0x10000)"
    elif info.kind == "esp8266-v2" and offset % partitions.SECTOR:
        wrong = "a multiple of 0x1000"
    if wrong is not None:
        raise ImageError(
            f"{info.name}: this {info.kind} image for {chip.name} belongs at {wrong}, not at 0x{offset:x}",
            hint="correct 'offset' in boards.yaml, or leave it out",
        )
