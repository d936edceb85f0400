"""Whose mistake it is when a program ends badly on the board: the program's, when the reference says the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import BenchFault, HarnessError, ProgramFailed
from harness.judging.program_mistakes import mistake_of
from harness.runtimes.program import Program
from harness.runtimes.records import DamagedRecords, Decoded, MissingEnd, WrongRecords

PROGRAM = Program("p", "agent.done()", file=Path("mine/p.py"), ahead=2)


def failed(error: str, line: int = 5) -> ProgramFailed:
    trace = f'Traceback (most recent call last):\n  File "<stdin>", line {line}, in <module>\n{error}'
    return ProgramFailed(f"program p ended with {error!r}", trace=trace)


def told(board: HarnessError, reference: HarnessError | bytes) -> str:
    def on_reference() -> Decoded:
        if isinstance(reference, HarnessError):
            raise reference
        return Decoded((), reference)

    mistake = mistake_of(PROGRAM, board, on_reference)
    return "" if mistake is None else str(mistake)


@pytest.mark.parametrize(
    ("board", "reference", "said"),
    [
        (failed("KeyError: x"), failed("KeyError: x"), "mine/p.py:3: KeyError: x"),
        (failed("ZeroDivisionError: division by zero"), failed("ZeroDivisionError: divide by zero"), "mine/p.py:3"),
        (failed("KeyError: x"), failed("ValueError: y"), ""),
        (failed("KeyError: x"), failed("KeyError: y", 7), ""),
        (failed("OSError: 28"), failed("OSError: 2"), ""),
        (failed("KeyError: x"), b"", ""),
        (failed("KeyError: x"), BenchFault("gone"), ""),
        (failed("KeyError: x"), ProgramFailed("the agent ended with 'KeyError: x'"), ""),
        (failed("b"), b"a\x04b", "prints '\\x04'"),
        (MissingEnd("no end"), MissingEnd("no end"), "agent.done()"),
        (DamagedRecords("noise"), MissingEnd("no end"), "agent.done()"),
        (MissingEnd("no end"), b"", ""),
        (failed("KeyError: x"), MissingEnd("no end"), ""),
        (DamagedRecords("noise"), DamagedRecords("record 0 has lost its start"), "has lost its start"),
        (WrongRecords("'n' twice"), WrongRecords("'n' twice"), "'n' twice"),
        (WrongRecords("'n' twice"), b"", ""),
    ],
)
def test_the_reference_decides(board: HarnessError, reference: HarnessError | bytes, said: str) -> None:
    found = told(board, reference)
    assert (said in found) if said else found == ""
