"""Programs that prove that they arrived whole, for the second look at a failure.

The raw REPL has no checksum: a byte damaged on its way to the board is another program, and its failure looks like
the firmware's. Here each program travels as text inside a small one that compares a CRC-32 before executing it. The
text takes heap while the program runs, so this is not the usual way.
"""

from __future__ import annotations

import binascii
from typing import Any

from harness.errors import BenchFault
from harness.link.panics import printable
from harness.runtimes.ask_names import read_facts
from harness.runtimes.base import BoardRuntime, Facts, Hand, Restart, RunResult

_WRAPPED = """import binascii as _hb
_hx=[{source!r}]
if _hb.crc32(_hx[0])!={crc}:raise OSError('damaged on its way')
print('{token}')
exec(_hx.pop())
"""


class DamagedProgram(BenchFault):
    """A program did not reach the board whole."""


class VerifiedRuntime:
    """``runtime`` with programs that are checked on the board; everything else is the runtime's own.

    A VM that has no room for the text gets the program the usual way.
    """

    def __init__(self, runtime: BoardRuntime) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)

    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        """As the runtime's own; raises DamagedProgram when the program did not arrive whole."""
        wrapped, token = _wrapped(source)
        result = self._runtime.run(wrapped, timeout=timeout, interrupt_at=interrupt_at)
        before, found, output = result.stdout.partition(token)
        if found:
            return RunResult(before + output, result.stderr, result.seconds)
        if b"MemoryError" in result.stderr:
            self._runtime.soft_reset()
            return self._runtime.run(source, timeout=timeout, interrupt_at=interrupt_at)
        came = printable(result.stderr[-200:] or result.stdout[-200:]) or "nothing"
        raise DamagedProgram(
            f"a program was damaged on its way to the board; came {came!r}", hint="check the cable and the baud rate"
        )

    def read_facts(self) -> Facts:
        return read_facts(self.run)

    def run_to_reset(self, source: str, *, within: float = 30.0, hand: Hand | None = None) -> Restart:
        wrapped, token = _wrapped(source)
        restart = self._runtime.run_to_reset(wrapped, within=within, hand=hand)
        before, _, output = restart.stdout.partition(token)
        return Restart(before + output, restart.silent, restart.boot)


def _wrapped(source: str) -> tuple[str, bytes]:
    data = source.encode()
    crc = binascii.crc32(data)
    token = f"arrived {crc ^ 0xFFFFFFFF:08x}"
    # As bytes: crc32 takes them on every port, and control characters of the text are escaped on the way.
    return _WRAPPED.format(source=data, crc=crc, token=token), f"{token}\r\n".encode()
