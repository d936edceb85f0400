"""From the bytes of a line to lines of plain text with the times of their first byte."""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.link.panics import BANNER, find_panic
from harness.shown import plain

#: A line longer than this is shown in parts, in bytes.
LONGEST = 4096
_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True)
class Line:
    """``at`` in seconds since the watch began; ``kind`` is ``text``, ``reset`` (a ROM's banner) or ``panic``."""

    at: float
    text: str
    kind: str = "text"


class Lines:
    """Takes bytes as they come, and gives whole lines. What a board prints is untrusted: bounded, and no escapes."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._began = 0.0

    def feed(self, data: bytes, at: float) -> list[Line]:
        """``at`` is when ``data`` came. A carriage return at its very end may be half of a line's end: it waits."""
        lines: list[Line] = []
        if not self._rest:
            self._began = at
        self._rest += data
        while True:
            end = _END.search(self._rest)
            if end is not None and (end.group() != b"\r" or end.end() < len(self._rest)):
                lines.append(self._take(end.start(), end.end()))
            elif len(self._rest) > LONGEST:
                lines.append(self._take(LONGEST, LONGEST))
            else:
                return [line for line in lines if line.text]
            self._began = at

    def flush(self) -> list[Line]:
        """What has come of an unfinished line: a prompt, or the last words before the port went."""
        if not self._rest:
            return []
        line = self._take(len(self._rest), len(self._rest))
        return [line] if line.text else []

    def _take(self, size: int, drop: int) -> Line:
        data = bytes(self._rest[:size])
        del self._rest[:drop]
        kind = "reset" if BANNER.search(data) else "panic" if find_panic(data, reset_expected=True) else "text"
        return Line(self._began, plain(data.decode("utf-8", "replace").rstrip("\r\n"), LONGEST), kind)
