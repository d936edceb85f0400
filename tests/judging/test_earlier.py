"""A board's times against those of its last good firmware: told, marginal when slower, never across two clocks."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from harness.judging.earlier import EDITION, UNSAID, Earlier, Since, since, told
from harness.judging.outcome import Outcome
from harness.paths import fixtures_dir

TIMES = {"loop": 100.0, "calls": 200.0, "appends": 300.0, "strings": 400.0, "floats": 500.0}
#: 20 November 2026, noon by UTC: the same day from Greenland to Japan.
EARLIER = Earlier(1795176000.0, "1.26.0", "160000000", TIMES)


def compared(times: dict[str, float], clock: str = "160000000", earlier: Earlier = EARLIER) -> list[Since]:
    found = since(times, clock, earlier)
    assert not isinstance(found, str), found
    return list(found)


def test_as_before_is_one_figure_and_passes() -> None:
    (whole,) = compared(TIMES)
    assert (whole.name, whole.ratio) == ("all", 1.0)
    assert whole.limit.judge(whole.ratio) is Outcome.PASS


def test_it_says_how_much_since_when_and_with_what() -> None:
    assert told(1.031, EARLIER) == "3.1 % slower than on 2026-11-20 with 1.26.0"
    assert told(0.9, EARLIER) == "10.0 % quicker than on 2026-11-20 with 1.26.0"
    assert told(1.0001, EARLIER) == "as on 2026-11-20 with 1.26.0"
    (whole,) = compared({name: 1.031 * took for name, took in TIMES.items()})
    assert "3.1 % slower than on 2026-11-20 with 1.26.0" in str(whole.limit)
    assert whole.limit.judge(whole.ratio) is Outcome.PASS


def test_one_slower_operation_is_named_and_marginal() -> None:
    whole, appends = compared({**TIMES, "appends": 400.0})
    assert (whole.name, whole.limit.judge(whole.ratio)) == ("all", Outcome.PASS)
    assert appends.name == "appends"
    assert appends.ratio == pytest.approx(4 / 3, abs=1e-4)
    assert appends.limit.judge(appends.ratio) is Outcome.MARGINAL
    assert "33.3 % slower" in str(appends.limit)


@pytest.mark.parametrize("factor", [1.04, 0.5])
def test_a_few_per_cent_and_quicker_are_nothing(factor: float) -> None:
    assert [one.name for one in compared({**TIMES, "appends": 300.0 * factor})] == ["all"]


def test_never_across_two_clock_frequencies() -> None:
    found = since(TIMES, "80000000", EARLIER)
    assert found == "the clock is 80 MHz, and was 160 MHz on 2026-11-20 with 1.26.0"
    assert since(TIMES, UNSAID, EARLIER) == "the clock is not said, and was 160 MHz on 2026-11-20 with 1.26.0"


def test_where_no_frequency_is_said_all_of_it_must_be_as_quick_as_it_was() -> None:
    unsaid = replace(EARLIER, clock=UNSAID)
    found = since({name: 2 * took for name, took in TIMES.items()}, UNSAID, unsaid)
    assert isinstance(found, str)
    assert "another clock or emulator" in found
    assert "100.0 % slower" in found
    assert [one.name for one in compared({**TIMES, "appends": 400.0}, UNSAID, unsaid)] == ["all", "appends"]


def test_other_operations_are_not_compared() -> None:
    assert since({"sorting": 1.0}, "160000000", EARLIER) == (
        "the last good run on 2026-11-20 with 1.26.0 has none of these times"
    )


def test_the_edition_is_that_of_the_programs() -> None:
    """Whoever changes what is timed, or how, raises EDITION: times of before are not to be held against it."""
    agent = (fixtures_dir() / "agent" / "agent.py").read_text("utf-8")
    timing = agent[agent.index("    def fill") : agent.index("    def emit")]
    program = (fixtures_dir() / "programs" / "calibration.py").read_text("utf-8")
    digest = hashlib.sha256((timing + program).encode()).hexdigest()[:12]
    assert (EDITION, digest) == (3, "93d9affe2d41")
