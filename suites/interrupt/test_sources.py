"""What wakes a waiting program: each source of events for the poller, and an event that a task of asyncio awaits."""

from __future__ import annotations

import re
from typing import Any

import pytest

from harness.errors import Unsuitable
from harness.judging.board_bench import Pair
from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, TIME
from harness.runtimes.interface import Runtime
from harness.runtimes.program import Program
from harness.shown import plain

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
CALLS = Figure("source.{source}.calls", COUNT, limit=exactly(EVENTS, words=f"{EVENTS}: one for each message"))
LATE = Figure("source.{source}.late", TIME, "us", at_most(10_000, "us", words="each event within 10 ms of its moment"))


def _take(scenario: Scenario, source: str, pair: Pair) -> None:
    for figure in (CAME, WAKES, AWAKE):
        scenario.take(figure.of(source), *pair.value(figure.name.rpartition(".")[2]))
    at = [float(stamp) for stamp in pair.board["at"].samples]
    off = max((abs(stamp - 1000 * PERIOD_MS * n) for n, stamp in enumerate(at)), default=0)
    scenario.take(LATE.of(source), off, samples=at)


def _inputs() -> dict[str, Any]:
    return {"count": EVENTS, "period_ms": PERIOD_MS}


def _uevent(scenario: Scenario) -> dict[str, bytes]:
    """The poller, compiled where the VM takes that: compiling it needs more heap than it is worth on a small one."""
    from harness.formats.romfs import compile_module

    source = Program.module("uevent")
    return {"uevent.mpy": compile_module("uevent.py", source)} if _loads_mpy(scenario) else {"uevent.py": source}


def _loads_mpy(scenario: Scenario) -> bool:
    from harness.formats.romfs import MPY_VERSION

    return all(runtime.facts.mpy_version == MPY_VERSION for runtime in scenario.both)


def _needs_select(scenario: Scenario) -> None:
    if _lacks(scenario.board, "select"):
        pytest.skip("the VM has no select, by which the poller waits (import select fails)")


def _lacks(runtime: Runtime, module: str) -> bool:
    return _fails(runtime, f"import {module}", b"ImportError")


@pytest.mark.holds("events.any-source", "events.no-polling", "events.asleep", "events.driven", "events.streams")
@pytest.mark.parametrize("source", ["timer", "pin", "stream"])
def test_the_poller_sleeps_until_its_source(scenario: Scenario, source: str) -> None:
    """A timer's callback, a pin's handler, a stream: each event once and in time, the CPU asleep."""
    _needs_select(scenario)
    inputs = {**_inputs(), "timer": scenario.timer, **(scenario.wired_pins if source == "pin" else {})}
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


@pytest.mark.holds("events.streams", "events.no-polling", "events.asleep", "events.explicit")
def test_the_poller_sleeps_until_a_datagram_comes(scenario: Scenario) -> None:
    """A socket on the board's own loopback: each datagram whole and in time, while other callbacks come and go."""
    _needs_select(scenario)
    timer = _timer(scenario)
    if timer is None and _lacks(scenario.board, "_thread"):
        pytest.skip("nothing can send while the poller waits: the VM has neither machine.Timer nor threads")
    if why := _no_loopback(scenario.board):
        pytest.skip(why)
    with scenario.files(_uevent(scenario)) as folder:
        inputs = {**_inputs(), "timer": timer}
        _take(scenario, "socket", scenario.run(Program.load("interrupt_socket", path=folder, **inputs)))


def _timer(scenario: Scenario) -> int | None:
    try:
        return scenario.timer
    except Unsuitable:
        return None


#: One datagram to oneself. The ESP32's network stack starts when ``network`` is imported; without it sockets fail.
_LOOPBACK = """
import select
try:
    import network
except ImportError:
    pass
import socket
a, b = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for port in range(30000, 30100):
    place = socket.getaddrinfo('127.0.0.1', port)[0][-1]
    try:
        a.bind(place)
        break
    except OSError:
        pass
b.sendto(b'hx', place)
p = select.poll()
p.register(a, select.POLLIN)
print('came' if p.poll(1000) else 'nothing came')
a.close()
b.close()
"""


def _no_loopback(runtime: Runtime) -> str:
    """Why the VM can send no datagram to itself (ESP8266: its lwIP is built without); empty when it can."""
    result = runtime.run(_LOOPBACK)
    if result.stdout.strip() == b"came":
        return ""
    if b"ImportError" in result.stderr:
        return "the VM has no sockets (import socket fails)"
    lines = (result.stderr or result.stdout).decode("utf-8", "replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"the VM's sockets reach nothing at 127.0.0.1: a datagram to itself ended with {plain(said, 120)}"


@pytest.mark.holds("events.streams", "events.no-polling", "events.asleep")
def test_the_poller_sleeps_until_a_uart_has_received(scenario: Scenario) -> None:
    """A message of eight bytes out of the board's own UART, which the poller sees as a stream."""
    inputs = _uart(scenario)
    with scenario.files(_uevent(scenario)) as folder:
        _take(scenario, "uart", scenario.run(Program.load("interrupt_uart", path=folder, source="uart", **inputs)))


@pytest.mark.holds("events.any-source", "events.no-polling", "events.asleep", "events.driven")
def test_the_poller_sleeps_until_a_uarts_line_is_idle(scenario: Scenario) -> None:
    """The same message as one event: its end is told by UART.irq(trigger=IRQ_RXIDLE), and not each byte of it."""
    inputs = _uart(scenario)
    if _fails(scenario.board, "from machine import UART\nUART.irq\nUART.IRQ_RXIDLE", b"AttributeError"):
        pytest.skip("the VM's UART tells no idle line (it has no UART.irq, or no UART.IRQ_RXIDLE)")
    with scenario.files(_uevent(scenario)) as folder:
        pair = scenario.run(Program.load("interrupt_uart", path=folder, source="idle", **inputs))
    _take(scenario, "idle", pair)
    # Before 1.26 an STM32F4 calls after the first byte as well (MicroPython's docs 1.25, machine.UART).
    if not scenario.chip.name.startswith("stm32f4") or _version(scenario.board) >= (1, 26):
        scenario.take(CALLS.of("idle"), *pair.value("calls"))


def _uart(scenario: Scenario) -> dict[str, Any]:
    """Which UART hears itself. Where a program chooses the pins, they are those of the first wire."""
    number = scenario.wiring.uart
    if number is None:
        pytest.skip("no UART's TX is wired to its own RX (wiring.uart in boards.yaml)")
    _needs_select(scenario)
    if any(_fails(runtime, "from machine import UART", b"ImportError") for runtime in scenario.both):
        pytest.skip("the VM, or its reference, has no machine.UART")
    pins, timer = None, scenario.timer
    if scenario.chip.family == "esp32":
        pins = list(scenario.wiring.loopback[0]) if scenario.wiring.loopback else None
        timer = timer or 1  # the port has Timer(0) for UART.IRQ_RXIDLE
    return {**_inputs(), "timer": timer, "uart": number, "pins": pins, "baud": 115200, "size": 8}


def _version(runtime: Runtime) -> tuple[int, ...]:
    found = re.search(r"v(\d{1,3})\.(\d{1,3})", runtime.facts.version)
    return tuple(map(int, found.groups())) if found else ()


def _fails(runtime: Runtime, program: str, error: bytes) -> bool:
    return error in runtime.run(program).stderr


@pytest.mark.holds("events.asyncio", "events.no-polling")
@pytest.mark.needs("pin_loopback")
def test_an_asyncio_task_sleeps_until_its_event(scenario: Scenario) -> None:
    """uevent.Event in asyncio, the firmware's own where it ships one: one wake for each event of a pin's handler."""
    _needs_select(scenario)
    inputs = {**_inputs(), "timer": scenario.timer, **scenario.wired_pins}
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
    inputs = scenario.wired_pins
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
