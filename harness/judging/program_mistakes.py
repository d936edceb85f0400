"""Whether a program that ended badly on a board does so by its own mistake: then it does on the reference, too."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.errors import HarnessError, ProgramFailed, UsageError
from harness.runtimes.program import Program, last_line
from harness.runtimes.records import DamagedRecords, Decoded, MissingEnd, WrongRecords

#: Ends of a program on the board after which the reference is asked.
PROGRAM_ENDED_BADLY = (ProgramFailed, DamagedRecords, WrongRecords)
#: The raw REPL ends what a program printed with it (MicroPython ``shared/runtime/pyexec.c``).
_END_OF_OUTPUT = b"\x04"
_LINE = re.compile(r'File "<(?:stdin|string)>", line (\d+)')
#: Errors that can have another cause on the board at the same line of the program.
_BY_CIRCUMSTANCE = ("OSError", "MemoryError", "RuntimeError", "AssertionError")


def mistake_of(program: Program, problem: HarnessError, on_reference: Callable[[], Decoded]) -> UsageError | None:
    """What is wrong with ``program``, which ended with ``problem`` on the board; None when the reference runs it well,
    or ends otherwise."""
    try:
        output = on_reference().other
    except MissingEnd:
        if not isinstance(problem, DamagedRecords):
            return None
        return UsageError(
            f"{program.place()} ends without its end record, on the board and on the reference",
            hint="does the program end with agent.done()?",
        )
    except (DamagedRecords, WrongRecords) as other:
        if isinstance(problem, ProgramFailed):
            return None
        return UsageError(f"{program.place()}, on the board and on the reference: {other.message}", hint=_hint(other))
    except ProgramFailed as other:
        return _failed_alike(program, problem, other)
    except HarnessError:
        return None
    if _END_OF_OUTPUT in output:
        return UsageError(
            f"{program.place()} prints '\\x04', by which the raw REPL tells the end of a program's output",
            hint="print repr(…) of it, or report it with agent.state",
        )
    return None


def _hint(problem: HarnessError) -> str:
    if isinstance(problem, DamagedRecords):
        return "does the program print '\\x02' or '\\x03', or part of a record, by itself?"
    return problem.hint


def _failed_alike(program: Program, problem: HarnessError, other: ProgramFailed) -> UsageError | None:
    if not (isinstance(problem, ProgramFailed) and problem.trace and other.trace):
        return None
    said, line = last_line(other.trace), _line(other.trace)
    error = said.partition(":")[0]
    alike = last_line(problem.trace) == said or (
        last_line(problem.trace).partition(":")[0] == error
        and line == _line(problem.trace)
        and error not in _BY_CIRCUMSTANCE
    )
    if not alike:
        return None
    return UsageError(
        f"{program.place(line)}: {said[:200]}, on the board and on the reference",
        hint="the program is wrong, not the firmware: mend it",
    )


def _line(trace: str) -> int:
    """The line of the program, the last one that a traceback names; 0 when it names none."""
    lines = _LINE.findall(trace)
    return int(lines[-1][:6]) if lines else 0
