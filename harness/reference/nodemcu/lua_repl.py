"""NodeMCU's line editor: echo, backspace, and a line buffer of 256 bytes (NodeMCU ``app/driver/input.c``)."""

from __future__ import annotations

from collections.abc import Callable

#: Bytes of one line, its end included; a longer one is thrown away without a word.
LINE_LIMIT = 256
PROMPT, CONTINUED = b"> ", b">> "
_CR, _LF, _BS, _DEL = 0x0D, 0x0A, 0x08, 0x7F


class LineEditor:
    """Takes what is typed, byte by byte, and echoes it through ``write``: what came together in one piece.

    The echo of a line is out when the line is given; :meth:`flush` sends that of a part of one.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._line = bytearray()
        self._echoed = bytearray()
        self._last = 0
        #: Off: nothing is echoed (``uart.setup``'s last argument).
        self.echo = True

    def take(self, byte: int) -> bytes | None:
        """The line that ``byte`` completes; None when it completes none."""
        last, self._last = self._last, byte
        if byte in (_CR, _LF):
            if {last, byte} == {_CR, _LF}:  # the second half of a CRLF
                self._last = 0
                return None
            self._say(b"\n")
            self.flush()
            line = bytes(self._line)
            self._line.clear()
            return line
        if byte in (_BS, _DEL):
            if self._line:
                self._line.pop()
                self._say(b"\x08 \x08")
            return None
        if not 0x20 <= byte < 0x7F:
            return None
        self._say(bytes([byte]))
        self._line.append(byte)
        if len(self._line) >= LINE_LIMIT:
            self._line.clear()
        return None

    def _say(self, data: bytes) -> None:
        if self.echo:
            self._echoed += data

    def flush(self) -> None:
        """Send the echo of what was taken until now."""
        if self._echoed:
            echoed = bytes(self._echoed)
            self._echoed.clear()
            self._write(echoed)
