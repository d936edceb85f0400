"""What a suite may give as a figure: a value of the figure's kind, and nothing that would be in the way later."""

from __future__ import annotations

import math
from typing import Any

import pytest

from harness.errors import UsageError
from harness.judging.compare import Judge
from harness.judging.figures import figure
from tests.judging.test_compare import REFERENCE, TWIN

NUMBER, TEXT, FREE = figure("n", "count", "at most 9"), figure("s", "state"), figure("f", "count")
JUDGE = Judge(TWIN, REFERENCE, {})


@pytest.mark.parametrize("value", [None, True, [1], (1,), "1", math.nan, math.inf, -math.inf, b"1", {}])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"figure 'n' is .*; count is a number"):
        JUDGE.take(NUMBER, value)
    with pytest.raises(UsageError, match=r"figure 'f' is .*; count is a number"):
        JUDGE.by_rule(FREE, value, 1)
    with pytest.raises(UsageError, match=r"the reference of figure 'f' is .*; count is a number"):
        JUDGE.by_rule(FREE, 1, value)


@pytest.mark.parametrize("value", [None, True, 1, 1.5, ["ok"], b"ok"])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(UsageError, match=r"figure 's' is .*; state is a text"):
        JUDGE.by_rule(TEXT, value, "ok")


def test_a_value_that_is_missing_is_to_be_skipped() -> None:
    nothing: Any = None
    with pytest.raises(UsageError) as caught:
        JUDGE.take(NUMBER, nothing, 8)
    assert "skip_figure" in caught.value.hint


def test_samples_are_numbers() -> None:
    wrong: Any = [1, None]
    with pytest.raises(UsageError, match="a sample of figure 'n' is 'None'"):
        JUDGE.take(NUMBER, 1, samples=wrong)
