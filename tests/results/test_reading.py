"""Histories, differences and flakiness, as they are read out of a store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.judging.outcome import Outcome
from harness.results.flaky import flakiness
from harness.results.run_diff import Change, diff
from harness.results.run_record import ScenarioResult
from harness.results.series import histories
from harness.results.store import Store
from tests.results.sample_stores import heaps, nightly


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def test_a_history_names_the_first_bad_run_and_its_firmware(path: Path) -> None:
    (history,) = histories(heaps(path, [784] * 4 + [800] * 3), "b", "x")
    (step,) = history.judge().steps
    first = history.entries[step.first]
    assert (first.run, first.version, first.sha256) == (5, "v1.4", f"{4:064x}")
    assert (history.label, history.line, history.unit) == ("reload: leaks: x", "fw", "B")


def test_firmware_lines_have_histories_of_their_own(path: Path) -> None:
    store = Store(path)
    for build in range(4):
        nightly(store, {"x": ("heap", 784)}, build=build, name=f"ESP32_GENERIC-v1.{build}.0.bin")
        nightly(store, {"x": ("heap", 900)}, build=build + 9, name="other.bin")
    found = {h.line: h for h in histories(store, "b", "x")}
    assert {line: len(h.entries) for line, h in found.items()} == {"ESP32_GENERIC": 4, "other": 4}
    assert all(not h.judge().steps for h in found.values())
    assert [h.line for h in histories(store, "b", "x", line="other")] == ["other"]


def test_runs_merged_later_stand_where_their_time_says(path: Path) -> None:
    store = heaps(path, [1, 2, 3])
    with store.database.writing() as connection:
        connection.exec_driver_sql("UPDATE run SET started=started-1e6 WHERE id=3")
    (history,) = histories(store, "b", "x")
    assert [e.measured for e in history.entries] == [3, 1, 2]
    assert [e.measured for e in histories(store, "b", "x", last=2)[0].entries] == [1, 2]


def test_a_scenario_that_was_tried_again_counts_once_with_its_last_figure(path: Path) -> None:
    store = heaps(path, [784])
    scenario = store.load_run(1).boards[0].scenarios[0]
    store.record_scenario(1, "b", replace(scenario, measurements=(replace(scenario.measurements[0], measured=800),)))
    (history,) = histories(store, "b", "x")
    assert [e.measured for e in history.entries] == [800]


def test_what_is_not_there_is_told_with_what_is(path: Path) -> None:
    store = heaps(path, [1])
    with pytest.raises(UsageError, match="no figure of a board 'c'\n  try: its boards: b"):
        histories(store, "c")
    with pytest.raises(UsageError, match="b has no figure 'y.'"):
        histories(store, "b", "y*")
    with pytest.raises(UsageError, match="firmware line 'z'"):
        histories(store, "b", line="z")


# -- differences ---------------------------------------------------------------------------------


def test_runs_that_differ_in_nothing_but_noise_have_no_changes(path: Path) -> None:
    store = Store(path)
    times = [1000.0, 1012, 990, 1004, 996, 1010, 988, 1001, 1006, 993, 1011, 989]
    for value in times:
        nightly(store, {"t": ("time", value), "x": ("heap", 48)}, build=1)
    assert diff(store, 11, 12) == []


def test_a_block_of_heap_a_verdict_firmware_and_host_are_told(path: Path) -> None:
    store = Store(path)
    nightly(store, {"x": ("heap", 48), "gone": ("count", 1)}, build=1)
    nightly(store, {"x": ("heap", 64), "s": ("state", "ok")}, build=2, outcome=Outcome.FAIL, host="nuc")
    changes = {(c.what, c.name): c for c in diff(store, 1, 2)}
    assert changes.keys() == {
        ("environment", "host"),
        ("firmware", "version"),
        ("firmware", "sha256"),
        ("verdict", "reload: leaks"),
        ("figure", "reload: leaks: x"),
        ("figure", "reload: leaks: s"),
        ("figure", "reload: leaks: gone"),
    }
    assert changes["environment", "host"] == Change("environment", "", "host", "pi", "nuc")
    heap = changes["figure", "reload: leaks: x"]
    assert (heap.before, heap.after, heap.unit) == (48, 64, "B")
    verdict = changes["verdict", "reload: leaks"]
    assert (verdict.before, verdict.after, verdict.why) == ("pass", "fail", "it is wrong")
    assert (changes["figure", "reload: leaks: gone"].after, changes["figure", "reload: leaks: s"].before) == (
        None,
        None,
    )


def test_a_time_beyond_its_scatter_is_told_and_says_by_how_much(path: Path) -> None:
    store = Store(path)
    for index in range(20):
        nightly(store, {"t": ("time", 1000.0 + index % 3)}, build=1)
    nightly(store, {"t": ("time", 1200.0)}, build=2)
    (change,) = [c for c in diff(store, 20, 21) if c.what == "figure"]
    assert (change.before, change.after) == (1001, 1200)
    assert "sigma by 20 runs" in change.why


def test_boards_and_scenarios_of_one_run_only_are_told(path: Path) -> None:
    store = Store(path)
    nightly(store, {}, build=1, board="old")
    run = nightly(store, {}, build=1, board="new")
    assert [(c.what, c.board, c.before, c.after) for c in diff(store, 1, 2)] == [
        ("board", "new", None, "pass"),
        ("board", "old", "pass", None),
    ]
    again = nightly(store, {}, build=1, board="new")
    store.record_scenario(again, "new", ScenarioResult("reload", "more", Outcome.PASS))
    assert [(c.what, c.name, c.before, c.after) for c in diff(store, run, again)] == [
        ("scenario", "reload: more", None, "pass")
    ]


# -- flakiness -----------------------------------------------------------------------------------


def test_a_scenario_is_flaky_when_one_image_passes_and_fails(path: Path) -> None:
    store = Store(path)
    for outcome in [Outcome.PASS] * 7 + [Outcome.FAIL, Outcome.ERROR, Outcome.PASS]:
        nightly(store, {}, build=1, outcome=outcome)
    (found,) = flakiness(store)
    assert (found.board, found.scenario, found.tried, found.odd) == ("b", "leaks", 10, 2)
    assert found.low < found.share == 0.2 < found.high
    assert flakiness(store, "another") == []


def test_what_fails_with_the_next_image_is_no_flakiness(path: Path) -> None:
    store = Store(path)
    for build, outcome in enumerate([Outcome.PASS, Outcome.FAIL, Outcome.FAIL, Outcome.PASS]):
        for _ in range(2):
            nightly(store, {}, build=build, outcome=outcome)
    assert flakiness(store) == []


def test_only_the_newest_results_count_when_asked_so(path: Path) -> None:
    store = Store(path)
    for outcome in [Outcome.FAIL] + [Outcome.PASS] * 5:
        nightly(store, {}, build=1, outcome=outcome)
    assert flakiness(store, last=5) == []
    assert len(flakiness(store)) == 1
