"""Interrupts: what ends a wait, what waits together, and how true a timer is in the long run."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence

import pytest

from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly, within_percent
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, STATE, TIME
from harness.runtimes.program import Program

WAIT_MS = 3000
#: What a program needs of the VM to wait so.
WAITS = {
    "sleep_ms": "import time\ntime.sleep_ms",
    "poll": "import select\nselect.poll",
    "idle": "import machine\nmachine.idle",
}
ENDED = Figure("ctrl_c.{how}.ended", STATE, limit=exactly("KeyboardInterrupt"))
ENDED_AFTER = Figure("ctrl_c.{how}.ended_after", TIME, "ms")
AFTERWARDS = Figure("ctrl_c.{how}.afterwards", STATE, limit=exactly("goes on"))


@pytest.mark.holds("events.ctrl-c", "events.wakes-wait")
@pytest.mark.parametrize("how", sorted(WAITS))
def test_ctrl_c_in_a_wait(scenario: Scenario, how: str) -> None:
    """Ctrl-C ends sleep_ms, select.poll with a time-out, and a loop of machine.idle, before their time."""
    if not scenario.lives_in_host_time:
        pytest.skip("this virtual board's sleeps take no time (pace: fast)")
    if not scenario.sees_ctrl_c:
        pytest.skip("Ctrl-C ends no program on this VM, as it was asked")  # test_ctrl_c judges that
    scenario.require(WAITS[how])
    timer = scenario.timer if scenario.has_timer else None
    program = Program.load("interrupt_ctrl_c_wait", how=how, ms=WAIT_MS, timer=timer)
    pair = scenario.run(program, interrupt_at=b"READY\r\n")
    scenario.take(ENDED.of(how), *pair.text("ended"))
    limit = at_most(WAIT_MS // 2, "ms", words=f"well before its {WAIT_MS} ms are over")
    scenario.take(ENDED_AFTER.of(how), *pair.value("ended_after"), limit=limit)
    scenario.take(AFTERWARDS.of(how), *pair.text("afterwards"))


# -- callbacks that wait together --------------------------------------------------------------------

ORDER = Figure("together.order", STATE)
IN_A_SLEEP = Figure("together.in_a_sleep", STATE)
JUMPS = Figure("together.jumps", COUNT)


@pytest.mark.holds("events.order")
@pytest.mark.figures(ORDER, IN_A_SLEEP, JUMPS)
def test_callbacks_that_wait_together_run_in_order(scenario: Scenario) -> None:
    """As many callbacks of two functions as the queue holds, scheduled before one check: all run, in order, at once."""
    depth = 4 if scenario.port_is_unknown else scenario.port.queue_depth
    if scenario.port_is_unknown:
        depth = min(depth, int(scenario.run(Program.load("interrupt_queue", calls=depth)).board.value("accepted")))
        if depth < 2:
            pytest.skip(f"this VM's queue holds {depth}: nothing waits together")
    pair = scenario.run(Program.load("interrupt_together", calls=depth))
    order = exactly(" ".join(str(n if n % 2 == 0 else -n) for n in range(depth)))
    scenario.take(ORDER, *pair.text("order"), limit=order)
    scenario.take(IN_A_SLEEP, *pair.text("in_a_sleep"), limit=order)
    words = f"at most {depth} turns of a loop: one callback at each check (MicroPython py/scheduler.c)"
    scenario.take(JUMPS, *pair.value("jumps"), limit=at_most(depth, words=words))


# -- a timer in the long run ---------------------------------------------------------------------------

PERIOD_MS, TICKS = 10, 200
TICKED = Figure("long_run.ticks", COUNT, limit=exactly(TICKS))
PERIOD = Figure("long_run.period", TIME, "us", within_percent(1000 * PERIOD_MS, 0.1, "us"))


def mean_period(stamps: Sequence[float]) -> float:
    """The period of ticks at ``stamps``: the median slope over all pairs (Theil-Sen), which late ones do not move."""
    pairs = itertools.combinations(enumerate(stamps), 2)
    return statistics.median((late - early) / (j - i) for (i, early), (j, late) in pairs)


@pytest.mark.figures(TICKED, PERIOD)
def test_a_timers_period_in_the_long_run(scenario: Scenario) -> None:
    """200 ticks of 10 ms by the board's own clock: their period over the whole run, not that of one tick."""
    pair = scenario.run(Program.load("interrupt_period", period_ms=PERIOD_MS, count=TICKS, timer=scenario.timer))
    scenario.take(TICKED, *pair.value("ticks"))
    periods = [round(mean_period(side["at"].samples), 2) for side in (pair.board, pair.reference)]
    scenario.take(PERIOD, *periods)
