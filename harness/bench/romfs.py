"""Where a board's flash has its ROMFS."""

from __future__ import annotations

from collections.abc import Sequence

from harness.flashing.base import Flasher, FlashImage
from harness.formats.partitions import parse_table
from harness.formats.virtual_image import layout
from harness.inventory.chips import CHIPS
from harness.inventory.model import Board

_ESP32_TABLE = (0x8000, 0xC00)


def romfs_region(board: Board, flasher: Flasher, images: Sequence[FlashImage]) -> tuple[int, int] | None:
    """(offset, size) of the chip's ROMFS region; None when the board has none that is known.

    A partition table is looked for in ``images``, which are about to be written, and else on the chip.
    """
    if "romfs" not in board.capabilities:
        return None
    if board.virtual is not None:
        return layout(board.chip, board.virtual.flash_size)["romfs"]
    if CHIPS[board.chip].family != "esp32":
        return None
    offset, size = _ESP32_TABLE
    table = next(
        (
            image.data[offset - image.offset : offset - image.offset + size]
            for image in images
            if image.offset <= offset < image.offset + len(image.data)
        ),
        None,
    )
    for partition in parse_table(table if table is not None else flasher.read(offset, size)):
        if partition.label == "romfs":
            return partition.offset, partition.size
    return None
