"""NodeMCU's packed line information: which line each instruction of a function is on.

The vector is a row of groups, ``[line delta] count``. A count (1 to 126) is that many instructions on one line; from
group to group the line goes up by one by itself. A delta has bit 7 set in each of its bytes, 6 bits (bit 6 is the sign)
in the first and 7 in the others, least significant first: ``+d`` stands for ``line += d + 1`` on top of the step of
one, ``-d`` for ``line -= d + 1``. The stored value of a positive delta is ``d - 1``. The vector ends with NUL, which is
not part of the bytes here. Source: NodeMCU app/lua/lcode.c and ldebug.c.
"""

from __future__ import annotations

from collections.abc import Iterable

MAX_COUNT = 126

_DELTA = 0x80
_SIGN = 0x40


class LinePacker:
    """Packs as the firmware's code generator does: one instruction at a time, the last one's line may be corrected.

    The order of events shows in the bytes: a corrected line always opens a new group, even on the line of the group
    before. And the generator takes back a delta of two bytes or more wrongly (it shifts by 7 where the coder shifted
    by 6), so that the lines of such a function are off from there on, in the board's tracebacks too. Both are
    kept here, since the aim is the bytes of the firmware's own compiler.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()
        self._line = 0

    def emit(self, line: int) -> None:
        """One more instruction, on ``line`` (from 1)."""
        if self._bytes and line == self._line and self._bytes[-1] < MAX_COUNT:
            self._bytes[-1] += 1
        else:
            self._open_group(line)

    def correct(self, line: int) -> None:
        """The last instruction is on ``line`` after all."""
        if line == self._line:
            return
        if self._bytes[-1] > 1:
            self._bytes[-1] -= 1
        else:
            self._line -= self._take_group_back() + 1
        self._open_group(line)

    def packed(self) -> bytes:
        """What was packed so far, without the NUL at the end."""
        return bytes(self._bytes)

    def _open_group(self, line: int) -> None:
        delta = line - self._line - 1
        if delta:
            value = -delta - 1 if delta < 0 else delta - 1
            self._bytes.append(_DELTA | (_SIGN if delta < 0 else 0) | (value & 0x3F))
            value >>= 6
            while value:
                self._bytes.append(_DELTA | (value & 0x7F))
                value >>= 7
        self._bytes.append(1)
        self._line = line

    def _take_group_back(self) -> int:
        self._bytes.pop()
        delta = 0
        while self._bytes and self._bytes[-1] & _DELTA:
            code = self._bytes.pop()
            if self._bytes and self._bytes[-1] & _DELTA:
                delta += (code & 0x7F) << 7
            else:
                delta += (code & 0x3F) + 1
                if code & _SIGN:
                    delta = -delta
        return delta


def pack(lines: Iterable[int]) -> bytes:
    """Pack one line per instruction (from 1), in the fewest groups, without the NUL at the end."""
    packer = LinePacker()
    for line in lines:
        packer.emit(line)
    return packer.packed()


def unpack(packed: bytes, instructions: int) -> list[int]:
    """The line of each of ``instructions``. Raises ValueError if the bytes are damaged or cover another number."""
    lines: list[int] = []
    line, at = 0, 0
    while at < len(packed):
        line += 1
        code = packed[at]
        if code & _DELTA:
            value, shift = code & 0x3F, 6
            at += 1
            while at < len(packed) and packed[at] & _DELTA:
                value |= (packed[at] & 0x7F) << shift
                shift += 7
                at += 1
                if shift > 34:
                    raise ValueError("line information: a delta of more than 32 bits")
            line += -(value + 1) if code & _SIGN else value + 1
        if at == len(packed) or not 1 <= packed[at] <= MAX_COUNT:
            raise ValueError(f"line information: no count from 1 to {MAX_COUNT} at byte {at}")
        lines += [line] * packed[at]
        at += 1
        if len(lines) > instructions:
            break
    if len(lines) != instructions:
        raise ValueError(f"line information for {len(lines)} instructions, expected {instructions}")
    return lines
