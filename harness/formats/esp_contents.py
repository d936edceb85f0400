"""What of a file for an ESP's flash is started there: a boot loader, applications in the partitions of its table."""

from __future__ import annotations

from collections.abc import Iterator

from harness.chips import CHIPS
from harness.formats import esp_image
from harness.formats.esp_image import EspImage, ImageError
from harness.formats.partitions import tables_in


def what_boots(chip: str, offset: int, data: bytes, name: str) -> Iterator[tuple[int, str, EspImage]]:
    """(flash offset, label, content) of each image in ``data``, which goes to flash offset ``offset``.

    Damaged ones are left out: whether they may be written is looked at in ``inspect_image``.
    """
    record = CHIPS[chip]
    places = {offset: name, record.boot_offset: name}
    if record.family == "esp32":
        for table in tables_in(data, offset):
            places |= {row.offset: f"{row.label!r} of {name}" for row in table.partitions if row.is_app}
    for place, label in places.items():
        if not 0 <= place - offset < len(data):
            continue
        try:
            content = esp_image.parse(data[place - offset :], esp8266=True if chip == "esp8266" else None)
        except ImageError:
            continue
        yield place, label, content
