"""Interrupts: when callbacks run, and up to which rate none is lost. Moments are compared with the timer's own grid."""

from __future__ import annotations

import math

from harness.judging.figures import Figure
from harness.judging.limits import at_least, at_most, exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, RATE, TIME
from harness.runtimes.program import Program

COUNT_TICKS = 60
PERIOD_MS = 10
#: What p99 may be, in microseconds, and why. A board's own limits go into boards.yaml.
LATE = {
    "idle": (2_000, "nothing else is done"),
    "busy": (2_000, "the interpreter looks at each jump"),
    "collect": (30_000, "a collection is not interrupted"),
    "write": (60_000, "writing a file stops for the flash"),
}

TICKS = Figure("latency.{work}.ticks", COUNT, limit=exactly(COUNT_TICKS))
LATENCY = Figure("latency.{work}.{share}", TIME, "us")
WITHOUT_LOSS = Figure(
    "rate.without_loss", RATE,
    limit=at_least(100, "Hz", words="at least 100 callbacks a second without a loss or a doubled one"),
)  # fmt: skip


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least ``share`` of the values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def test_latency(scenario: Scenario) -> None:
    """A timer's callback while the main program sleeps, computes, collects, and writes a file."""
    path = scenario.folder if scenario.has_files else ""
    timer = scenario.timer
    program = Program.load("interrupt_timer", period_ms=PERIOD_MS, count=COUNT_TICKS, timer=timer, path=path)
    pair = scenario.run(program, timeout=120.0)
    for work, (limit, why) in LATE.items():
        if work == "write" and not path:
            scenario.skip_figure(TICKS.of(work), scenario.no_files)
            continue
        scenario.take(TICKS.of(work), *pair.value(f"{work}.ticks"))
        late, other = ([float(s) for s in side[f"{work}.late"].samples] for side in (pair.board, pair.reference))
        for name, share, most in (("p50", 0.5, limit), ("p99", 0.99, limit), ("max", 1.0, 2 * limit)):
            scenario.take(
                LATENCY.of(work, name), percentile(late, share), percentile(other, share),
                limit=at_most(most, "us", words=f"at most {most} µs: {why}"),
                samples=late if name == "p99" else (),
            )  # fmt: skip


def test_rate(scenario: Scenario) -> None:
    """Rising rates while the main program computes: the fastest one at which no callback is lost."""
    periods = [50, 20, 10, 5, 2, 1]
    program = Program.load("interrupt_rate", periods_ms=periods, window_ms=300, timer=scenario.timer)
    pair = scenario.run(program)
    fastest = [0, 0]
    for index, side in enumerate((pair.board, pair.reference)):
        for period in periods:
            # The window begins and ends anywhere in a period: one either way is none lost.
            if abs(side.value(f"every_{period}_ms.due") - side.value(f"every_{period}_ms")) > 1:
                break
            fastest[index] = 1000 // period
    scenario.take(WITHOUT_LOSS, fastest[0], fastest[1])
