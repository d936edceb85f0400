"""SLIP framing as the ESP boot loaders use it (RFC 1055; esptool documentation, "Serial Protocol")."""

from __future__ import annotations

#: A frame longer than this is thrown away: the largest real one is a 16 kB flash block with its header.
FRAME_LIMIT = 64 * 1024


def encode(payload: bytes) -> bytes:
    body = payload.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
    return b"\xc0" + body + b"\xc0"


class Decoder:
    """Bytes in, frames out. Empty frames and frames with broken escapes are dropped."""

    def __init__(self) -> None:
        self._tail = bytearray()
        self._inside = False

    def feed(self, data: bytes) -> list[bytes]:
        frames: list[bytes] = []
        first, *rest = data.split(b"\xc0")
        self._append(first)
        for part in rest:
            frame = _unescape(bytes(self._tail)) if self._inside else None
            if frame:
                frames.append(frame)
            # Each END both ends a frame and may start one: an empty frame is nothing.
            self._inside = True
            self._tail.clear()
            self._append(part)
        return frames

    def _append(self, part: bytes) -> None:
        if self._inside:
            self._tail += part
            if len(self._tail) > FRAME_LIMIT:
                self._tail.clear()
                self._inside = False


def _unescape(body: bytes) -> bytes | None:
    if b"\xdb" not in body:
        return body
    pieces = body.replace(b"\xdb\xdc", b"\xc0").split(b"\xdb\xdd")
    return None if any(b"\xdb" in piece for piece in pieces) else b"\xdb".join(pieces)
