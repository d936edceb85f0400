"""``node.dsleep``: the chip sleeps and starts again, and of all memory only RTC memory and flash are left."""

from __future__ import annotations

import pytest

from harness.judging.board_bench import Pair
from harness.judging.figures import Figure
from harness.judging.limits import at_least, between, exactly, within_percent
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, STATE, TIME
from harness.runtimes.interface import Intervention
from harness.runtimes.program import Program

pytestmark = [pytest.mark.runtime("nodemcu"), pytest.mark.needs("deep_sleep", "rtc_memory")]

WOKE, RESET_INPUT = 5, 6
CYCLES = 5
#: Multiplied with each slot's number: what RTC memory holds.
SEED = 7654321
#: The sleep clock is an RC oscillator, which the SDK calibrates; what it may be off, in percent.
OSCILLATOR = 10
NO_TIME = "a sleep takes no time of the host on this board (virtual.pace)"

LINE = "s by which this line's own round trips differed"

REASON = Figure("{after}.reason", COUNT)
WRONG_WORDS = Figure("{after}.rtc.wrong_words", COUNT, limit=exactly(0))
GLOBAL = Figure("{after}.global", STATE, limit=exactly("nil"))
SILENT = Figure("dsleep.{ms}.silent", TIME, "s")
SECOND = Figure("dsleep.second", TIME, "s", within_percent(1.0, OSCILLATOR, "s"))
COUNTED = Figure("cycles", COUNT, limit=exactly(CYCLES))
#: ``node.dsleepMax()``: 2^31 - 1 ticks of a clock of 5 to 8 µs, as it is calibrated (``app/modules/node.c``).
LONGEST = Figure(
    "dsleep.longest", COUNT, "us", between(5 * 2**31, 8 * 2**31, "us", words="2^31 ticks of 5 to 8 µs: 3 to 4.8 hours")
)  # fmt: skip
WRONG_REASONS = Figure("wrong_reasons", COUNT, limit=exactly(0))


def _sleep(scenario: Scenario, ms: int, seed: int, intervention: Intervention | None = None) -> tuple[float, float]:
    """Sleep on both sides; seconds of silence."""
    scenario.soft_reset()
    for runtime in scenario.both:
        runtime.run("hx_before = true")
    program = Program.load_lua("sleep_deep", ms=ms, seed=seed)
    board, reference = scenario.run_to_reset(program, within=60.0, intervention=intervention)
    return board.silent, reference.silent


def _woke(scenario: Scenario, name: str, seed: int, reason: int) -> None:
    program = Program.load_lua("sleep_woke", seed=seed)
    pair = Pair(program.run(scenario.board), program.run(scenario.reference))
    scenario.take(REASON.of(name), *pair.value("reason"), limit=exactly(reason))
    scenario.take(WRONG_WORDS.of(name), *pair.value("rtc.wrong_words"))
    scenario.take(GLOBAL.of(name), *pair.text("global"))


@pytest.mark.figures(SILENT, REASON)
@pytest.mark.parametrize("ms", [200, 1500])
def test_dsleep_lasts_as_long_as_it_says(scenario: Scenario, ms: int) -> None:
    """The silence on the line, the boot reason of a wake, RAM gone and RTC memory whole."""
    jitter = scenario.line_jitter()
    board, reference = _sleep(scenario, ms, SEED)
    if scenario.lives_in_host_time:
        least = ms / 1000 * (1 - OSCILLATOR / 100)
        scenario.take(
            SILENT.of(ms), round(board, 3), round(reference, 3), limit=at_least(least, "s"), uncertainty=jitter,
            uncertain=LINE,
        )  # fmt: skip
    else:
        scenario.skip_figure(SILENT.of(ms), NO_TIME)
    _woke(scenario, f"dsleep.{ms}", SEED, WOKE)


def test_the_dsleep_clock_runs_at_its_speed(scenario: Scenario) -> None:
    """300 and 1300 ms: the difference, in which the start's own time cancels out."""
    if not scenario.lives_in_host_time:
        pytest.skip(NO_TIME)
    short, long = _sleep(scenario, 300, SEED), _sleep(scenario, 1300, SEED)
    board, reference = long[0] - short[0], long[1] - short[1]
    scenario.take(SECOND, round(board, 4), round(reference, 4))


def test_dsleep_cycles_lose_nothing(scenario: Scenario) -> None:
    """Five short sleeps: a counter in RTC memory, how often the boot reason was no wake's, and the longest sleep."""
    scenario.soft_reset()
    for index in range(CYCLES - 1):
        scenario.step(f"sleep {index + 1} of {CYCLES - 1}")
        scenario.run_to_reset(Program.load_lua("sleep_count", first=index == 0, last=False))
    last = Program.load_lua("sleep_count", first=False, last=True)
    pair = Pair(last.run(scenario.board), last.run(scenario.reference))
    for figure in (COUNTED, WRONG_REASONS):
        scenario.take(figure, *pair.value(figure.name))
    if scenario.board.facts.extra.get("numbers") == "integer":
        scenario.skip_figure(LONGEST, "it is more than an integer firmware's numbers hold")
    else:
        scenario.take(LONGEST, *pair.value("longest"))


def test_a_reset_pulse_ends_a_dsleep(scenario: Scenario) -> None:
    """The reset input in the middle of a long sleep: the chip starts, says why, and keeps RTC memory."""
    if not scenario.can_reset:
        pytest.skip("the harness cannot reset this board (reset in boards.yaml)")
    if not scenario.can_reset_asleep:
        pytest.skip("its port is the chip's own USB: in deep sleep the reset lines are gone with it")
    if not scenario.lives_in_host_time:
        pytest.skip(NO_TIME)
    _sleep(scenario, 30_000, SEED + 2, Intervention(after=0.3, what="reset"))
    _woke(scenario, "pulse", SEED + 2, RESET_INPUT)
