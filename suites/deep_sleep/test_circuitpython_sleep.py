"""Sleep on CircuitPython: alarms, what wakes, and what outlives it. Real sleep: the console is a UART, not USB."""

from __future__ import annotations

import binascii
from typing import cast

import pytest

from harness.judging.board_bench import Pair
from harness.judging.board_data import filling, told
from harness.judging.figures import Figure
from harness.judging.limits import between, exactly
from harness.judging.scenario import Scenario
from harness.kinds import STATE, TIME, Value
from harness.runtimes.interface import CodeRuntime, Intervention, Restart
from harness.runtimes.program import Program, ask
from harness.runtimes.records import decode

#: Given to the board to empty its line before it sleeps, in milliseconds.
SETTLE_MS = 30
#: How far the sleep clock of a chip may be off, in percent: RC oscillators on ESP chips.
CLOCK_PERCENT = 5.0
#: From the wake to the first byte on the line, at most, in seconds.
WAKE_SECONDS = 0.5
#: More of them where the port is the chip's own USB: a host takes its time to find the device.
USB_SECONDS = 2.0

#: Bytes of ``alarm.sleep_memory`` by chip (CircuitPython ``ports/espressif/common-hal/alarm/SleepMemory.h``).
SLEEP_MEMORY = {"esp32": 3072, "esp32s2": 4096, "esp32s3": 4096}
ALARM = "CircuitPython's alarm.SleepMemory (shared-bindings/alarm)"

NO_TIME = "this virtual board's sleeps take no time (pace: fast)"

FOUND = Figure("{after}.{what}", STATE)
PERSISTED = Figure("{after}.persisted", STATE, limit=exactly("None"))
LINE = "s by which this line's own round trips differed"
DURATION = Figure("sleep.{ms}_ms", TIME, "s")
RESET_MEMORY = Figure("reset.sleep_memory", STATE, limit=exactly("whole or cleared"))
LIGHT_RAM = Figure("light.ram", STATE, limit=exactly("kept"))
LIGHT = Figure("light.{ms}_ms", TIME, "us")
LIGHT_BY = Figure("light.{ms}_ms.by", STATE, limit=exactly("TimeAlarm"))

pytestmark = [pytest.mark.runtime("circuitpython"), pytest.mark.needs("deep_sleep")]


def _sleep(
    scenario: Scenario, ms: int | None, *, intervention: Intervention | None = None, pin: int | str | None = None
) -> tuple[Pair, list[Restart]]:
    """Let both sides sleep (None: reset instead): what the first code said then, and the restarts."""
    woke = Program.load("cp_woke").whole().encode()
    restarts, said = [], []
    program = Program.load("cp_sleep", ms=ms, pin=pin, settle_ms=SETTLE_MS)
    with scenario.code_py(woke):
        for runtime in cast(tuple[CodeRuntime, CodeRuntime], scenario.both):
            if ms is not None:
                _sleep_once(scenario, runtime)
            scenario.step("asleep" if ms is not None else "resetting")
            restart = program.run_to_reset(runtime, within=(ms or 0) / 1000 + 15.0, intervention=intervention)[1]
            restarts.append(restart)
            said.append(decode(restart.boot))
    return Pair(*said), restarts


def _sleep_once(scenario: Scenario, runtime: CodeRuntime) -> None:
    """CircuitPython waits five seconds after a start for a host to connect, before it really sleeps, but not after a
    wake (``CIRCUITPY_WORKFLOW_CONNECTION_SLEEP_DELAY``): one sleep ahead of the one that is measured."""
    if "DEEP_SLEEP_ALARM" not in ask(runtime, "m.cpu.reset_reason", first="import microcontroller as m"):
        scenario.step("first sleep after a start")
        Program.load("cp_sleep", ms=50, pin=None, settle_ms=SETTLE_MS).run_to_reset(runtime)


def _judge(scenario: Scenario, pair: Pair, prefix: str, **expected: str) -> None:
    """The states that are the same for every board, and the sleep memory as the reference's chip keeps it."""
    for name, text in expected.items():
        scenario.take(FOUND.of(prefix, name), *pair.text(name), limit=exactly(text))
    if any(o.name == "persisted" for o in pair.board.observations):
        scenario.take(PERSISTED.of(prefix), *pair.text("persisted"))


def _whole(scenario: Scenario, pair: Pair) -> str:
    """What cp_woke.py says of a sleep memory that has kept what cp_sleep.py wrote; the size is the chip's."""
    size = SLEEP_MEMORY.get(scenario.chip.name)
    if size is None:
        return pair.reference.text("sleep_memory")
    return told(filling(size))


@pytest.mark.figures(FOUND, DURATION)
@pytest.mark.parametrize("ms", [100, 1000])
def test_sleeps_until_its_time_alarm_and_tells_what_woke_it(scenario: Scenario, ms: int) -> None:
    """Duration, reset reason, wake alarm, run reason, the sleep memory to its last byte."""
    jitter = scenario.line_jitter()
    pair, (board, reference) = _sleep(scenario, ms)
    _judge(
        scenario, pair, f"woken.{ms}_ms",
        reset_reason="DEEP_SLEEP_ALARM", wake_alarm="TimeAlarm", run_reason="STARTUP",
        sleep_memory=_whole(scenario, pair),
    )  # fmt: skip
    if scenario.lives_in_host_time:
        low, high = ms * (1 - CLOCK_PERCENT / 100) / 1000 - 0.02, ms * (1 + CLOCK_PERCENT / 100) / 1000 + WAKE_SECONDS
        high += USB_SECONDS if scenario.has_own_usb else 0.0
        scenario.take(
            DURATION.of(ms), round(board.silent, 4), round(reference.silent, 4), uncertainty=jitter, uncertain=LINE,
            limit=between(low, high, words=f"{low:.3f} to {high:.3f} s of silence"),
        )  # fmt: skip
    else:
        scenario.skip_figure(DURATION.of(ms), NO_TIME)


def test_a_pin_alarm_ends_a_sleep(scenario: Scenario) -> None:
    """A level on a pin in the middle of a long sleep: the wake alarm is that pin's."""
    if scenario.port.family != "esp32":
        pytest.skip(f"which pins of the {scenario.port.name} wake it is not known here")
    if not scenario.can_intervene or not scenario.lives_in_host_time:
        pytest.skip("nothing here can drive a pin of this board while it sleeps")
    pin = 33  # one of the RTC domain's
    pair, _ = _sleep(scenario, 60_000, intervention=Intervention(0.4, "pin", pin, 1), pin=pin)
    _judge(
        scenario, pair, "pin", reset_reason="DEEP_SLEEP_ALARM", wake_alarm="PinAlarm", run_reason="STARTUP",
        sleep_memory=_whole(scenario, pair),
    )  # fmt: skip


def test_a_reset_pulse_ends_a_circuitpython_sleep(scenario: Scenario) -> None:
    """The reset input in the middle of a long sleep: a start like any other, and no wake alarm."""
    if not scenario.can_reset:
        pytest.skip("the harness cannot reset this board (reset in boards.yaml)")
    if not scenario.can_reset_asleep:
        pytest.skip("its port is the chip's own USB: in deep sleep the reset lines are gone with it")
    if not scenario.lives_in_host_time:
        pytest.skip(NO_TIME)
    pair, _ = _sleep(scenario, 60_000, intervention=Intervention(0.4))
    # On the ESP32 a pulse at EN switches all of the chip off, and no bit tells it from power-on.
    reason = "POWER_ON" if scenario.chip.name == "esp32" else pair.reference.text("reset_reason")
    _judge(scenario, pair, "pulse", reset_reason=reason, wake_alarm="NoneType", run_reason="STARTUP")


@pytest.mark.holds("events.deep-sleep")
def test_microcontroller_reset_is_told_from_a_wake(scenario: Scenario) -> None:
    """microcontroller.reset(): its own reason, no wake alarm; the sleep memory is whole or cleared, nothing else."""
    pair, _ = _sleep(scenario, None)
    _judge(scenario, pair, "reset", reset_reason="SOFTWARE", wake_alarm="NoneType", run_reason="STARTUP")
    mine, kept = pair.text("sleep_memory")
    # Espressif port: kept since CircuitPython 10.3, cleared before.
    state = "whole or cleared" if mine in (kept, "cleared") else mine
    scenario.take(RESET_MEMORY, state, kept)


@pytest.mark.holds("kept.sleep-memory")
def test_sleep_memory_has_an_end_and_keeps_what_it_refuses(scenario: Scenario) -> None:
    """Subscripts, slices, the last byte; an index beyond it and a slice of another length leave what was there."""
    pair = scenario.run(Program.load("cp_sleep_memory"))
    asked: dict[str, Value] = {
        "slice": "abcd", "last": "200", "beyond": "IndexError", "other_length": "TypeError", "kept": "abcd"
    }  # fmt: skip
    size = SLEEP_MEMORY.get(scenario.chip.name)
    if size is not None:
        asked["size"] = size
    scenario.compare(pair, prefix="memory.", asked=asked, source=ALARM)


def test_nvm_survives_reload_and_reset(scenario: Scenario) -> None:
    """microcontroller.nvm over a restart of the VM and a reset of the chip."""
    size = 16
    first = "import microcontroller as m"
    if int(ask(scenario.board, "len(m.nvm or b'')", first=first)) < size:
        pytest.skip("this board has no microcontroller.nvm")
    old = [ask(runtime, f"list(m.nvm[0:{size}])", first=first) for runtime in scenario.both]
    data = [(7 * index + 3) & 255 for index in range(size)]
    asked = {"nvm": f"{binascii.crc32(bytes(data)):08x}", "last": str(data[-1])}
    try:
        for name, values in (("set", data), ("reload", [])):
            pair = scenario.run(Program.load("cp_nvm", set=values, size=size))
            scenario.compare(pair, prefix=f"nvm.{name}.", asked=asked, source="what the program has written")
        scenario.run_to_reset(Program("cp_reset", "import microcontroller\nagent.done()\nmicrocontroller.reset()\n"))
        pair = scenario.run(Program.load("cp_nvm", set=[], size=size))
        scenario.compare(pair, prefix="nvm.reset.", asked=asked, source="what the program has written")
    finally:
        for runtime, before in zip(scenario.both, old, strict=True):
            bytes_before = [int(word) for word in before.strip("[]").split(",")]
            runtime.run(f"import microcontroller as m\nm.nvm[0:{size}] = bytes({bytes_before})")


@pytest.mark.needs("light_sleep")
def test_circuitpython_light_sleep_keeps_ram_and_wakes_on_time(scenario: Scenario) -> None:
    """alarm.light_sleep_until_alarms of 50 and 200 ms: returns its alarm, on time."""
    pair = scenario.run(Program.load("cp_light_sleep", ms=[50, 200], settle_ms=SETTLE_MS))
    scenario.take(LIGHT_RAM, *pair.text("ram"))
    for ms in (50, 200):
        figure = LIGHT.of(ms)
        low, high = ms * 1000 * (1 - CLOCK_PERCENT / 100) - 2000, ms * 1000 * (1 + CLOCK_PERCENT / 100) + 15_000
        limit = between(low, high, words=f"{low / 1000:g} to {high / 1000:g} ms")
        scenario.take(figure, *pair.value(figure.name), limit=limit)
        by = LIGHT_BY.of(ms)
        scenario.take(by, *pair.text(by.name))
