"""Whether an ESP32 starts the application that was written, or another one that its flash holds.

The build is told by ``app_elf_sha256`` of the application's description, never by a version's text: a product has its
own, and two builds may share one (ESP-IDF Programming Guide, "App Image Format").
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.bench.device import FlashReader
from harness.flashing.flasher import FlashImage
from harness.formats import app_desc
from harness.formats.app_desc import AppDesc
from harness.formats.esp_contents import what_boots
from harness.formats.esp_image import ImageError
from harness.formats.partitions import Partition, boot_partition, find_tables, tables_in, unconfirmed

#: Where the description stands in an application: behind the two headers and the first segment's.
DESCRIPTION_AT = 32


def partitions_of(flash: FlashReader, images: Sequence[FlashImage]) -> tuple[Partition, ...]:
    """The partition table in ``images``, which are about to be written, and else the chip's. Empty: there is none."""
    for image in images:
        for table in tables_in(image.data, image.offset):
            return table.partitions
    return next((table.partitions for table in find_tables(flash.read)), ())


def applications(chip: str, images: Sequence[FlashImage]) -> dict[int, AppDesc]:
    """The descriptions of the applications in ``images``, by flash offset."""
    found = {}
    for image in images:
        for offset, _, content in what_boots(chip, image.offset, image.data, image.label):
            try:
                found[offset] = app_desc.parse(content.segments[0].data)
            except ImageError:
                continue
    return found


def another_application(flash: FlashReader, chip: str, images: Sequence[FlashImage]) -> str:
    """Which application the chip starts in place of the one that was just written, in words; empty: it starts that."""
    written = applications(chip, images)
    if not written:
        return ""
    partitions = partitions_of(flash, images)
    starts = boot_partition(partitions, flash.read)
    if starts is None or starts.offset in written:
        return ""
    try:
        found = app_desc.parse(flash.read(starts.offset + DESCRIPTION_AT, app_desc.SIZE))
    except ImageError:
        return ""  # nothing there that could start: the boot loader goes on to the next
    if any(same_build(found, description) for description in written.values()):
        return ""
    offset, description = next(iter(written.items()))
    return (
        f"{described(description)} was written to 0x{offset:x}, but the chip starts partition {starts.label!r} at "
        f"0x{starts.offset:x}, which holds {described(found)}"
    )


def unconfirmed_update(flash: FlashReader, images: Sequence[FlashImage]) -> str:
    """That the chip is in the middle of an update, in words; empty when it is not."""
    slot = unconfirmed(partitions_of(flash, images), flash.read)
    if slot is None:
        return ""
    return (
        f"the chip is in the middle of an update: its otadata says that {slot.label!r} is new and not confirmed, so a "
        "boot loader with rollback starts another slot at a later reset; erase the partition 'otadata' once (esptool "
        "erase-region) to end that"
    )


def same_build(one: AppDesc, other: AppDesc) -> bool:
    """Whether both are of one build: by the hash of its ELF file, and by all their words where there is none."""
    return one == other if not any(one.elf_sha256) else one.elf_sha256 == other.elf_sha256


def described(found: AppDesc) -> str:
    """For people: project, version, build."""
    return f"{found.project} {found.version} ({found.date} {found.time}, ELF SHA-256 {found.elf_sha256.hex()[:12]}…)"
