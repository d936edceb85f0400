"""Which firmware a board was tested with, as records keep it."""

from __future__ import annotations

import re
from dataclasses import dataclass

#: What tells one build of a firmware from the next in a file's name: dates, versions, commits.
_BUILD_WORDS = re.compile(
    r"[-_.]?(?:20\d{6}|v?\d+(?:\.\d+)+|unstable|preview(?:\.\d+)?|g[0-9a-f]{7,40})(?=[-_.]|$)", re.I
)


@dataclass(frozen=True)
class FirmwareRecord:
    """``sha256`` of the image file, empty when the board was tested with what it held."""

    name: str
    version: str
    sha256: str

    @property
    def line(self) -> str:
        """What the builds of one firmware have in common: the name without suffix, dates, versions, commits, variant.

        ``ESP32_GENERIC-20250809-v1.26.0.bin`` and ``ESP32_GENERIC-v1.28.0.bin`` are of the line ``ESP32_GENERIC``.
        """
        stem = re.sub(r"\.(bin|uf2|hex|elf|dfu)$", "", self.name, flags=re.I)
        stem = re.sub(r" \([^()]*\)$", "", stem)  # the variant of a virtual board's firmware
        return _BUILD_WORDS.sub("", stem) or self.name
