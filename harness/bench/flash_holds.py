"""What the flash of an ESP says that it holds, where no VM answers: a blank one, or the name of an application."""

from __future__ import annotations

from harness.bench.boot_slot import DESCRIPTION_AT, described, partitions_of
from harness.bench.probe_port import Answer
from harness.chips import CHIPS
from harness.errors import HarnessError
from harness.flashing.esp import EspFlasher
from harness.flashing.flasher import Progress
from harness.formats import app_desc
from harness.formats.esp_image import ImageError
from harness.formats.partitions import boot_partition
from harness.link.panics import printable
from harness.link.ports import open_port

#: What is looked at where a chip boots from, in bytes.
_BEGINNING = 4096


def what_it_holds(address: str, answer: Answer, progress: Progress) -> str:
    """For people, about the chip that ``answer`` tells of. Empty where that cannot be read; nothing is written."""
    security = answer.esp.security if answer.esp else None
    if security is not None and (security.secure_download or security.flash_encryption):
        return ""
    try:
        port = open_port(address)
        try:
            with EspFlasher(answer.chip, port, progress=progress, connect_attempts=2) as flasher:
                beginning = flasher.read(CHIPS[answer.chip].boot_offset, _BEGINNING)
                if not beginning.strip(b"\xff"):
                    return "nothing: the flash is blank where the chip starts from"
                if CHIPS[answer.chip].family != "esp32":
                    return (
                        "an image of some application" if beginning[0] == 0xE9 else "no image that the chip could start"
                    )
                partition = boot_partition(partitions_of(flasher, []), flasher.read)
                if partition is None:
                    return "no partition table that could be read"
                found = app_desc.parse(flasher.read(partition.offset + DESCRIPTION_AT, app_desc.SIZE))
                return printable(f"the application {described(found)}".encode(), 200)
        finally:
            port.close()
    except (HarnessError, ImageError):
        return ""
