"""NodeMCU's events: pin interrupts that are counted, timers, and tasks of three priorities in queues of eight."""

from __future__ import annotations

import pytest

from harness.judging.limits import at_most, exactly, within_percent
from harness.judging.scenario import Pair, Scenario
from harness.reference.nodemcu.hardware import GPIO_OF
from harness.runtimes.program import Program

pytestmark = pytest.mark.runtime("nodemcu")

BURST = 60
#: What the SDK does beside may delay a callback by so much, in microseconds.
LATE_US = 15_000


def _same(scenario: Scenario, pair: Pair, *names: str) -> None:
    """These figures must be the reference's."""
    for name in names:
        one, other = pair.board[name], pair.reference[name]
        scenario.check(name, one.kind, one.unit, one.value, other.value, exactly(other.value))


@pytest.mark.needs("pin_loopback")
def test_every_edge_is_counted(scenario: Scenario) -> None:
    """A burst of edges within one task and single ones: no event is lost, whether callbacks come together or not."""
    pair = [pin for pin in scenario.wiring.loopback if all(int(end) in GPIO_OF[1:] for end in pin)]
    if not pair:
        pytest.skip("no two pins with an interrupt are wired together (wiring.loopback in boards.yaml)")
    out, pin = (GPIO_OF.index(int(end)) for end in pair[0])
    found = scenario.run(Program.load_lua("events_edges", out=out, burst=BURST, **{"in": pin}))
    _same(scenario, found, "burst.both", "burst.up", "burst.down", "none")
    _same(scenario, found, "single.calls", "single.events", "single.highs")
    scenario.check("burst.edges", "count", "1", found.board.value("burst.both"), BURST, exactly(BURST))


def test_tasks_run_by_priority_and_a_full_queue_refuses(scenario: Scenario) -> None:
    """Each of three queues holds eight; the error past it; high before medium before low, and first come first."""
    found = scenario.run(Program.load_lua("events_tasks"))
    for priority in range(3):
        name = f"held.{priority}"
        scenario.check(name, "count", "1", found.board.value(name), found.reference.value(name), exactly(8))
    _same(scenario, found, "error", "ran", "out_of_order", "rounds")


def test_timers_call_as_often_as_they_should(scenario: Scenario) -> None:
    """Single, semi-automatic and automatic timers at once: how often, in which order, and how late at worst."""
    found = scenario.run(Program.load_lua("events_timers"))
    _same(scenario, found, "auto", "single", "semi", "order", "stopped")
    ten = found.board.value("ten_ticks_us")
    scenario.check(
        "timer.ten_ticks", "time", "us", ten, found.reference.value("ten_ticks_us"), within_percent(200_000, 5, "us")
    )
    worst = found.board.value("worst_us")
    scenario.check("timer.jitter", "time", "us", worst, found.reference.value("worst_us"), at_most(LATE_US, "us"))
