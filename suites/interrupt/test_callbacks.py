"""Interrupts: what a callback may rely on, whatever raises it. Rules: MicroPython ``py/scheduler.c``."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judging.figures import Figure
from harness.judging.limits import at_least, at_most, exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, STATE, TIME, Value
from harness.runtimes.micropython.operations import ATOMIC, program_for_boards
from harness.runtimes.program import Program

SCHEDULER = "MicroPython's py/scheduler.c"
#: What holds for a queue of any depth.
QUEUE: dict[str, Value] = {
    "order": "as scheduled", "error": "schedule queue full", "deepest": 1, "unfinished": 0, "exception": "swallowed",
    "after_exception": 1,
}  # fmt: skip
DEPTH = Figure("queue.depth", COUNT)
FULL = Figure("queue.error", STATE)
#: Callbacks by which a queue of unknown depth is to be filled: the next number where all of one were taken.
FILL = (16, 64, 256)
EVENTS = Figure("poller.events", STATE, limit=exactly("pin,pin,pin,pin,pin"))
CALLBACKS = Figure("poller.callbacks", COUNT, "-", exactly(20))
NO_EVENT = Figure("poller.no_event", COUNT, "-", exactly(0))
LATE = Figure("poller.late", TIME, "us", at_most(10_000, "us", words="each event within 10 ms of its moment"))
TIMEOUT = Figure("poller.timeout", TIME, "us", at_least(59_000, "us", words="not before its 60 ms are over"))


def io(scenario: Scenario) -> dict[str, Any]:
    """The pins that are wired together, and a timer of this chip."""
    return {**scenario.wired_pins, "timer": scenario.timer}


@pytest.mark.holds("events.queue")
def test_the_queue_holds_what_the_port_says(scenario: Scenario) -> None:
    """Callbacks run in order, one inside none, up to the queue's depth; past it there is a clear error."""
    if scenario.port_is_unknown:
        _whatever_its_depth(scenario)
        return
    pair = scenario.run(Program.load("interrupt_queue", calls=16))
    depth = scenario.port.queue_depth
    limit = exactly(depth, words=f"exactly {depth}, the port's MICROPY_SCHEDULER_DEPTH")
    scenario.take(DEPTH, *pair.value("accepted"), limit=limit)
    asked: dict[str, Value] = {"accepted": depth, **QUEUE}
    scenario.compare(pair, prefix="queue.", asked=asked, source=SCHEDULER)


def _whatever_its_depth(scenario: Scenario) -> None:
    """The same where nobody promises a depth: as many calls as it takes to fill the queue."""
    for calls in FILL:
        pair = scenario.run(Program.load("interrupt_queue", calls=calls))
        if pair.board.value("accepted") < calls:
            break
    scenario.take(DEPTH, *pair.value("accepted"), limit=at_least(1, words="at least 1: nobody promises a depth here"))
    others = [o.name for o in pair.board.observations if o.name != "accepted"]
    if pair.board.value("accepted") >= calls:
        others.remove("error")
        scenario.skip_figure(FULL, f"{calls} callbacks do not fill this VM's queue")
    asked = {name: value for name, value in QUEUE.items() if name in others}
    scenario.compare(pair, prefix="queue.", only=others, asked=asked, source=SCHEDULER)


@pytest.mark.holds("events.order")
@pytest.mark.needs("pin_loopback")
def test_each_edge_is_handled_once_in_order(scenario: Scenario) -> None:
    """Edges on a wired pin: none lost, none doubled, none reordered; a burst fills the queue and no more."""
    inputs = io(scenario)
    pair = scenario.run(Program.load("interrupt_pin", burst=2 * scenario.port.queue_depth + 4, **inputs))
    edges: dict[str, Value] = {
        "edges": 20, "levels": "10" * 10, "rising": 5, "falling": 5, "burst": scenario.port.queue_depth,
        "after_burst": 1, "nested": 1, "runs": 2, "soft_allocates": "True",
    }  # fmt: skip
    scenario.compare(pair, prefix="pin.", asked=edges, source=f"the edges that the program makes, and {SCHEDULER}")


@pytest.mark.holds("events.hard", "events.schedule")
@pytest.mark.needs("pin_loopback", "hard_irq")
def test_a_hard_handler_may_set_flags_and_schedule_and_not_allocate(scenario: Scenario) -> None:
    """The hard level as real drivers use it."""
    asked = {"ran": "True", "allocated": "False", "memory_error": "True", "scheduled": "[7]"}
    pair = scenario.run(Program.load("interrupt_hard", **io(scenario)))
    scenario.compare(pair, prefix="hard.", asked=asked, source="MicroPython's docs/reference/isr_rules.rst")


ATOMIC_HERE = Figure("atomic.{operation}", STATE, limit=exactly("True", words="nothing comes between"))
#: So many in one program: what a small board's heap has room to compile.
AT_ONCE = 9


@pytest.mark.holds("events.atomic", "events.table", "events.heapq")
def test_single_operations_are_atomic(scenario: Scenario) -> None:
    """What docs/interleaving.md calls atomic by the contract, shared with a timer's callback: nothing is lost."""
    for first in range(0, len(ATOMIC), AT_ONCE):
        operations = ATOMIC[first : first + AT_ONCE]
        inputs = {"timer": scenario.timer, "period_ms": 2, "window_ms": 40}
        pair = scenario.run(Program("interrupt_atomic", program_for_boards(operations), inputs))
        for operation in operations:
            figure = ATOMIC_HERE.of(operation.key)
            if operation.key in pair.board and operation.key in pair.reference:
                scenario.take(figure, *pair.text(operation.key))
            else:
                scenario.skip_figure(figure, f"this VM has no module for {operation.name}")
        scenario.compare(pair, prefix=f"atomic.{first}.", only=("some_callbacks",))


UNPROTECTED = Figure(
    "unprotected.lost", COUNT, "-", at_least(1, words="at least 1: a callback does come between reading and writing")
)
PROTECTED = Figure("protected.lost", COUNT, "-", exactly(0, words="0: machine.disable_irq() holds the timer off"))


def test_disable_irq_holds_a_callback_off(scenario: Scenario) -> None:
    """An update with jumps in it loses what a timer's callback adds meanwhile, and with interrupts off it does not."""
    pair = scenario.run(Program.load("interrupt_protected", period_ms=3, rounds=8, timer=scenario.timer))
    scenario.take(UNPROTECTED, *pair.value("unprotected"))
    if "protected" in pair.board:
        scenario.take(PROTECTED, *pair.value("protected"))
    else:
        scenario.skip_figure(PROTECTED, "this VM has no machine.disable_irq()")


CTRL_C_SEEN = Figure("ctrl_c.seen", STATE, limit=exactly("True", words="Ctrl-C ends a busy loop"))


@pytest.mark.holds("events.ctrl-c")
@pytest.mark.parametrize("where", ["busy", "sleep", "callback"])
def test_ctrl_c(scenario: Scenario, where: str) -> None:
    """Ctrl-C reaches a program in a busy loop, in a sleep, and in a callback; the program can go on after it."""
    if where == "sleep" and not scenario.lives_in_host_time:
        pytest.skip("this virtual board's sleeps take no time (pace: fast)")
    if not scenario.sees_ctrl_c:
        # A program that only Ctrl-C ends would take the board along. It was asked with a loop that ends by itself.
        if scenario.port_is_unknown:
            pytest.skip("this VM does not look for Ctrl-C while a program is busy")
        scenario.take(CTRL_C_SEEN, "False")
        return
    program = "interrupt_ctrl_c_callback" if where == "callback" else "interrupt_ctrl_c"
    timer = scenario.timer if where == "callback" else -1
    pair = scenario.run(Program.load(program, where=where, timer=timer), interrupt_at=b"READY\r\n")
    asked = {"ended": "KeyboardInterrupt", "afterwards": "goes on"}
    scenario.compare(pair, prefix="ctrl_c.", asked=asked, source="the program, and the language")


@pytest.mark.holds("events.wait", "events.explicit", "events.named")
@pytest.mark.needs("pin_loopback")
def test_the_poller_returns_for_its_events_and_for_nothing_else(scenario: Scenario) -> None:
    """uevent.poll: a callback that concerns nobody does not end the wait, an event does, and at its moment."""
    period = 20
    with scenario.files({"uevent.py": Program.module("uevent")}) as folder:
        pair = scenario.run(Program.load("interrupt_poller", path=folder, period_ms=period, **io(scenario)))
    scenario.take(EVENTS, *pair.text("events"))
    scenario.take(CALLBACKS, *pair.value("callbacks"))
    scenario.take(NO_EVENT, *pair.value("no_event"))
    at = pair.board["at"].samples
    off = max(abs(stamp - 4000 * period * n) for n, stamp in enumerate(at))
    scenario.take(LATE, off, samples=at)
    scenario.take(TIMEOUT, *pair.value("timeout"))
