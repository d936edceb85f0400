"""esptool's trace of each packet, left out: it is made into text even when nobody traces.

esptool 5.6, ``loader.py``: ``self.trace(f"… {HexFormatter(buf)}")`` builds its text before ``trace`` looks whether it
is wanted. For an image of 750 kB that is a seventh of the processor time of a short run, and a small host with ten
boards has little of it.
"""

from __future__ import annotations

from esptool import loader


class _Untraced:
    """Stands for a packet's bytes in a trace that nobody reads."""

    def __init__(self, *_what: object) -> None: ...

    def __str__(self) -> str:
        return ""


def leave_out() -> None:
    """For this process. The harness keeps its own transcripts, and never asks esptool for a trace."""
    if hasattr(loader, "HexFormatter"):
        loader.HexFormatter = _Untraced
