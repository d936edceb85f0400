"""The times of a board of another build: a reference VM whose clock goes by a profile's weights stands for it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.judging.board_bench import BoardBench
from harness.judging.earlier import Earlier
from harness.judging.outcome import Outcome
from harness.judging.profiles import profile_named
from harness.judging.scenario import Scenario
from harness.reference.vm import ReferenceVm
from harness.runtimes.program import Program
from tests.suites.stand_in import StandIn, entry

HEAP = 143360
#: How many times as long as the reference's a plain instruction of the board is.
CLOCK = 3.0
FILE = Path(__file__).parents[2] / "suites" / "calibration" / "test_calibration.py"
#: Work of which a plain instruction says little: one instruction of the reference moves 2 kB.
COPIES = Program(
    "copies",
    "source = bytearray(2048)\nagent.time('copies', lambda: [bytes(source) for _ in range(20)])\nagent.done()\n",
)


def micro_benchmarks() -> Any:
    spec = importlib.util.spec_from_file_location("calibration_suite", FILE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.test_micro_benchmarks


@pytest.fixture
def bench() -> Iterator[BoardBench]:
    weights = tuple(CLOCK * weight for weight in profile_named("thumb-m0").weights)
    with ReferenceVm(heap_size=HEAP) as reference, reference.counted(weights) as board:
        assert reference.facts == board.facts
        stand_in = StandIn(entry("generic", "micropython"), board, our_build=False)
        yield BoardBench(stand_in, reference, lambda _text: None)


def test_the_profile_is_found_and_the_clock(bench: BoardBench) -> None:
    found = bench.calibration
    assert found.profile == "thumb-m0"
    # The known errors of the profile are those of firmware, which this board is not: hence not exactly.
    assert found.scale == pytest.approx(CLOCK, rel=0.1)
    assert found.plain.profile == "plain"
    assert found.plain.spread > 1.3 * found.spread


def test_a_program_is_predicted_from_its_work_by_kind(bench: BoardBench) -> None:
    scenario = Scenario(bench)
    pair = scenario.run(COPIES)
    assert pair.weighed is not None
    scenario.compare(pair)
    (weighed,) = scenario.measurements
    assert weighed.verdict is Outcome.PASS
    by_plain_cost = bench.calibration.plain.predict(pair.reference.value("copies"))
    off = abs(pair.board.value("copies") / by_plain_cost - 1)
    assert off > 0.4, "the plain cost says as much: this program shows nothing"
    assert isinstance(weighed.reference, float)
    assert pair.board.value("copies") == pytest.approx(weighed.reference, rel=0.15)


def test_a_program_that_takes_no_times_is_run_once(bench: BoardBench) -> None:
    assert bench.run(Program("none", "agent.count('one', 1)\nagent.done()\n")).weighed is None
    assert "calibration" not in vars(bench)


def test_our_own_build_is_not_weighed() -> None:
    with ReferenceVm(heap_size=HEAP) as reference, ReferenceVm(heap_size=HEAP) as board:
        bench = BoardBench(StandIn(entry("generic", "micropython"), board), reference, lambda _text: None)
        assert bench.run(COPIES).weighed is None
        assert bench.calibration.profile == "plain"
        assert bench.calibration.spread < 1e-3


def test_the_suite_tells_what_has_become_slower(bench: BoardBench) -> None:
    times = {point.name: point.measured_us for point in bench.calibration.points}
    bench.earlier = lambda: Earlier(1795176000.0, "v1.26.0", "unsaid", {**times, "appends": times["appends"] / 1.2})
    scenario = Scenario(bench)
    micro_benchmarks()(scenario)
    told = {m.name: m for m in scenario.measurements if m.name.startswith("since.")}
    assert list(told) == ["since.all", "since.appends"]
    assert told["since.all"].verdict is Outcome.PASS
    assert told["since.appends"].verdict is Outcome.MARGINAL
    assert "20.0 % slower than on 2026-11-20 with v1.26.0" in told["since.appends"].limit


def test_the_first_run_of_a_board_has_nothing_to_be_held_against(bench: BoardBench) -> None:
    scenario = Scenario(bench)
    micro_benchmarks()(scenario)
    (whole,) = (m for m in scenario.measurements if m.name.startswith("since."))
    assert (whole.verdict, whole.measured) == (Outcome.SKIPPED, None)
    assert scenario.outcome in (Outcome.PASS, Outcome.MARGINAL)


def test_the_second_look_takes_the_times_anew(bench: BoardBench) -> None:
    scenario = Scenario(bench)
    micro_benchmarks()(scenario)
    before = bench.calibration
    assert scenario.again().calibration is not before
