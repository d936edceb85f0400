"""Text that comes out of firmware files: untrusted, so only printable ASCII gets through."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.runtimes.traits import all_traits

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


def find_banner(data: bytes, *, exact: bool = False) -> Banner | None:
    """The VM banner in the first 32 MB of ``data``, or None. ``exact``: no text that may stand in a help text too."""
    known = all_traits()
    # Upstream images hold their banner as one string; another version may stand in a help text, so it comes second.
    patterns = [(traits.name, pattern) for traits in known for pattern in traits.banners]
    if not exact:
        patterns += [(traits.name, pattern) for traits in known for pattern in traits.version_texts]
    for project, pattern in patterns:
        if match := re.compile(pattern).search(data, 0, _SEARCH_LIMIT):
            return Banner(project, plain(match.group(1)))
    return None
