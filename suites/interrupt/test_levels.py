"""Three levels of execution: a hard handler comes at once, whatever the two below it do."""

from __future__ import annotations

import math

import pytest

from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, TIME
from harness.runtimes.program import Program

COUNT_TICKS = 20
PERIOD_MS = 10
#: What nine of ten handlers may be late, in microseconds, and why.
LATE = {
    "callback": (1_000, "a soft callback does not hold it up"),
    "sort": (1_000, "nor does a C function that takes long"),
}

TICKS = Figure("preempt.{work}.ticks", COUNT, limit=exactly(COUNT_TICKS))
LATENCY = Figure("preempt.{work}.p90", TIME, "us")


@pytest.mark.holds("events.three-levels", "events.hard-in-soft", "events.hard")
@pytest.mark.needs("hard_irq", "timer_irq")
def test_a_hard_handler_preempts_callbacks_and_c_functions(scenario: Scenario) -> None:
    """A hard timer's handler while a soft callback runs for 200 ms, and while lists are sorted in C."""
    if not scenario.preempts:
        pytest.skip(
            "this virtual board's VM is the prepared build, in which hard handlers wait for the VM's next check"
        )
    program = Program.load("interrupt_preempt", period_ms=PERIOD_MS, count=COUNT_TICKS, timer=scenario.timer, items=300)
    pair = scenario.run(program)
    for work, (limit, why) in LATE.items():
        scenario.take(TICKS.of(work), *pair.value(f"{work}.ticks"))
        late, other = (sorted(map(float, side[f"{work}.late"].samples)) for side in (pair.board, pair.reference))
        place = math.ceil(0.9 * len(late)) - 1
        scenario.take(
            LATENCY.of(work),
            late[place],
            other[min(place, len(other) - 1)],
            limit=at_most(limit, "us", words=f"at most {limit} µs: {why}"),
            samples=late,
        )
