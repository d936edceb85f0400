"""Restarts of NodeMCU: the chip goes along, so only RTC memory and files stay, and the boot reason tells why."""

from __future__ import annotations

import itertools
import statistics

import pytest

from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly, within_percent
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, HEAP, STATE, TIME, Value
from harness.runtimes.program import Program

pytestmark = pytest.mark.runtime("nodemcu")

RESTARTS = 6
#: ``node.bootreason()``, its second value.
HARDWARE_WATCHDOG, SOFTWARE_WATCHDOG, RESTARTED, RESET_INPUT = 1, 3, 4, 6
#: What the SDK may take at one start and not at another, in bytes.
SDK_NOISE = 400

LEAK = Figure("restart.leak", HEAP, limit=at_most(15, "B", words="less than 16 bytes per restart"))
SPREAD = Figure("restart.spread", HEAP, limit=at_most(SDK_NOISE, "B"))
USED = Figure("lua.used", HEAP)
WRONG_WORDS = Figure("rtc.wrong_words", COUNT, limit=exactly(0))
RESTART_REASON = Figure("restart.reason", COUNT, limit=exactly(RESTARTED))
HANG_REASON = Figure("hang.reason", STATE, limit=exactly("watchdog"))
HANG_SECONDS = Figure("hang.seconds", TIME, "s", at_most(10.0, "s"))
HANG_RTC = Figure("hang.rtc", COUNT, limit=exactly(4711))
PULSE_REASON = Figure("pulse.reason", COUNT, limit=exactly(RESET_INPUT))


def _slope(values: list[float]) -> float:
    pairs = itertools.combinations(enumerate(values), 2)
    return statistics.median((late - early) / (j - i) for (i, early), (j, late) in pairs)


def test_restarts_leave_the_heap_as_it_was(scenario: Scenario) -> None:
    """Six restarts in a row: the free heap of a fresh VM stays the same."""
    program = Program.load_lua("heap_after_start")
    free, reference_free, used = [], [], []
    for index in range(RESTARTS):
        scenario.step(f"restart {index + 1} of {RESTARTS}")
        pair = scenario.run(program)
        free.append(pair.board.value("free"))
        reference_free.append(pair.reference.value("free"))
        used.append(pair.value("count"))
    scenario.take(LEAK, -_slope(free), -_slope(reference_free), samples=free)
    spread, expected = max(free) - min(free), max(reference_free) - min(reference_free)
    scenario.take(SPREAD, spread, expected, samples=free)
    board, reference = used[-1]
    scenario.take(USED, board, reference, limit=within_percent(reference, 40, "B"))


@pytest.mark.needs("rtc_memory")
def test_rtc_memory_and_files_outlive_a_restart(scenario: Scenario) -> None:
    """96 words of RTC memory and a file are there after node.restart(), a global is not, and the reason says so."""
    scenario.run(Program.load_lua("reload_keep", set=True))
    pair = scenario.run(Program.load_lua("reload_keep", set=False))
    asked: dict[str, Value] = {
        "file": "kept over a restart",
        "global": "nil",
        "reason": RESTARTED,
        "rtc.wrong_words": 0,
    }
    scenario.compare(pair, prefix="after.", asked=asked, source="docs/modules/node.md and rtcmem.md of NodeMCU")
    scenario.take(WRONG_WORDS, pair.board.value("rtc.wrong_words"), 0)
    scenario.take(RESTART_REASON, pair.board.value("reason"), RESTARTED)
    for runtime in scenario.both:
        runtime.remove("hx_kept.txt")


@pytest.mark.needs("rtc_memory")
def test_timers_end_with_a_restart(scenario: Scenario) -> None:
    """A timer that counts in RTC memory counts before node.restart() and not after it."""
    before = scenario.run(Program.load_lua("reload_leave"))
    scenario.compare(before, prefix="before.", asked={"counts": "true"}, source="the program")
    after: dict[str, Value] = {"counted_on": 0, "timer": "nil"}
    source = "nothing of a run outlives a restart of the chip"
    scenario.compare(scenario.run(Program.load_lua("reload_look")), prefix="after.", asked=after, source=source)


def test_a_full_heap_is_an_error_that_can_be_caught(scenario: Scenario) -> None:
    """Tables until there is no memory: the error has the VM's words, and what was taken comes back."""
    asked = {"ended": "false", "error": "not enough memory"}
    scenario.compare(scenario.run(Program.load_lua("reload_full")), asked=asked, source="Lua 5.1, lmem.h MEMERRMSG")


@pytest.mark.needs("watchdog")
def test_a_hang_ends_by_the_watchdog(scenario: Scenario) -> None:
    """A loop that never returns: the chip is reset within ten seconds, and the reason is a watchdog's."""
    scenario.soft_reset()
    board, _ = scenario.run_to_reset(Program.load_lua("hang"), within=15.0)
    look = Program.load_lua("why_started")
    seen = look.run(scenario.board), look.run(scenario.reference)
    reason = "watchdog" if seen[0].value("reason") in (HARDWARE_WATCHDOG, SOFTWARE_WATCHDOG) else "other"
    scenario.take(HANG_REASON, reason, "watchdog")
    scenario.take(HANG_SECONDS, round(board.silent, 3))
    scenario.take(HANG_RTC, seen[0].value("slot"), seen[1].value("slot"))


def test_a_reset_pulse_is_told_from_a_restart(scenario: Scenario) -> None:
    """The reset input: the boot reason is another one than after node.restart()."""
    if not scenario.can_reset:
        pytest.skip("the harness cannot reset this board (reset in boards.yaml)")
    look = Program.load_lua("why_started")
    for runtime in scenario.both:
        runtime.hard_reset()
    reasons = [look.run(runtime).value("reason") for runtime in scenario.both]
    scenario.take(PULSE_REASON, reasons[0], reasons[1])
