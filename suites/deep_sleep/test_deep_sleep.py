"""Deep sleep: the VM ends, the chip sleeps and starts again. What outlives it must be there, and nothing else."""

from __future__ import annotations

import pytest

from harness.chips import Reset
from harness.errors import Unsuitable
from harness.judging.limits import Limit, at_least, exactly
from harness.judging.scenario import Pair, Scenario
from harness.runtimes.base import Intervention, Restart
from harness.runtimes.program import Program

#: Given to the board to empty its line before it sleeps, in milliseconds.
SETTLE_MS = 30
#: How far the sleep clock of a chip may be off, in percent: RC oscillators on ESP chips, a crystal on STM32.
CLOCK_PERCENT = {"esp32": 5.0, "esp8266": 7.0, "stm32": 1.0}
#: From the wake to the first byte on the line, at most, in seconds.
WAKE_SECONDS = 0.5

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


def _clock(scenario: Scenario, pair: Pair, name: str, seconds: float) -> None:
    """The real-time clock, set to 5 o'clock before the sleep, has gone on."""
    percent = CLOCK_PERCENT[scenario.port.family]
    low, high = int(seconds * (1 - percent / 100)), int(seconds * (1 + percent / 100)) + 3
    limit = Limit(f"{low} to {high} s after it was set", low=low, high=high, good_low=low, good_high=high)
    since = [side.value("clock") - 5 * 3600 for side in (pair.board, pair.reference)]
    scenario.check(f"{name}.clock", "time", "s", since[0], since[1], limit)


@pytest.mark.parametrize("ms", [50, 500, 2000])
def test_sleeps_as_long_as_it_says_and_wakes_by_its_timer(scenario: Scenario, ms: int) -> None:
    """Duration by the host's clock, causes, RTC memory whole, RAM gone, the real-time clock goes on."""
    board, reference = _sleep(scenario, ms)
    if scenario.lives_in_host_time:
        _judge_duration(scenario, ms, board.silent, reference.silent)
    pair = _woke(scenario, "DEEPSLEEP_RESET", "TIMER_WAKE")
    _judge_state(scenario, pair, f"woken.{ms}_ms", Reset.DEEP_SLEEP)
    _clock(scenario, pair, f"woken.{ms}_ms", ms / 1000)


def _judge_duration(scenario: Scenario, ms: int, board: float, reference: float) -> None:
    """Seconds of silence on the line, against the duration that was asked for."""
    least = (SETTLE_MS + ms * (1 - CLOCK_PERCENT[scenario.port.family] / 100)) / 1000
    scenario.check(
        f"sleep.{ms}_ms.least", "time", "s", round(board, 4), round(reference, 4),
        at_least(round(least, 4), "s", words=f"at least {least:.3f} s of silence"),
    )  # fmt: skip
    most = (SETTLE_MS + ms * (1 + CLOCK_PERCENT[scenario.port.family] / 100)) / 1000 + WAKE_SECONDS
    scenario.check(
        f"sleep.{ms}_ms.most", "time", "s", round(board, 4), round(reference, 4),
        Limit(f"at most {most:.3f} s of silence", high=most, good_high=most),
    )  # fmt: skip


def _judge_state(scenario: Scenario, pair: Pair, prefix: str, after: Reset) -> None:
    for name in ("cause", "wake", "ram", "rtc_memory"):
        if unknown := _unknown(scenario, name, after):
            scenario.left_out(f"{prefix}.{name}", unknown)
        elif any(o.name == name for o in pair.reference.observations):
            mine = pair.board.text(name) if any(o.name == name for o in pair.board.observations) else "not told"
            expected = pair.reference.text(name)
            scenario.check(f"{prefix}.{name}", "state", "-", mine, expected, exactly(expected))


def test_the_sleep_clock_runs_at_its_speed(scenario: Scenario) -> None:
    """Two durations: what the start costs cancels out, and the scale of the sleep clock is left."""
    if not scenario.lives_in_host_time:
        pytest.skip("this virtual board's sleeps take no time (pace: fast)")
    short, long = 300, 2300
    silent = [[side.silent for side in _sleep(scenario, ms)] for ms in (short, long)]
    scale = [(silent[1][side] - silent[0][side]) * 1000 / (long - short) for side in (0, 1)]
    percent = CLOCK_PERCENT[scenario.port.family]
    limit = Limit(
        f"within {percent:g} % of 1", low=1 - percent / 100, high=1 + percent / 100,
        good_low=1 - percent / 100, good_high=1 + percent / 100,
    )  # fmt: skip
    scenario.check("sleep.clock_scale", "time", "1", round(scale[0], 4), round(scale[1], 4), limit)


@pytest.mark.needs("rtc_memory")
def test_cycles_lose_nothing(scenario: Scenario) -> None:
    """Ten short sleeps in a row: a counter in what is kept counts each, and every wake has the right cause."""
    cycles = 10
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
        for index in range(cycles):
            scenario.step(f"sleep {index + 1} of {cycles}")
            program = Program("sleep_again", f"{step}agent.done()\ntime.sleep_ms({SETTLE_MS})\nmachine.deepsleep(60)\n")
            program.run_to_reset(runtime)
            out = runtime.run("import machine\nprint(machine.reset_cause() == machine.DEEPSLEEP_RESET)")
            good += out.stdout.strip() == b"True"
        causes.append(good)
        counts.append(int(runtime.run(piece + "print(kept()[0])").stdout))
    scenario.check("cycles.counted", "count", "1", counts[0], counts[1], exactly(cycles))
    scenario.check("cycles.right_cause", "count", "1", causes[0], causes[1], exactly(cycles))


def test_machine_reset_is_told_from_a_wake(scenario: Scenario) -> None:
    """machine.reset(): its own cause, no wake reason, RTC memory as the chip keeps it over that."""
    _sleep(scenario, None)
    pair = _woke(scenario, scenario.port.cause(Reset.MACHINE))
    _judge_state(scenario, pair, "reset", Reset.MACHINE)
    _clock(scenario, pair, "reset", 0)


def test_a_reset_pulse_ends_a_sleep(scenario: Scenario) -> None:
    """The reset input in the middle of a long sleep: cause, RTC memory and clock as the chip has them after it."""
    if not scenario.can_reset:
        pytest.skip("the harness cannot reset this board (reset in boards.yaml)")
    if not scenario.lives_in_host_time:
        pytest.skip("this virtual board's sleeps take no time (pace: fast)")
    board, reference = _sleep(scenario, 60_000, intervention=Intervention(0.4))
    scenario.check(
        "pulse.silent", "time", "s", round(board.silent, 3), round(reference.silent, 3),
        Limit("0.4 to 5 s of silence", low=0.4, high=5.0, good_low=0.4, good_high=5.0),
    )  # fmt: skip
    pair = _woke(scenario, scenario.port.cause(Reset.PIN))
    _judge_state(scenario, pair, "pulse", Reset.PIN)


def test_a_power_cut_ends_a_sleep_and_loses_what_it_should(scenario: Scenario) -> None:
    """Power off and on in the middle of a long sleep: a power-on's cause, RTC memory and clock gone."""
    if not scenario.can_intervene or not scenario.lives_in_host_time:
        pytest.skip("nothing here can cut this board's power while it sleeps")
    _sleep(scenario, 60_000, intervention=Intervention(0.4, "power"))
    pair = _woke(scenario, scenario.port.cause(Reset.POWER_ON))
    _judge_state(scenario, pair, "power_cut", Reset.POWER_ON)
    scenario.check(
        "power_cut.clock", "time", "s", pair.board.value("clock"), pair.reference.value("clock"),
        exactly(-1, words="exactly -1: it is not in the year that was set"),
    )  # fmt: skip


def test_a_pin_ends_a_sleep(scenario: Scenario) -> None:
    """EXT0 (ESP32, S2, S3): a level on a pin in the middle of a long sleep; wake reason, RTC memory and clock."""
    pin = scenario.port.wake_pin
    if pin is None:
        ways = ", ".join(scenario.port.wakes_by) or "nothing"
        pytest.skip(f"{scenario.port.name} has no wake by a pin's level on EXT0 (what ends its sleep: {ways})")
    if not scenario.can_intervene or not scenario.lives_in_host_time:
        pytest.skip("nothing here can drive a pin of this board while it sleeps")
    _sleep(scenario, 60_000, intervention=Intervention(0.4, "pin", pin, 1), wake_pin=pin)
    pair = _woke(scenario, "DEEPSLEEP_RESET", "PIN_WAKE")
    _judge_state(scenario, pair, "pin", Reset.DEEP_SLEEP)
    _clock(scenario, pair, "pin", 0.4)


@pytest.mark.needs("rtc_memory")
def test_rtc_memory_takes_every_size_and_refuses_what_does_not_fit(scenario: Scenario) -> None:
    """Sizes 0, 1, a block, a block plus one, the maximum; too large and wrong type leave what was there."""
    if not scenario.port.rtc_memory:
        pytest.skip(f"{scenario.port.name} keeps words in backup registers, not bytes of any number")
    pair = scenario.run(Program.load("rtc_memory", size=scenario.port.rtc_memory))
    scenario.compare(pair, prefix="rtc.")


def test_light_sleep_keeps_ram_and_wakes_on_time(scenario: Scenario) -> None:
    """machine.lightsleep of 20 and 200 ms."""
    percent = CLOCK_PERCENT[scenario.port.family]
    pair = scenario.run(Program.load("sleep_light", ms=[20, 200], settle_ms=SETTLE_MS))
    scenario.check("light.ram", "state", "-", pair.board.text("ram"), pair.reference.text("ram"), exactly("kept"))
    for ms in (20, 200):
        name = f"light.{ms}_ms"
        low, high = ms * 1000 * (1 - percent / 100), ms * 1000 * (1 + percent / 100) + 15_000
        scenario.check(
            name, "time", "us", pair.board.value(name), pair.reference.value(name),
            Limit(f"{low / 1000:g} to {high / 1000:g} ms", low=low, high=high, good_low=low, good_high=high),
        )  # fmt: skip
