"""A store in which a figure has no value, as versions before kept what a suite gave: everything still reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.judging.outcome import Outcome
from harness.kinds import Value
from harness.results.report.html import run_to_html
from harness.results.report.plots import trends_of
from harness.results.series import histories
from harness.results.store import Store
from tests.results.sample_stores import nightly


@pytest.mark.parametrize("nothing", [None, [1, 2], {"a": 1}])
def test_plots_history_and_reports_leave_it_out(tmp_path: Path, nothing: Any) -> None:
    path = tmp_path / "results.sqlite"
    store = Store(path)
    try:
        for build, value in enumerate((8, 9, cast("Value", nothing), 8)):
            outcome = Outcome.PASS if isinstance(value, int) else Outcome.FAIL
            nightly(store, {"x": ("count", value), "never": ("count", cast("Value", nothing))}, build=build)
            last = nightly(store, {"x": ("count", value)}, build=build, outcome=outcome)
        (history,) = histories(store, "b")
        assert [entry.measured for entry in history.entries] == [8, 8, 9, 9, 8, 8]
        run = store.load_run(last)
        assert list(trends_of(run, store).values()) == [[8.0, 8.0, 9.0, 9.0, 8.0, 8.0]]
        for number in range(1, last + 1):
            assert "<html" in run_to_html(store.load_run(number), trends=trends_of(run, store))
    finally:
        store.close()
    result = CliRunner().invoke(main, ["history", "b", "--all", "--store", str(path)])
    assert result.exit_code == 0, result.output
    assert "9" in result.output
