"""Programs that prove that they arrived whole, for the second look at a failure.

The raw REPL has no checksum: a byte damaged on its way to the board is another program, and its failure looks like
the firmware's. Here each program travels as text inside a small one that compares a CRC-32 before executing it. The
text takes heap while the program runs, so this is not the usual way.
"""

from __future__ import annotations

import binascii
from collections.abc import Callable

from harness.errors import BenchFault
from harness.link.panics import printable
from harness.runtimes.interface import Restart, RunResult

_WRAPPED = """import binascii as _hb
_hx=[{source!r}]
if _hb.crc32(_hx[0])!={crc}:raise OSError('damaged on its way')
print('{token}')
exec(_hx.pop())
"""


class DamagedProgram(BenchFault):
    """A program did not reach the board whole."""


def run_verified(run: Callable[[str], RunResult], restart_vm: Callable[[], None], source: str) -> RunResult:
    """``run(source)``; raises DamagedProgram when the program did not arrive whole.

    A VM that has no room for the text is started anew and gets the program the usual way.
    """
    wrapped, token = _wrapped(source)
    result = run(wrapped)
    before, arrived, output = result.stdout.partition(token)
    if arrived:
        return RunResult(before + output, result.stderr, result.seconds)
    if b"MemoryError" in result.stderr:
        restart_vm()
        return run(source)
    came = printable(result.stderr[-200:] or result.stdout[-200:]) or "nothing"
    raise DamagedProgram(
        f"a program was damaged on its way to the board; came {came!r}", hint="check the cable and the baud rate"
    )


def reset_verified(run_to_reset: Callable[[str], Restart], source: str) -> Restart:
    """The same for a program that resets the chip: one that did not arrive whole does not."""
    wrapped, token = _wrapped(source)
    restart = run_to_reset(wrapped)
    before, _, output = restart.stdout.partition(token)
    return Restart(before + output, restart.silent, restart.boot)


def _wrapped(source: str) -> tuple[str, bytes]:
    data = source.encode()
    crc = binascii.crc32(data)
    token = f"arrived {crc ^ 0xFFFFFFFF:08x}"
    # As bytes: crc32 takes them on every port, and control characters of the text are escaped on the way.
    return _WRAPPED.format(source=data, crc=crc, token=token), f"{token}\r\n".encode()
