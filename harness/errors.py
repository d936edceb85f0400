"""The errors a user sees, and the exit codes that go with them.

A message says what was expected, what came, and what to try. The command line prints it as it is,
without a traceback; anything else that escapes is a defect of the harness itself.
"""

from __future__ import annotations

from harness.no_secrets import without_secrets

EXIT_PASS = 0
EXIT_FIRMWARE_FAILED = 1
EXIT_USAGE = 2
EXIT_BENCH_FAULT = 3
#: As a shell has it for a program that a signal ended: 128 and SIGINT.
EXIT_INTERRUPTED = 130


class HarnessError(Exception):
    """A problem with a known cause. ``hint`` says what to try."""

    exit_code = EXIT_BENCH_FAULT

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(without_secrets(message))
        self.message = without_secrets(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  try: {self.hint}" if self.hint else self.message


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, ended in order. ``what`` says what became of what was done until then, in one line."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what


class UsageError(HarnessError):
    """The user asked for something that cannot be: a bad file, a wrong name, a wrong image."""

    exit_code = EXIT_USAGE


class BenchFault(HarnessError):
    """The bench could not do its part: a port, a cable, a board that does not answer, damaged data."""


class DoesNotStart(BenchFault):
    """The chip said why it does not start. ``said`` is what came, as bytes."""

    def __init__(self, message: str, *, hint: str = "", said: bytes = b"") -> None:
        super().__init__(message, hint=hint)
        self.said = said


class Unreadable(BenchFault):
    """The board says something that is no text at the console's baud rate."""


class FinalFault(BenchFault):
    """A bench fault that trying again cannot mend, and that is no sign of a sick board: busy, swapped, not there."""


class PortBusy(FinalFault):
    """Another program has the board's port open."""


class PlaceHeld(FinalFault):
    """Somebody else has the lab's place: it may be free later."""


class PlaceAbsent(FinalFault):
    """Nothing stands behind the lab's place now: its exporter is away, and may come back."""


class PlaceLost(FinalFault):
    """A lab's place is not ours any more, or of no use: no fault of the board's, nor of its firmware's."""


class Refused(BenchFault):
    """The board answered, and said no: a full or missing filesystem, a file that is not there.

    Nothing was lost on the way, so it is no evidence against the line or the board.
    """


#: What to do about an application on a board.
SET_ASIDE = "set it aside while boards are tested: 'application: aside' in boards.yaml, or harness run --set-aside"


class ApplicationInTheWay(Refused):
    """The program that somebody left on the board keeps it: neither the board nor its line is at fault."""


class FirmwareFailure(HarnessError):
    """The firmware itself did the wrong thing (as opposed to the bench)."""

    exit_code = EXIT_FIRMWARE_FAILED


class ProgramFailed(FirmwareFailure):
    """A program ended with a traceback: the VM is there, and answers.

    ``trace`` is the traceback of a program of a suite; empty for what the harness itself sends ahead.
    """

    def __init__(self, message: str, *, hint: str = "", trace: str = "") -> None:
        super().__init__(message, hint=hint)
        self.trace = trace


class VmCrashed(FirmwareFailure):
    """The firmware itself said that it has crashed."""


class Unsuitable(HarnessError):
    """The board cannot do what a scenario needs: no fault of anyone's, the scenario is skipped with this reason."""
