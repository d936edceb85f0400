"""Interrupts: the line's own, seen from a program that must arrive whole."""

from __future__ import annotations

import binascii
import random
import string

import pytest

from harness.errors import BenchFault
from harness.judging.figures import Figure
from harness.judging.limits import exactly
from harness.judging.scenario import Scenario
from harness.kinds import STATE
from harness.runtimes.interface import RunResult
from harness.runtimes.program import PROVES_ITSELF

#: Lengths of a program: so many windows and so many bytes more.
EDGES = ((1, -1), (1, 0), (1, 1), (2, 0), (2, 1), (8, 0))
ARRIVED = Figure("paste.{windows}_windows_{more}", STATE)
WHOLE = Figure("paste.whole", STATE, limit=exactly("whole", words="programs arrive whole by raw paste"))
#: How often a program that arrived damaged is sent again.
_AGAIN = 3
_PREPARE = "from binascii import crc32 as c"
_FRAME = (f"{PROVES_ITSELF}print(c(b'", "'))")


def program_of(length: int) -> tuple[str, bytes]:
    """A program of ``length`` bytes that prints the CRC-32 of almost all of them, and what it must print."""
    letters = random.Random(length).choices(string.ascii_letters + string.digits, k=length - len("".join(_FRAME)))
    text = "".join(letters)
    return text.join(_FRAME), str(binascii.crc32(text.encode())).encode()


def _said(result: RunResult) -> str:
    last = (result.stderr.strip().splitlines() or [b""])[-1]
    return (last or result.stdout.strip()).decode("ascii", "backslashreplace")[:200]


def _look_again(scenario: Scenario, source: str, crc: str, came: str) -> None:
    """Raises BenchFault when the same program arrives whole most of the time: flow control that is wrong is wrong for
    these bytes each time, and a line that damages bytes is not."""
    whole = sum(_said(scenario.board.run(source)) == crc for _ in range(_AGAIN))
    if whole > _AGAIN // 2:
        raise BenchFault(
            f"a program of {len(source)} bytes arrived damaged (CRC-32 {came} on the board, {crc} of what was sent), "
            f"and then {whole} times of {_AGAIN} whole",
            hint="check the cable and the baud rate: a line without checksums has damaged it",
        )


def test_a_program_at_the_windows_edge_arrives_whole(scenario: Scenario) -> None:
    """Raw paste hands out a window of bytes at a time: programs that end just before its edge, at it, and past it."""
    window = scenario.paste_window
    if not window:
        pytest.skip("this VM's raw REPL has no raw paste")
    if window - 1 < len("".join(_FRAME)):
        pytest.skip(f"its window of {window} bytes is too small for a program that proves itself")
    if scenario.path_trouble:
        scenario.take(WHOLE, scenario.path_trouble)
        return
    scenario.require(_PREPARE)
    scenario.soft_reset()
    for runtime in scenario.both:
        assert not runtime.run(_PREPARE).stderr
    for windows, more in EDGES:
        source, crc = program_of(windows * window + more)
        said = [_said(runtime.run(source)) for runtime in scenario.both]
        if said[0] != crc.decode():
            _look_again(scenario, source, crc.decode(), said[0])
        sign = {-1: "minus_1", 0: "exactly", 1: "plus_1"}[more]
        limit = exactly(crc.decode(), words=f"{crc.decode()}, the CRC-32 of what was sent")
        scenario.take(ARRIVED.of(windows, sign), *said, limit=limit)
