"""Deep sleep: the VM ends, the chip sleeps and starts again. What outlives it must be there, and nothing else."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from harness.chips import Reset
from harness.errors import Unsuitable
from harness.judging.board_bench import Pair
from harness.judging.board_data import filling, told
from harness.judging.figures import Figure
from harness.judging.limits import Limit, at_least, at_most, between, by_source, exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, RATIO, STATE, TIME
from harness.runtimes.interface import Intervention, Restart
from harness.runtimes.program import Program, ask

#: Given to the board to empty its line before it sleeps, in milliseconds.
SETTLE_MS = 30
#: How far the sleep clock of a chip may be off, in percent: RC oscillators on ESP chips, a crystal on STM32.
CLOCK_PERCENT = {"esp32": 5.0, "esp8266": 7.0, "stm32": 1.0}
#: From the wake to the first byte on the line, at most, in seconds.
WAKE_SECONDS = 0.5
#: More of them where the port is the chip's own USB: a host takes its time to find the device.
USB_SECONDS = 2.0
CYCLES = 10
#: How often the clock's scale is measured again when it is not good: a host that is busy makes it so as well.
AGAIN = 3
LINE = "s by which this line's own round trips differed"
NO_TIME = "this virtual board's sleeps take no time (pace: fast)"

FOUND = Figure("{after}.{what}", STATE)
CLOCK = Figure("{after}.clock", TIME, "s")
LEAST = Figure("sleep.{ms}_ms.least", TIME, "s")
MOST = Figure("sleep.{ms}_ms.most", TIME, "s")
CLOCK_SCALE = Figure("sleep.clock_scale", RATIO)
COUNTED = Figure("cycles.counted", COUNT, limit=exactly(CYCLES))
RIGHT_CAUSE = Figure("cycles.right_cause", COUNT, limit=exactly(CYCLES))
PULSE_SILENT = Figure("pulse.silent", TIME, "s", between(0.4, 5.0, words="0.4 to 5 s of silence"))
CLOCK_LOST = Figure("power_cut.clock", TIME, "s", exactly(-1, words="exactly -1: it is not in the year that was set"))
LIGHT_RAM = Figure("light.ram", STATE, limit=exactly("kept"))
LIGHT = Figure("light.{ms}_ms", TIME, "us")

pytestmark = pytest.mark.needs("deep_sleep")


def _sleep(
    scenario: Scenario, ms: int | None, *, intervention: Intervention | None = None, wake_pin: int | str | None = None
) -> tuple[Restart, Restart]:
    """Let both sides sleep ``ms`` milliseconds (None: ``machine.reset()`` instead)."""
    scenario.soft_reset()
    chip = scenario.port
    program = Program.load(
        "sleep_deep", using=chip.kept_in, ms=ms, kept=chip.kept_bytes, set_clock=True, settle_ms=SETTLE_MS,
        wake_pin=wake_pin,
    )  # fmt: skip
    scenario.step("asleep" if ms is not None else "resetting")
    return scenario.run_to_reset(program, within=(ms or 0) / 1000 + 15.0, intervention=intervention)


def _woke(scenario: Scenario, cause: str, wake: str = "") -> Pair:
    chip = scenario.port
    program = Program.load("sleep_woke", using=chip.kept_in, cause=cause, wake=wake, kept=chip.kept_bytes)
    return scenario.run(program, fresh=False)


def _memory(scenario: Scenario, after: Reset) -> str:
    """What sleep_woke.py says of the memory that sleep_deep.py has filled: whole, or lost."""
    port = scenario.port
    if after in port.lost_at | port.memory_lost_at:
        return told(bytes(0 if port.rtc_memory else port.kept_bytes))
    return told(filling(port.kept_bytes))


def _unknown(scenario: Scenario, name: str, after: Reset) -> str:
    """Why nobody can say what ``name`` of a state should be; empty where the port promises it."""
    try:
        if name == "cause":
            scenario.port.cause(after)
        elif name == "rtc_memory":
            scenario.port.known("kept_bytes")
    except Unsuitable as reason:
        return reason.message
    return ""


def _clock(scenario: Scenario, pair: Pair, name: str, seconds: float, began: float) -> None:
    """The real-time clock, set to 5 o'clock after ``began`` of this host's clock and before the sleep, has gone on.

    No further than the host's own: one that was busy meanwhile is no fault of the board's.
    """
    percent = CLOCK_PERCENT[scenario.port.family]
    low, high = int(seconds * (1 - percent / 100)), int(seconds * (1 + percent / 100)) + 3
    high = max(high, math.ceil((time.monotonic() - began) * (1 + percent / 100)))
    limit = between(low, high, words=f"{low} to {high} s after it was set")
    since = [clock - 5 * 3600 for clock in pair.value("clock")]
    scenario.take(CLOCK.of(name), since[0], since[1], limit=limit)


@pytest.mark.holds("events.deep-sleep")
@pytest.mark.figures(LEAST, MOST, FOUND, CLOCK)
@pytest.mark.parametrize("ms", [50, 500, 2000])
def test_sleeps_as_long_as_it_says_and_wakes_by_its_timer(scenario: Scenario, ms: int) -> None:
    """Duration by the host's clock, causes, RTC memory whole, RAM gone, the real-time clock goes on."""
    jitter = scenario.line_jitter()
    began = time.monotonic()
    board, reference = _sleep(scenario, ms)
    if scenario.lives_in_host_time:
        _judge_duration(scenario, ms, board.silent, reference.silent, jitter)
    else:
        for figure in (LEAST, MOST):
            scenario.skip_figure(figure.of(ms), NO_TIME)
    pair = _woke(scenario, "DEEPSLEEP_RESET", "TIMER_WAKE")
    _judge_state(scenario, pair, f"woken.{ms}_ms", Reset.DEEP_SLEEP, "TIMER_WAKE")
    _clock(scenario, pair, f"woken.{ms}_ms", ms / 1000, began)


def _judge_duration(scenario: Scenario, ms: int, board: float, reference: float, jitter: float) -> None:
    """Seconds of silence on the line, which comes and goes by ``jitter``, against the duration that was asked for."""
    least = (SETTLE_MS + ms * (1 - CLOCK_PERCENT[scenario.port.family] / 100)) / 1000
    limit = at_least(round(least, 4), "s", words=f"at least {least:.3f} s of silence")
    scenario.take(LEAST.of(ms), round(board, 4), round(reference, 4), limit=limit, uncertainty=jitter, uncertain=LINE)
    most = (SETTLE_MS + ms * (1 + CLOCK_PERCENT[scenario.port.family] / 100)) / 1000 + WAKE_SECONDS
    if scenario.has_own_usb:
        most += USB_SECONDS
    limit = at_most(most, "s", words=f"at most {most:.3f} s of silence")
    scenario.take(MOST.of(ms), round(board, 4), round(reference, 4), limit=limit, uncertainty=jitter, uncertain=LINE)


def _judge_state(scenario: Scenario, pair: Pair, prefix: str, after: Reset, wake: str = "") -> None:
    """Each state by what the port promises of that reset; the reference is only shown."""
    for name in ("cause", "wake", "ram", "rtc_memory"):
        if unknown := _unknown(scenario, name, after):
            scenario.skip_figure(FOUND.of(prefix, name), unknown)
        elif any(o.name == name for o in pair.reference.observations):
            mine = pair.board.text(name) if any(o.name == name for o in pair.board.observations) else "not told"
            expected = {"wake": wake, "ram": "gone"}.get(name) or (
                scenario.port.cause(after) if name == "cause" else _memory(scenario, after)
            )
            source = f"the port, after {after.value}"
            scenario.take(
                FOUND.of(prefix, name),
                mine,
                pair.reference.text(name),
                limit=by_source(expected, "-", source),
                rule=source,
            )


def test_the_sleep_clock_runs_at_its_speed(scenario: Scenario) -> None:
    """Two durations: what the start costs cancels out, and the scale of the sleep clock is left."""
    if not scenario.lives_in_host_time:
        pytest.skip(NO_TIME)
    percent = CLOCK_PERCENT[scenario.port.family]
    limit = between(1 - percent / 100, 1 + percent / 100, words=f"within {percent:g} % of 1")
    scale, reference, spread = two_durations(scenario, lambda ms: _silent(scenario, ms), 300, 2300, limit)
    scenario.take(
        CLOCK_SCALE, round(scale, 4), round(reference, 4), limit=limit, uncertainty=spread,
        uncertain="by which the same sleeps differed on this host",
    )  # fmt: skip


def _silent(scenario: Scenario, ms: int) -> tuple[float, float]:
    board, reference = _sleep(scenario, ms)
    return board.silent, reference.silent


def two_durations(
    scenario: Scenario, silent: Callable[[int], tuple[float, float]], short: int, long: int, limit: Limit
) -> tuple[float, float, float]:
    """The clock's scale on the board and on the reference, and how far the board's may be off.

    A host that is busy is late with either end of a silence. So a scale that is not good is measured again: the
    shortest of the same silences are the least late, and what they differ by is how well the host knows. On one that
    is idle that is next to nothing, and a wrong clock is as wrong each time.
    """
    shorts, longs = [silent(short)], [silent(long)]
    span = (long - short) / 1000

    def scale(side: int) -> float:
        return (min(one[side] for one in longs) - min(one[side] for one in shorts)) / span

    if scenario.would_pass(CLOCK_SCALE, round(scale(0), 4), limit):
        return scale(0), scale(1), 0.0
    for _ in range(AGAIN):
        shorts.append(silent(short))
        longs.append(silent(long))
    spread = sum(max(one[0] for one in sort) - min(one[0] for one in sort) for sort in (shorts, longs)) / span
    return scale(0), scale(1), round(spread, 4)


@pytest.mark.needs("rtc_memory")
def test_cycles_lose_nothing(scenario: Scenario) -> None:
    """Ten short sleeps in a row: a counter in what is kept counts each, and every wake has the right cause."""
    scenario.port.known("kept_bytes")
    scenario.port.cause(Reset.DEEP_SLEEP)
    piece = Program.piece(scenario.port.kept_in)
    start = piece + "kept(bytes(4))\n"
    step = piece + "import machine, time\nfrom binascii import crc32\nkept(bytes([kept()[0] + 1, 0, 0, 0]))\n"
    for runtime in scenario.both:
        runtime.soft_reset()
        assert not runtime.run(start).stderr
    counts, causes = [], []
    for runtime in scenario.both:
        good = 0
        for index in range(CYCLES):
            scenario.step(f"sleep {index + 1} of {CYCLES}")
            program = Program("sleep_again", f"{step}agent.done()\ntime.sleep_ms({SETTLE_MS})\nmachine.deepsleep(60)\n")
            program.run_to_reset(runtime)
            woke = ask(runtime, "machine.reset_cause() == machine.DEEPSLEEP_RESET", first="import machine")
            good += woke == "True"
        causes.append(good)
        counts.append(int(ask(runtime, "kept()[0]", first=piece)))
    scenario.take(COUNTED, counts[0], counts[1])
    scenario.take(RIGHT_CAUSE, causes[0], causes[1])


def test_machine_reset_is_told_from_a_wake(scenario: Scenario) -> None:
    """machine.reset(): its own cause, no wake reason, RTC memory as the chip keeps it over that."""
    began = time.monotonic()
    _sleep(scenario, None)
    pair = _woke(scenario, scenario.port.cause(Reset.MACHINE))
    _judge_state(scenario, pair, "reset", Reset.MACHINE)
    _clock(scenario, pair, "reset", 0, began)


def test_a_reset_pulse_ends_a_sleep(scenario: Scenario) -> None:
    """The reset input in the middle of a long sleep: cause, RTC memory and clock as the chip has them after it."""
    if not scenario.can_reset:
        pytest.skip("the harness cannot reset this board (reset in boards.yaml)")
    if not scenario.can_reset_asleep:
        pytest.skip("its port is the chip's own USB: in deep sleep the reset lines are gone with it")
    if not scenario.lives_in_host_time:
        pytest.skip(NO_TIME)
    board, reference = _sleep(scenario, 60_000, intervention=Intervention(0.4))
    scenario.take(PULSE_SILENT, round(board.silent, 3), round(reference.silent, 3))
    pair = _woke(scenario, scenario.port.cause(Reset.PIN))
    _judge_state(scenario, pair, "pulse", Reset.PIN)


def test_a_power_cut_ends_a_sleep_and_loses_what_it_should(scenario: Scenario) -> None:
    """Power off and on in the middle of a long sleep: a power-on's cause, RTC memory and clock gone."""
    if not scenario.can_intervene or not scenario.lives_in_host_time:
        pytest.skip("nothing here can cut this board's power while it sleeps")
    _sleep(scenario, 60_000, intervention=Intervention(0.4, "power"))
    pair = _woke(scenario, scenario.port.cause(Reset.POWER_ON))
    _judge_state(scenario, pair, "power_cut", Reset.POWER_ON)
    scenario.take(CLOCK_LOST, *pair.value("clock"))


def test_a_pin_ends_a_sleep(scenario: Scenario) -> None:
    """EXT0 (ESP32, S2, S3): a level on a pin in the middle of a long sleep; wake reason, RTC memory and clock."""
    pin = scenario.port.wake_pin
    if pin is None:
        ways = ", ".join(scenario.port.wakes_by) or "nothing"
        pytest.skip(f"{scenario.port.name} has no wake by a pin's level on EXT0 (what ends its sleep: {ways})")
    if not scenario.can_intervene or not scenario.lives_in_host_time:
        pytest.skip("nothing here can drive a pin of this board while it sleeps")
    began = time.monotonic()
    _sleep(scenario, 60_000, intervention=Intervention(0.4, "pin", pin, 1), wake_pin=pin)
    pair = _woke(scenario, "DEEPSLEEP_RESET", "PIN_WAKE")
    _judge_state(scenario, pair, "pin", Reset.DEEP_SLEEP, "PIN_WAKE")
    _clock(scenario, pair, "pin", 0.4, began)


@pytest.mark.needs("rtc_memory")
def test_rtc_memory_takes_every_size_and_refuses_what_does_not_fit(scenario: Scenario) -> None:
    """Sizes 0, 1, a block, a block plus one, the maximum; too large and wrong type leave what was there."""
    if not scenario.port.rtc_memory:
        pytest.skip(f"{scenario.port.name} keeps words in backup registers, not bytes of any number")
    pair = scenario.run(Program.load("rtc_memory", size=scenario.port.rtc_memory))
    size = scenario.port.rtc_memory
    asked = {f"size_{length}": "same" for length in (0, 1, 16, 17, size)}
    asked |= {"too_large": "ValueError", "wrong_type": "TypeError", "kept": "True"}
    scenario.compare(pair, prefix="rtc.", asked=asked, source=f"machine.RTC.memory() of the port, {size} B")


@pytest.mark.holds("events.light-sleep")
def test_light_sleep_keeps_ram_and_wakes_on_time(scenario: Scenario) -> None:
    """machine.lightsleep of 20 and 200 ms."""
    percent = CLOCK_PERCENT[scenario.port.family]
    pair = scenario.run(Program.load("sleep_light", ms=[20, 200], settle_ms=SETTLE_MS))
    scenario.take(LIGHT_RAM, *pair.text("ram"))
    for ms in (20, 200):
        figure = LIGHT.of(ms)
        low, high = ms * 1000 * (1 - percent / 100), ms * 1000 * (1 + percent / 100) + 15_000
        limit = between(low, high, words=f"{low / 1000:g} to {high / 1000:g} ms")
        scenario.take(figure, *pair.value(figure.name), limit=limit)
