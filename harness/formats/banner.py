"""Text that comes out of firmware files: untrusted, so only printable ASCII gets through."""

from __future__ import annotations

import re
from dataclasses import dataclass

# Upstream images hold their banner as one string; the ones with a date are the banner itself, the
# others may be a version in a help text, so they come second.
_BANNERS: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("micropython", re.compile(rb"MicroPython (v\d+\.[\w.+-]{1,60}) on \d{4}-")),
    ("circuitpython", re.compile(rb"CircuitPython (\d+\.[\w.+-]{1,60}) on \d{4}-")),
    ("nodemcu", re.compile(rb"NodeMCU (\d+\.\d[\w.+-]{0,60})")),
    ("micropython", re.compile(rb"MicroPython (v\d+\.\d[\w.+-]{0,60})")),
    ("circuitpython", re.compile(rb"CircuitPython (\d+\.\d[\w.+-]{0,60})")),
)
# The largest flash of the boards in question; what lies behind it is not firmware.
_SEARCH_LIMIT = 32 * 1024 * 1024


@dataclass(frozen=True)
class Banner:
    """Which language VM a file says it holds, and its version as written there."""

    project: str
    version: str


def plain(field: bytes) -> str:
    """A NUL-ended text field as printable ASCII; any other byte becomes ``?``."""
    text = field.split(b"\0", 1)[0]
    return "".join(chr(b) if 0x20 <= b < 0x7F else "?" for b in text)


def find_banner(data: bytes) -> Banner | None:
    """The VM banner in the first 32 MB of ``data``, or None."""
    for project, pattern in _BANNERS:
        if match := pattern.search(data, 0, _SEARCH_LIMIT):
            return Banner(project, plain(match.group(1)))
    return None
