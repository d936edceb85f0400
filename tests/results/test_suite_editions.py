"""A suite that was changed in between is told, and is not taken for firmware that moves or is flaky."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from harness.bench.firmware_record import FirmwareRecord
from harness.cli import main
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.results.flaky import flakiness
from harness.results.run_diff import not_comparable
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.store import Store
from harness.results.suite_editions import editions


def night(
    store: Store,
    edition: str,
    value: int,
    *,
    board: str = "b",
    suite: str = "mine",
    image: str = "aa",
    good: bool = True,
) -> int:
    run = store.start_run("harness run", environment={"host": "pi", f"suite {suite}": edition} if edition else {})
    store.record_board(run, BoardRecord(board, "esp32", FirmwareRecord("fw.bin", "v1", image * 32)))
    figure = Measurement("x", "heap", "B", value, None, "any", Outcome.PASS)
    outcome = Outcome.PASS if good else Outcome.FAIL
    store.record_scenario(run, board, ScenarioResult(suite, "one", outcome, "", (figure,), 1.0, 1000.0))
    store.finish_run(run)
    return run


def shown(folder: Path, *arguments: str) -> str:
    result = CliRunner().invoke(main, [*arguments, "--store", str(folder / "s.sqlite")], catch_exceptions=False)
    return " ".join(result.output.split())


def test_an_edition_is_that_of_the_suites_own_sources(tmp_path: Path) -> None:
    suite = tmp_path / "mine"
    suite.mkdir()
    (suite / "test_mine.py").write_text("one")
    (suite / "mine.py").write_text("program")
    first = editions([str(tmp_path)])
    (suite / "notes.txt").write_text("not of it")
    assert editions([str(suite / "test_mine.py")]) == first and list(first) == ["suite mine"]
    (suite / "mine.py").write_text("another program")
    assert editions([str(suite)])["suite mine"] != first["suite mine"]


def test_a_step_that_came_with_another_edition_of_the_suite_says_so(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    for edition, value in [("e1", 64), ("e1", 64), ("e2", 96), ("e2", 96), ("e2", 96)]:
        night(store, edition, value)
    assert "the suite changed with it, and the firmware did not" in shown(tmp_path, "history", "b")


def test_a_step_within_one_edition_and_one_of_old_runs_are_the_firmwares(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    for edition, value, image in [("", 64, "aa"), ("", 64, "aa"), ("", 96, "bb"), ("", 96, "bb"), ("e1", 96, "bb")]:
        night(store, edition, value, image=image)
    text = shown(tmp_path, "history", "b")
    assert "64 → 96" in text or "96 B" in text
    assert "the suite changed" not in text


def test_results_of_two_editions_are_no_sign_of_a_flaky_scenario(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    for edition, good in [("e1", False), ("e1", False), ("e2", True), ("e2", True)]:
        night(store, edition, 64, good=good)
    assert flakiness(store) == []
    night(store, "e2", 64, good=False)
    (flaky,) = flakiness(store)
    assert (flaky.tried, flaky.odd) == (5, 1)


def test_runs_that_cannot_be_compared_are_told_first(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    first = night(store, "e1", 64)
    other_board = night(store, "e1", 64, board="c")
    other_suite = night(store, "e1", 64, suite="theirs")
    other_edition = night(store, "e2", 64)
    assert not_comparable(store, first, other_board) == [
        f"no board is in both runs: run {first} has b, run {other_board} has c"
    ]
    assert not_comparable(store, first, other_suite) == [
        f"b: no scenario is in both runs: run {first} has some of mine, run {other_suite} of theirs"
    ]
    assert not_comparable(store, first, other_edition) == ["the suites were changed in between: mine"]
    assert not_comparable(store, first, first) == []
    assert shown(tmp_path, "diff", str(first), str(other_board)).startswith("no board is in both runs")
    CliRunner().invoke(main, ["diff", "1", "2", "--store", str(tmp_path / "s.sqlite"), "--json", str(tmp_path / "d")])
    assert json.loads((tmp_path / "d").read_text())["not_comparable"]
