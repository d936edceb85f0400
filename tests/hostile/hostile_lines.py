"""A port at whose other end somebody means harm, or a board has gone mad."""

from __future__ import annotations

from collections.abc import Iterator


class HostilePort:
    """Gives what ``source`` yields, cut as a port cuts; takes everything. ``given`` counts bytes."""

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._waiting = b""
        self.timeout: float | None = None
        self.given = 0

    @property
    def in_waiting(self) -> int:
        return len(self._waiting)

    def read(self, size: int = 1) -> bytes:
        if not self._waiting:
            self._waiting = next(self._source, b"")
        data, self._waiting = self._waiting[:size], self._waiting[size:]
        self.given += len(data)
        return data

    def write(self, data: bytes) -> int:
        return len(data)

    def close(self) -> None:
        pass


def endless(piece: bytes) -> Iterator[bytes]:
    while True:
        yield piece


#: What a board may print, by what it is after.
TEXTS = {
    "terminal escapes": b"\x1b[2J\x1b]0;owned\x07\x1b]52;c;ZXZpbA==\x07\x9b31m\x1bP+q\x1b\\",
    "html and scripts": b"</td></table><script>alert(1)</script><img src=x onerror=alert(1)>'\"&lt;",
    "markup of the terminal": b"[bold red]pass[/bold red][link=file:///etc/passwd]x[/link]",
    "invalid utf-8": b"\xff\xfe\xc3\x28\xe2\x82\xf0\x9f\x92\xed\xa0\x80",
    "nuls and controls": bytes(range(32)) + b"\x7f\x80\x85",
    "bidirectional and zero width": "\u202egnp.exe\u2066\u200b\ufeff".encode(),
    "xml": b"]]><!ENTITY x SYSTEM 'file:///etc/passwd'><failure/>",
    "line endings": b"pass\r\nfail\rover\x0b\x0c\xe2\x80\xa8next",
    "paths": b"../../../../etc/passwd\0.png",
    "sql": b"'); DROP TABLE scenario; --",
}
