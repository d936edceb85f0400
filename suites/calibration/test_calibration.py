"""Calibration: how long the work that the reference meters takes on this board, and what objects cost it."""

from __future__ import annotations

import pytest

from harness.judging.earlier import ASK_CLOCK, EDITION, UNSAID, since
from harness.judging.figures import Figure
from harness.judging.limits import Limit, exactly
from harness.judging.rules import other_words
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, RATIO, STATE, TIME
from harness.runtimes.program import Program

BENCHMARK = Figure("bench.{name}", TIME, "us")
#: A time by what it was with the last good firmware.
SINCE = Figure("since.{name}", RATIO)
CLOCK = Figure("clock", STATE)
EDITION_OF_TIMES = Figure("edition", COUNT, limit=exactly(EDITION, words="that of the programs that take the times"))

pytestmark = pytest.mark.runtime("micropython", "circuitpython")


def test_micro_benchmarks(scenario: Scenario) -> None:
    """Each micro-benchmark is held against what the others and the reference's work by kind predict."""
    calibration = scenario.calibration
    board, reference = scenario.board.facts, scenario.reference.facts
    for point in calibration.points:
        told_only = other_words(board, reference)
        if point.name == "floats" and board.object_repr != reference.object_repr:
            told_only = f"object representation {board.object_repr} against {reference.object_repr}: told only"
        rest = calibration.without(point.name)
        measured = round(point.measured_us)
        limit = Limit(told_only) if told_only else rest.limit(point.cost)
        rule = f"predicted by the other benchmarks, profile {calibration.profile}"
        figure = BENCHMARK.of(point.name)
        scenario.take(figure, measured, round(rest.predict(point.cost), 1), limit=limit, rule=rule, samples=[measured])
    clock = scenario.board.run(ASK_CLOCK).stdout.strip().decode("ascii", "replace")
    clock = clock if clock.isdigit() and len(clock) < 12 else UNSAID
    scenario.take(CLOCK, clock, limit=exactly(clock, words="whatever the board says"))
    scenario.take(EDITION_OF_TIMES, EDITION)
    _held_against_the_last(scenario, clock)


def _held_against_the_last(scenario: Scenario, clock: str) -> None:
    """The same times against those of this board's last good firmware."""
    earlier = scenario.earlier
    times = {point.name: point.measured_us for point in scenario.calibration.points}
    found = since(times, clock, earlier) if earlier else "no good run of this board with these programs is kept"
    if isinstance(found, str):
        scenario.skip_figure(SINCE.of("all"), found)
        return
    for one in found:
        scenario.take(SINCE.of(one.name), one.ratio, limit=one.limit)


def test_allocations(scenario: Scenario) -> None:
    """Bytes that lists, dicts, instances, closures, long integers and generators take, by the heap rule."""
    scenario.compare(scenario.run(Program.load("allocations")), prefix="alloc.")
