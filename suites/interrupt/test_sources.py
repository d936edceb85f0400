"""What wakes a waiting program: each source of events for the poller, and an event that a task of asyncio awaits."""

from __future__ import annotations

from typing import Any

import pytest

from harness.judging.board_bench import Pair
from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, TIME
from harness.runtimes.interface import Runtime
from harness.runtimes.program import Program

EVENTS = 11
PERIOD_MS = 50

CAME = Figure("source.{source}.events", COUNT, limit=exactly(EVENTS))
WAKES = Figure(
    "source.{source}.wakes",
    COUNT,
    limit=exactly(EVENTS - 1, words=f"{EVENTS - 1}: one for each event, for none is polled"),
)
AWAKE = Figure(
    "source.{source}.awake", TIME, "us", at_most(10_000, "us", words=f"at most 10 ms for each event, of {PERIOD_MS} ms")
)
LATE = Figure("source.{source}.late", TIME, "us", at_most(10_000, "us", words="each event within 10 ms of its moment"))


def _take(scenario: Scenario, source: str, pair: Pair) -> None:
    for figure in (CAME, WAKES, AWAKE):
        scenario.take(figure.of(source), *pair.value(figure.name.rpartition(".")[2]))
    at = [float(stamp) for stamp in pair.board["at"].samples]
    off = max((abs(stamp - 1000 * PERIOD_MS * n) for n, stamp in enumerate(at)), default=0)
    scenario.take(LATE.of(source), off, samples=at)


def _pins(scenario: Scenario) -> dict[str, Any]:
    if not scenario.wiring.loopback:
        pytest.skip("no two pins are wired together (wiring.loopback in boards.yaml)")
    out, pin = scenario.wiring.loopback[0]
    return {"out": out, "in": pin}


def _inputs() -> dict[str, Any]:
    return {"count": EVENTS, "period_ms": PERIOD_MS}


def _uevent(scenario: Scenario) -> dict[str, bytes]:
    """The poller, compiled where the VM takes that: compiling it needs more heap than it is worth on a small one."""
    from harness.formats.romfs import compile_module

    source = Program.module("uevent")
    return {"uevent.mpy": compile_module("uevent.py", source)} if _loads_mpy(scenario) else {"uevent.py": source}


def _loads_mpy(scenario: Scenario) -> bool:
    return all(runtime.facts.mpy & 0xFF == 6 for runtime in scenario.both)


def _needs_select(scenario: Scenario) -> None:
    if _lacks(scenario.board, "select"):
        pytest.skip("the VM has no select, by which the poller waits (import select fails)")


def _lacks(runtime: Runtime, module: str) -> bool:
    return b"ImportError" in runtime.run(f"import {module}").stderr


@pytest.mark.holds("events.any-source", "events.no-polling", "events.asleep", "events.driven", "events.streams")
@pytest.mark.parametrize("source", ["timer", "pin", "stream"])
def test_the_poller_sleeps_until_its_source(scenario: Scenario, source: str) -> None:
    """A timer's callback, a pin's handler, a stream: each event once and in time, the CPU asleep."""
    _needs_select(scenario)
    inputs = {**_inputs(), "timer": scenario.timer, **(_pins(scenario) if source == "pin" else {})}
    with scenario.files(_uevent(scenario)) as folder:
        _take(scenario, source, scenario.run(Program.load("interrupt_sources", path=folder, source=source, **inputs)))


@pytest.mark.holds("events.thread")
def test_the_poller_sleeps_until_another_thread_tells_it(scenario: Scenario) -> None:
    """The same for a thread, where the VM has them."""
    _needs_select(scenario)
    if _lacks(scenario.board, "_thread"):
        pytest.skip("the VM has no threads (import _thread fails)")
    with scenario.files(_uevent(scenario)) as folder:
        _take(scenario, "thread", scenario.run(Program.load("interrupt_thread", path=folder, **_inputs())))


@pytest.mark.holds("events.asyncio", "events.no-polling")
@pytest.mark.needs("pin_loopback")
def test_an_asyncio_task_sleeps_until_its_event(scenario: Scenario) -> None:
    """uevent.Event in asyncio, the firmware's own where it ships one: one wake for each event of a pin's handler."""
    _needs_select(scenario)
    inputs = {**_inputs(), "timer": scenario.timer, **_pins(scenario)}
    given = _without_asyncio(scenario)
    with (
        scenario.files(_asyncio(scenario) if given else {}, on=given),
        scenario.files(_uevent(scenario)) as folder,
    ):
        _take(scenario, "asyncio", scenario.run(Program.load("interrupt_awaited", path=folder, **inputs)))


@pytest.mark.holds("events.asyncio")
@pytest.mark.needs("pin_loopback")
def test_an_asyncio_task_is_woken_from_a_handler(scenario: Scenario) -> None:
    """A flag that a pin's handler sets wakes the task that waits for it, each time."""
    inputs = _pins(scenario)
    # A VM that has asyncio keeps its own, also where the other side is given one: then only that one's path differs.
    given = _without_asyncio(scenario)
    with scenario.files(_asyncio(scenario) if given else {}, on=given) as folder:
        pair = scenario.run(Program.load("interrupt_asyncio", path=folder, **inputs))
    asked = {"log": ",".join(f"edge {n},woken {n}" for n in range(3))}
    source = "the program: each edge wakes its task before the next"
    scenario.compare(pair, prefix="asyncio.", asked=asked, source=source)


def _without_asyncio(scenario: Scenario) -> list[Runtime]:
    """Which of the two lack asyncio; asked of fresh VMs, for one that was given it keeps it until it ends."""
    scenario.soft_reset()
    return [runtime for runtime in scenario.both if _lacks(runtime, "asyncio")]


def _asyncio(scenario: Scenario) -> dict[str, bytes]:
    """What a VM without a Python part of asyncio is given, compiled."""
    from harness.formats.romfs import compile_module
    from harness.reference.engine.asyncio_package import asyncio_files

    if not _loads_mpy(scenario):
        pytest.skip("the VM has no asyncio and loads no .mpy of version 6")
    needless = ("asyncio/stream.py", "asyncio/task.py", "asyncio/lock.py")
    return {
        name.removesuffix(".py") + ".mpy": compile_module(name, data)
        for name, data in asyncio_files(scenario.step).items()
        if name not in needless
    }
