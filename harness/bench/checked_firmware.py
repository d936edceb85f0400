"""The firmware that a board is to be flashed with: read or built, and checked before anything is touched."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import UsageError
from harness.flashing.flasher import FlashImage
from harness.formats.banner import find_banner
from harness.formats.inspect_image import require_for
from harness.formats.virtual_image import flash_offset
from harness.inventory.model import Board

#: Told what is being done now: a step's name and (done, total) in bytes, (0, 0) where that is not known.
Report = Callable[[str, int, int], None]


@dataclass(frozen=True)
class CheckedFirmware:
    """The images of one board, looked at and found fit for its chip.

    ``told_version`` is the one that its VM must tell, empty when the images do not say; an ESP32 application's own
    description is no such text, a product has its own version there.
    """

    images: tuple[FlashImage, ...]
    record: FirmwareRecord
    told_version: str = ""


def firmware_of(board: Board, variant: str | None, report: Report) -> CheckedFirmware | None:
    """The images that ``board`` is to be flashed with, checked for its chip; None when it has none.

    Raises UsageError for an image that is not for this chip, damaged or missing.
    """
    if board.firmware is None:
        return None
    if board.firmware.build:
        # For virtual boards alone, and much to import.
        from harness.virtual.defects import DEFECTS
        from harness.virtual.virtual_firmware import build_firmware

        assert board.flash_size is not None  # it is the harness's own build for a virtual board
        # With a variant chosen for a run, a board of another runtime keeps its own firmware.
        other = variant in DEFECTS and DEFECTS[variant].runtime != board.runtime
        name = (None if other else variant) or board.firmware.variant
        data = build_firmware(
            board.chip,
            runtime=board.runtime,
            variant=name,
            flash_size=board.flash_size,
            language=(board.virtual.language if board.virtual else None) or "",
            progress=lambda text: report(text, 0, 0),
        )
        sources = [
            (
                flash_offset(board.chip),
                data,
                f"virtual firmware{f' ({name})' if name else ''}",
                "firmware",
            )
        ]
    else:
        sources = []
        for image in board.images:
            assert image.offset is not None
            sources.append((image.offset, _read(image.path), image.path.name, image.kind))
    if not sources:
        return None
    size = board.flash_size
    infos = [
        require_for(board.chip, offset, data, size, name=name, kind=kind)  # type: ignore[arg-type]
        for offset, data, name, kind in sources
    ]
    versions = [info.version for info in infos if info.version]
    digest = hashlib.sha256(b"".join(data for _, data, _, _ in sources)).hexdigest()
    record = FirmwareRecord(sources[0][2], versions[0] if versions else "", digest)
    images = tuple(FlashImage(offset, data, name) for offset, data, name, _ in sources)
    banners = [find_banner(image.data, exact=True) for image in images]
    told = next((banner.version for banner in banners if banner and banner.project == board.runtime), "")
    return CheckedFirmware(images, record, record.version if board.firmware.build else told)


def check_images(boards: list[Board]) -> None:
    """Look at the images of all boards before the first one is touched. Raises UsageError."""
    for board in boards:
        if board.images:
            firmware_of(board, None, lambda *_: None)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as problem:
        raise UsageError(
            f"firmware image {path} cannot be read: {problem.strerror}", hint="check 'firmware' in boards.yaml"
        ) from None
