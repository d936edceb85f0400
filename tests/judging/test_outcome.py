"""Which outcome decides, and the exit code that goes with it."""

from __future__ import annotations

import itertools

import pytest

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.outcome import Outcome, exit_code, worst
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult

PASS, MARGINAL, FAIL, ERROR, BROKEN, SKIPPED = Outcome


def run(*boards: list[Outcome], finished: float = 2.0, problem: str = "") -> RunRecord:
    firmware = FirmwareRecord("fw", "1", "")
    made = tuple(
        BoardRecord(f"b{n}", "esp32", firmware, tuple(ScenarioResult("s", "n", o) for o in outcomes), problem)
        for n, outcomes in enumerate(boards)
    )
    return RunRecord(1, 1.0, finished, "harness run", made)


def test_the_worst_decides_in_any_order() -> None:
    for order in itertools.permutations(Outcome):
        assert worst(order) is FAIL
    assert worst([PASS, SKIPPED]) is PASS
    assert worst([PASS, MARGINAL, SKIPPED]) is MARGINAL
    assert worst([MARGINAL, ERROR]) is ERROR
    assert worst([]) is SKIPPED


@pytest.mark.parametrize(
    ("outcome", "code"), [(PASS, 0), (MARGINAL, 0), (FAIL, 1), (ERROR, 3), (BROKEN, 2), (SKIPPED, 3)]
)
def test_exit_codes(outcome: Outcome, code: int) -> None:
    assert exit_code(outcome) == code


@pytest.mark.parametrize(
    ("record", "outcome", "code"),
    [
        (run([PASS, SKIPPED], [MARGINAL]), MARGINAL, 0),
        (run([PASS], [PASS, FAIL, ERROR]), FAIL, 1),
        (run([PASS], [ERROR]), ERROR, 3),
        (run([PASS], [BROKEN]), BROKEN, 2),
        (run([ERROR], [BROKEN]), ERROR, 3),
        (run([FAIL], [BROKEN]), FAIL, 1),
        (run(), ERROR, 3),
        (run([]), ERROR, 3),
        (run([PASS], [SKIPPED]), ERROR, 3),
        (run([PASS], problem="the port vanished"), ERROR, 3),
        (run([FAIL], problem="the port vanished"), FAIL, 1),
        (run([PASS], finished=0), ERROR, 3),
        (run([FAIL], finished=0), FAIL, 1),
    ],
)
def test_of_a_run(record: RunRecord, outcome: Outcome, code: int) -> None:
    assert (record.outcome, record.exit_code) == (outcome, code)
