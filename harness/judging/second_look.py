"""The second look at a failure, before the firmware is blamed for it.

A failure on a line without checksums can be the line's: a Ctrl-C that came for nobody, an answer that got lost. So a
scenario that failed is run once more, on a board that was reset. What fails again is the firmware's. What does not is
neither a pass nor a failure: an *error*, with both told.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.errors import BenchFault, FinalFault, FirmwareFailure, HarnessError, VmCrashed
from harness.judging.ready_board import DoubtfulBoard
from harness.judging.scenario import Scenario


class Unrepeatable(BenchFault):
    """A scenario failed once and not when it was run again."""


def judged_again(
    board: DoubtfulBoard, scenario: Scenario, failure: BaseException, once_more: Callable[[Scenario], None]
) -> None:
    """Raise what ``failure`` of ``scenario`` on ``board`` comes to; ``once_more`` runs the scenario that it is given.

    Raises what it failed with when it is the firmware's, BenchFault when it is not, or when the board
    does not come back. A VM that said that it crashed is believed, unless its flash turns out to be damaged.
    """
    first = failure.message if isinstance(failure, HarnessError) else str(failure)
    board.happened("retry", f"failed, looked at again: {first}")
    if isinstance(failure, VmCrashed):
        if board.flash_was_damaged():
            raise BenchFault(
                f"the flash no longer held the firmware that was written and verified. {first}",
                hint="if it happens again: is this flash worn out, or its supply weak?",
            ) from None
        raise failure
    try:
        board.recover(first, gentle=False)
    except FinalFault:
        raise
    except BenchFault as problem:
        raise BenchFault(
            f"{first}. Since then the board stays away, so it cannot be told whether firmware or line is at fault: "
            f"{problem.message}",
            hint="reset it by hand; where boards.yaml names a reset line or a power switch, the harness does that, "
            "looks again, and says whose fault it is",
        ) from None
    once_more(scenario.again())
    if trouble := getattr(board.runtime, "path_trouble", ""):
        raise FirmwareFailure(f"{trouble}. First: {first}") from None
    raise Unrepeatable(
        f"failed once, and passed when it was run again. First: {first}",
        hint="if it comes again: check cable and supply; a failure that comes and goes can also be the firmware's",
    ) from None
