"""Programs that prove that they arrived whole.

The raw REPL has no checksum: a byte damaged on its way to the board is another program, whose figures look like the
firmware's. Here each program travels as text inside a small one (:func:`wrapped`), which sums the text up, by one call
where the VM has ``binascii``, and compiles it when the sum is the one that came along. A second one, :data:`EXECUTE`,
runs the result: by then the text is garbage, and its name is gone, so that a program finds the heap and the globals
that it would find unwrapped. Nothing is asked back: a text with another sum leaves nothing to execute, and
:data:`EXECUTE`, which is sent along, says so.

What is proved: the text that is executed has the CRC-32 that the host computed (on a VM without ``binascii`` a sum of
16 bits, in which any one damaged byte shows). Damage to the wrapper itself ends in a wrong sum, or in an error outside
the program, never in an execution. One exception: a statement that is shorter than the input of a board
which has little of it (``console.buffer``) goes out as it is, for such a board's stack has no room for an ``exec``
around it; its figures come in records with checksums as all do.
"""

from __future__ import annotations

import binascii
import itertools
import re
from dataclasses import dataclass
from functools import lru_cache

from harness.errors import BenchFault
from harness.link.panics import printable
from harness.runtimes.records import DRAWN_NUMBERS

#: Run after :func:`wrapped`. The name goes before the program begins.
EXECUTE = b"exec(globals().pop('_hx'))"

_WRAPPER = """def _hx(t):
{before} return {sum}=={expected} and {result}
_hx=_hx("""
_CRC = "__import__('binascii').crc32({},{})"
_PLAIN_SUM = " c={}\n for b in t:c=(c*31+b)%65521\n"
#: Five digits, three bytes of bytecode.
_PLAIN_SUMS = range(10_000, 65521)
_COMPILED = "compile({},'<stdin>','exec')"
_TRACEBACK = b"Traceback (most recent call last):\r\n"
_FRAME = re.compile(rb'  File "<stdin>"(?:, line \d+)?, in <module>\r\n')
#: Of :func:`wrapped`, and of the last of :func:`sum_collected`.
_COMPILE_FRAMES = re.compile(_FRAME.pattern + rb'(?:  File "<stdin>"(?:, line \d+)?, in _hx\r\n)?')
#: What a damaged wrapper ends in before it compiles.
_NOT_COMPILED = (
    b"NameError", b"KeyError", b"AttributeError", b"TypeError", b"ImportError", b"IndexError", b"KeyboardInterrupt",
)  # fmt: skip
#: What :data:`EXECUTE` ends in when there is nothing to execute, or when it is damaged.
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


def sum_of(source: bytes, style: Style) -> tuple[int, int]:
    """What the board makes of ``source`` when it has arrived whole, and from which number it begins.

    A VM with words of 32 bits keeps a number of 2**30 or more on its heap, and a block or a byte of bytecode more in
    the wrapper moves what a program finds there. So a sum is begun from the number (three digits, two bytes) with which
    it has as many digits and bytes as any other program's.
    """
    sum_from, of_one_length = (binascii.crc32, DRAWN_NUMBERS) if style.crc32 else (_plain_sum, _PLAIN_SUMS)
    sums = ((sum_from(source, start), start) for start in itertools.count(100))
    return next(found for found in sums if found[0] in of_one_length)


def _plain_sum(source: bytes, total: int) -> int:
    for byte in source:
        total = (total * 31 + byte) % 65521
    return total


@lru_cache(maxsize=64)
def wrapped(source: bytes, style: Style) -> bytes:
    """``source`` as text in a program that leaves it compiled as ``_hx`` when its sum is right, else False."""
    expected, start = sum_of(source, style)
    head = _WRAPPER.format(
        before="" if style.crc32 else _PLAIN_SUM.format(start),
        sum=_CRC.format("t", start) if style.crc32 else "c",
        expected=expected,
        result=_result("t", style),
    )
    return head.encode() + _literal(source) + b")"


def sum_collected(source: bytes, style: Style) -> tuple[bytes, ...]:
    """The same for a text that lies in ``_hx[0]`` already: programs of less than 64 bytes, the input of a small board,
    to be run one by one."""
    expected, start = sum_of(source, style)
    end = f"_hx=_hs=={expected} and {_result('_hx.pop()', style)}".encode()
    if style.crc32:
        return f"_hs={_CRC.format('_hx[0]', start)}".encode(), end, b"del _hs"
    return f"_hs=_hb={start}".encode(), b"for _hb in _hx[0]:_hs=(_hs*31+_hb)%65521", end, b"del _hs,_hb"


def _result(text: str, style: Style) -> str:
    return _COMPILED.format(text) if style.compiles else text


def _literal(source: bytes) -> bytes:
    """``source`` as a bytes literal in which lines stay lines: an escape each would cost a byte on the line."""
    text = source.replace(b"\\", rb"\\").replace(b"'''", rb"\'\'\'")
    text = re.sub(rb"[^\n\x20-\x7e]", lambda match: b"\\x%02x" % match[0][0], text)
    if text.endswith(b"'"):
        text = text[:-1] + rb"\'"
    return b"b'''" + text + b"'''"


def of_compiling(error: bytes) -> bytes:
    """What ended :func:`wrapped` as the program's own error, without the frames around it.

    Raises DamagedProgram when the text was not compiled.
    """
    head, mark, frames = error.rpartition(_TRACEBACK)
    around = _COMPILE_FRAMES.match(frames) if mark else None
    rest = frames[around.end() :] if around else frames if b"MemoryError" in frames else b""
    if not rest or rest.startswith(_NOT_COMPILED):
        raise DamagedProgram(error)
    return head + mark + rest


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
