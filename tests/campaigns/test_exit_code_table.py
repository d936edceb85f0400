"""docs/exit-codes.md names tests that there are, and its codes are those of the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.judging.outcome import Outcome, exit_code, worst

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "exit-codes.md").read_text("utf-8")


def test_each_row_is_held_by_a_test_that_there_is() -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and "situation" not in line]
    assert len(rows) >= 10
    for row in rows:
        (held,) = re.findall(r"`(tests/[^`]+)`", row)
        file, _, name = held.partition("::")
        text = (ROOT / file).read_text("utf-8")
        assert not name or f"def {name}(" in text, held


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        ([Outcome.PASS, Outcome.MARGINAL, Outcome.SKIPPED], 0),
        ([Outcome.PASS, Outcome.BROKEN], 2),
        ([Outcome.ERROR, Outcome.BROKEN], 3),
        ([Outcome.FAIL, Outcome.ERROR, Outcome.BROKEN], 1),
        ([Outcome.SKIPPED], 3),
    ],
)
def test_the_worst_decides(outcomes: list[Outcome], code: int) -> None:
    assert exit_code(worst(outcomes)) == code
    assert exit_code(worst(reversed(outcomes))) == code
