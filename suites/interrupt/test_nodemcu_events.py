"""NodeMCU's events: pin interrupts that are counted, timers, and tasks of three priorities in queues of eight."""

from __future__ import annotations

import pytest

from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly, within_percent
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, TIME, Value
from harness.reference.nodemcu.hardware import GPIO_OF
from harness.runtimes.program import Program

pytestmark = pytest.mark.runtime("nodemcu")

BURST = 60
OVERFLOW = "Task queue overflow. Task not posted"
#: What the SDK does beside may delay a callback by so much, in microseconds.
LATE_US = 15_000

EDGES = Figure("burst.edges", COUNT, limit=exactly(BURST))
HELD = Figure("held.{priority}", COUNT, limit=exactly(8))
TEN_TICKS = Figure("timer.ten_ticks", TIME, "us", within_percent(200_000, 5, "us"))
JITTER = Figure("timer.jitter", TIME, "us", at_most(LATE_US, "us"))


@pytest.mark.needs("pin_loopback")
def test_every_edge_is_counted(scenario: Scenario) -> None:
    """A burst of edges within one task and single ones: no event is lost, whether callbacks come together or not."""
    pair = [pin for pin in scenario.wiring.loopback if all(int(end) in GPIO_OF[1:] for end in pin)]
    if not pair:
        pytest.skip("no two pins with an interrupt are wired together (wiring.loopback in boards.yaml)")
    out, pin = (GPIO_OF.index(int(end)) for end in pair[0])
    found = scenario.run(Program.load_lua("events_edges", out=out, burst=BURST, **{"in": pin}))
    asked = {
        "burst.both": BURST, "burst.up": BURST // 2, "burst.down": BURST // 2, "none": 0,
        "single.calls": 10, "single.events": 10, "single.highs": 5,
    }  # fmt: skip
    scenario.compare(found, only=tuple(asked), asked=asked, source="the edges that the program makes")
    scenario.take(EDGES, found.board.value("burst.both"), BURST)


def test_tasks_run_by_priority_and_a_full_queue_refuses(scenario: Scenario) -> None:
    """Each of three queues holds eight; the error past it; high before medium before low, and first come first."""
    pair = scenario.run(Program.load_lua("events_tasks"))
    for priority in range(3):
        figure = HELD.of(priority)
        scenario.take(figure, *pair.value(figure.name))
    queues: dict[str, Value] = {"error": OVERFLOW, "ran": 24, "out_of_order": 0, "rounds": 50}
    scenario.compare(
        pair, only=tuple(queues), asked=queues, source="three queues of eight (NodeMCU app/task, node.task)"
    )


def test_timers_call_as_often_as_they_should(scenario: Scenario) -> None:
    """Single, semi-automatic and automatic timers at once: how often, in which order, and how late at worst."""
    pair = scenario.run(Program.load_lua("events_timers"))
    timers: dict[str, Value] = {"auto": 10, "single": 1, "semi": 2, "order": "hahsa", "stopped": "false"}
    scenario.compare(pair, only=tuple(timers), asked=timers, source="the program's timers of 15, 20 and 35 ms")
    scenario.take(TEN_TICKS, *pair.value("ten_ticks_us"))
    scenario.take(JITTER, *pair.value("worst_us"))
