"""Test programs one after another, each in a VM started anew; what each came to.

Whatever a program does is its own failure: a VM that hangs or crashes is started again for the next one. Only
a bench that does not play along ends the run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from harness.campaigns.conformance.conformance_programs import PROGRAM_LIMIT, Program
from harness.campaigns.conformance.expectation import (
    Difference,
    NoExpectation,
    first_difference,
    from_cpython,
    from_file,
    normal,
)
from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.runtimes.interface import RunResult

#: How a program says that it cannot be tested on this VM (MicroPython ``tests/README.md``).
_SKIP = b"SKIP\n"
_TOO_LARGE = b"SKIP-TOO-LARGE\n"
#: A build without ``@micropython.native``, ``viper`` or ``asm_*`` says this (``py/compile.c``).
_NO_EMITTER = b"SyntaxError: invalid micropython decorator"
_SUMMARY = re.compile(rb"-{70}\nRan \d+ tests\n\n(OK|FAILED)[^\n]*\n\Z")


class Restartable(Protocol):
    """What test programs need of a language VM."""

    def run(self, source: str, *, timeout: float = 30.0) -> RunResult: ...
    def soft_reset(self) -> None: ...
    def hard_reset(self) -> None: ...


class Outcome(Enum):
    """What a program came to. SKIPPED: nothing was compared."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Result:
    """``seconds`` is host wall time on the VM, its start not counted; ``reason`` is empty for a pass."""

    name: str
    outcome: Outcome
    reason: str = ""
    difference: Difference | None = None
    seconds: float = 0.0


@dataclass
class Report:
    """What was done so far. ``not_run`` programs are left when the run was ``interrupted``, or a ``fault`` ended it."""

    results: list[Result] = field(default_factory=list)
    planned: int = 0
    interrupted: bool = False
    fault: BenchFault | None = None

    def count(self, outcome: Outcome) -> int:
        return sum(result.outcome is outcome for result in self.results)

    @property
    def not_run(self) -> int:
        return self.planned - len(self.results)


def run_programs(
    programs: Sequence[Program],
    vm: Restartable,
    *,
    timeout: float = 30.0,
    watch: Callable[[Program, Result | None], None] = lambda _program, _result: None,
) -> Report:
    """Run all programs; a BenchFault or Ctrl-C ends the run and is noted in the report.

    ``timeout`` bounds each program, in seconds. ``watch`` hears of each program before and after it was run.
    """
    report = Report(planned=len(programs))
    try:
        for program in programs:
            watch(program, None)
            result = run_one(program, vm, timeout=timeout)
            report.results.append(result)
            watch(program, result)
    except KeyboardInterrupt:
        report.interrupted = True
    except BenchFault as fault:
        report.fault = fault
    return report


def run_one(program: Program, vm: Restartable, *, timeout: float) -> Result:
    """One program in a fresh VM. Raises BenchFault when the VM cannot be had back."""
    try:
        source = _source(program)
        _restart(vm)
        try:
            result = vm.run(source, timeout=timeout)
        except BenchFault:
            # The bench, or a program that closes the line or speaks the protocol itself: the second time tells.
            _restart(vm)
            try:
                result = vm.run(source, timeout=timeout)
            except BenchFault as again:
                return Result(program.name, Outcome.FAILED, f"the VM was lost twice: {again.message}")
    except UsageError as problem:
        return Result(program.name, Outcome.SKIPPED, problem.message)
    except FirmwareFailure as failure:
        return Result(program.name, Outcome.FAILED, failure.message)
    return _judge(program, result)


def _source(program: Program) -> str:
    try:
        with program.path.open("rb") as file:
            data = file.read(PROGRAM_LIMIT + 1)
        if len(data) > PROGRAM_LIMIT:
            raise UsageError(f"longer than {PROGRAM_LIMIT // 1024} kB")
        return data.decode("utf-8")
    except OSError as problem:
        raise UsageError(f"cannot be read: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise UsageError("not UTF-8 text") from None


def _restart(vm: Restartable) -> None:
    """A fresh VM. One that does not come back from a soft reset, whatever the last program did, gets a hard one."""
    try:
        vm.soft_reset()
    except (FirmwareFailure, BenchFault) as soft:
        try:
            vm.hard_reset()
        except (FirmwareFailure, BenchFault) as hard:
            raise BenchFault(f"the VM does not start again: {soft.message}; then {hard.message}") from None


def _judge(program: Program, result: RunResult) -> Result:
    output = normal(result.stdout)

    def done(outcome: Outcome, reason: str = "", difference: Difference | None = None) -> Result:
        return Result(program.name, outcome, reason, difference, result.seconds)

    if output == _SKIP:
        return done(Outcome.SKIPPED, "the program says so")
    if output == _TOO_LARGE:
        return done(Outcome.SKIPPED, "too large for this VM's heap")
    if result.stderr:
        last = result.stderr.rstrip().rsplit(b"\n", 1)[-1]
        if last == _NO_EMITTER:
            return done(Outcome.SKIPPED, "this VM was built without the code emitter it asks for")
        return done(Outcome.FAILED, f"ended by {last[:200].decode('utf-8', 'backslashreplace')}")
    summary = _SUMMARY.search(output)
    if summary is not None and program.expected is None:
        verdict = output.rstrip().rsplit(b"\n", 1)[-1].decode("ascii", "replace")
        return done(Outcome.PASSED) if summary[1] == b"OK" else done(Outcome.FAILED, f"unittest: {verdict}")
    try:
        expected = from_file(program.expected) if program.expected else from_cpython(program.path)
    except NoExpectation as problem:
        return done(Outcome.SKIPPED, f"no expectation: {problem}")
    difference = first_difference(expected, output)
    if difference is None:
        return done(Outcome.PASSED)
    return done(Outcome.FAILED, f"output differs at line {difference.line}", difference)
