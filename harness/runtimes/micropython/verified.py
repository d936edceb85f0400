"""Programs that prove that they arrived whole.

The raw REPL has no checksum: a byte damaged on its way to the board is another program, whose figures look like the
firmware's. Here each program travels as text inside a small one (:func:`wrapped`), which sums the text up, says the
sum, and compiles the text when it is the one that was sent. A second one, :data:`EXECUTE`, runs the result: by then the
text is garbage, and its name is gone, so that a program finds the heap and the globals that it would find unwrapped.

What is proved: the text that is executed has the CRC-32 that the host computed (on a VM without ``binascii`` a sum of
16 bits, in which any one damaged byte shows). Damage to the wrapper itself ends in no sum, in a wrong one, or in an
error outside the program, never in an execution. One exception: a statement that is shorter than the input of a board
which has little of it (``console.buffer``) goes out as it is, for such a board's stack has no room for an ``exec``
around it; its figures come in records with checksums as all do.
"""

from __future__ import annotations

import binascii
import re
from dataclasses import dataclass

from harness.errors import BenchFault
from harness.link.panics import printable

#: Run after :func:`wrapped`. The name goes before the program begins.
EXECUTE = b"exec(globals().pop('_hx'))"

_WRAPPER = """def _hx(t):
 {sum}
 print(c)
 if c=={expected}:return {result}
_hx=_hx("""
_CRC = "c=__import__('binascii').crc32(t)&0xffffffff"
_PLAIN_SUM = "c=1\n for b in t:c=(c*31+b)%65521"
_TRACEBACK = b"Traceback (most recent call last):\r\n"
_FRAME = re.compile(rb'  File "<stdin>"(?:, line \d+)?, in (?:<module>|_hx)\r\n')
_COMPILE_FRAMES = re.compile(rb"(?:" + _FRAME.pattern + rb")+")
#: What a damaged :data:`EXECUTE` ends in.
_NOT_BEGUN = (b"NameError", b"KeyError", b"AttributeError", b"TypeError", b"SyntaxError", b"IndexError")


class DamagedProgram(BenchFault):
    """A program did not reach the board whole; it was not executed, or not to be believed."""

    def __init__(self, came: bytes) -> None:
        super().__init__(
            f"a program was damaged on its way to the board; came {printable(came[-200:]) or 'nothing'!r}",
            hint="check the cable and the baud rate",
        )


class NoRoom(Exception):
    """The VM has no room for a program and its text at once; ``error`` is its traceback."""

    def __init__(self, error: bytes) -> None:
        super().__init__(error)
        self.error = error


@dataclass(frozen=True)
class Style:
    """What the VM has for proving: ``crc32`` of ``binascii``, and the built-in ``compile``.

    Without ``compile`` the text stays on the heap while the program runs.
    """

    crc32: bool = True
    compiles: bool = True

    def without(self, error: bytes) -> Style | None:
        """The next style for a VM that answered with ``error``; None when that was not a lack of something."""
        if self.crc32 and (b"ImportError" in error or b"'crc32'" in error):
            return Style(False, self.compiles)
        if self.compiles and b"NameError" in error and b"compile" in error:
            return Style(self.crc32, False)
        return None


def sum_of(source: bytes, style: Style) -> int:
    """What :func:`wrapped` prints of ``source``."""
    if style.crc32:
        return binascii.crc32(source)
    total = 1
    for byte in source:
        total = (total * 31 + byte) % 65521
    return total


def wrapped(source: bytes, style: Style) -> bytes:
    """``source`` as text in a program that prints its sum, and leaves it compiled as ``_hx`` when that is right."""
    return _head(source, style) + _literal(source) + b")"


def sum_collected(style: Style) -> tuple[bytes, ...]:
    """The same for a text that lies in ``_hx[0]`` already: programs of less than 64 bytes, the input of a small board,
    to be run one by one. The last one prints the sum; whoever reads it judges."""
    text = "_hx.pop()"
    result = f"compile({text},'<stdin>','exec')" if style.compiles else text
    end = f"print(_hs);del _hs;_hx={result}".encode()
    if style.crc32:
        return b"_hs=__import__('binascii').crc32(_hx[0])&0xffffffff", end
    return b"_hs=_hb=1", b"for _hb in _hx[0]:_hs=(_hs*31+_hb)%65521", b"del _hb", end


def _head(source: bytes, style: Style) -> bytes:
    return _WRAPPER.format(
        sum=_CRC if style.crc32 else _PLAIN_SUM,
        expected=sum_of(source, style),
        result="compile(t,'<stdin>','exec')" if style.compiles else "t",
    ).encode()


def _literal(source: bytes) -> bytes:
    """``source`` as a bytes literal in which lines stay lines: an escape each would cost a byte on the line."""
    text = source.replace(b"\\", rb"\\").replace(b"'''", rb"\'\'\'")
    text = re.sub(rb"[^\n\x20-\x7e]", lambda match: b"\\x%02x" % match[0][0], text)
    if text.endswith(b"'"):
        text = text[:-1] + rb"\'"
    return b"b'''" + text + b"'''"


def of_compiling(error: bytes) -> bytes:
    """What ended :func:`wrapped` after the sum was right, as the program's own error: its frames are left out."""
    head, mark, frames = error.rpartition(_TRACEBACK)
    return head + mark + _COMPILE_FRAMES.sub(b"", frames, count=1)


def of_execution(error: bytes) -> bytes:
    """What ended :data:`EXECUTE`, without its frame. Raises DamagedProgram when the program was not entered."""
    head, mark, frames = error.rpartition(_TRACEBACK)
    frame = _FRAME.match(frames) if mark else None
    if frame is None:
        return error
    rest = frames[frame.end() :]
    if rest.startswith(_NOT_BEGUN):
        raise DamagedProgram(error)
    return head + mark + rest if rest.startswith(b"  File") else error
