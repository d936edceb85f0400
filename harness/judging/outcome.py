"""How a measurement, a scenario, a board or a run ended."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from harness.errors import EXIT_BENCH_FAULT, EXIT_FIRMWARE_FAILED, EXIT_PASS, EXIT_USAGE


class Outcome(Enum):
    """``ERROR`` is the bench's fault, not the firmware's; ``BROKEN`` the suite's own.

    ``SKIPPED`` was not asked, and says why.
    """

    PASS = "pass"
    MARGINAL = "marginal"
    FAIL = "fail"
    ERROR = "error"
    BROKEN = "broken"
    SKIPPED = "skipped"


_ORDER = (Outcome.SKIPPED, Outcome.PASS, Outcome.MARGINAL, Outcome.BROKEN, Outcome.ERROR, Outcome.FAIL)


def worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The one that decides: a failure of the firmware outweighs an error of the bench."""
    return max(outcomes, key=_ORDER.index, default=Outcome.SKIPPED)


def exit_code(outcome: Outcome) -> int:
    """Of a whole run. Nothing judged at all is an error: a check that did not happen has not passed."""
    if outcome is Outcome.FAIL:
        return EXIT_FIRMWARE_FAILED
    if outcome in (Outcome.ERROR, Outcome.SKIPPED):
        return EXIT_BENCH_FAULT
    if outcome is Outcome.BROKEN:
        return EXIT_USAGE
    return EXIT_PASS
