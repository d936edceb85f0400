"""Runs as lists show them: counted by the database, and the same as counted from whole records."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.outcome import Outcome
from harness.results.flaky import flakiness
from harness.results.report.plots import trends_of
from harness.results.run_record import BoardRecord, Event, ScenarioResult
from harness.results.series import (
    boards_with,
    figure_histories,
    is_known,
    newest_run,
    recent_histories,
    recent_values,
)
from harness.results.store import Store
from harness.results.store_schema import RUN
from harness.results.summaries import run_summaries, summary_of, whole_night
from tests.results.postgresql_server import running_server
from tests.results.sample_stores import nightly


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        yield Store(tmp_path / "results.sqlite")
        return
    pytest.importorskip("psycopg")
    with running_server() as server:
        yield Store(server.database("summaries"))


def fill(store: Store) -> None:
    nightly(store, {"x": ("heap", 48)}, build=0)
    nightly(store, {"x": ("heap", 48)}, build=1, outcome=Outcome.FAIL)
    run = store.start_run("harness nightly")
    for position, name in enumerate(("b", "c", "silent")):
        board = BoardRecord(name, "esp32", FirmwareRecord("fw.bin", "v2", "ab"), problem="no power" * (name == "c"))
        store.record_board(run, board, position=position)
    for place, (suite, outcome) in enumerate(
        [("z", Outcome.PASS), ("a", Outcome.SKIPPED), ("z", Outcome.MARGINAL), ("z", Outcome.PASS)]
    ):
        store.record_scenario(run, "b", ScenarioResult(suite, f"n{place}", outcome, "", (), 5.0, 9e9 + place))
    store.record_event(run, "c", Event("reset", "x", 9e9 + 100))


def test_the_database_counts_what_the_records_hold(store: Store) -> None:
    fill(store)
    found = run_summaries(store, 10)
    assert found == [summary_of(run) for run in store.load_runs(10)]
    newest = found[0]
    assert newest.heard == 9e9 + 100 and newest.interrupted and newest.outcome is Outcome.ERROR
    assert [(board.id, board.last) for board in newest.boards] == [("b", "n3"), ("c", ""), ("silent", "")]
    assert list(newest.boards[0].suites) == ["z", "a"]  # as they ran
    assert newest.counts == {Outcome.PASS: 2, Outcome.MARGINAL: 1, Outcome.SKIPPED: 1}
    assert [run.outcome for run in found] == [run.outcome for run in store.load_runs(10)]


def test_of_one_board_only_it_is_counted(store: Store) -> None:
    fill(store)
    nightly(store, {"x": ("heap", 48)}, build=2, board="other")
    found = run_summaries(store, 2, board="b")
    assert [[board.id for board in run.boards] for run in found] == [["b"], ["b"]]
    assert found[0].counts == {Outcome.PASS: 2, Outcome.MARGINAL: 1, Outcome.SKIPPED: 1}


def test_values_in_one_text_are_those_of_the_histories(store: Store) -> None:
    for build, value in enumerate([48, 64, 48]):
        run = nightly(store, {"x": ("heap", value), "s": ("state", f'a "word", {build}\n')}, build=build)
        again = store.load_run(run).boards[0].scenarios[0]
        store.record_scenario(run, "b", again)  # tried again: the last one counts, once
    nightly(store, {"x": ("heap", 1)}, build=9, name="another.bin")
    newest = store.load_run(3)
    values = recent_values(store, "b", 60, until=newest.started, line="fw")
    assert values == {
        (history.suite, history.scenario, history.name): [entry.measured for entry in history.entries]
        for history in recent_histories(store, "b", 60, line="fw")
    }
    assert values["reload", "leaks", "x"] == [48, 64, 48]
    assert trends_of(newest, store) == {("b", "reload", "leaks", "x"): [48.0, 64.0, 48.0]}


def test_a_figure_since_a_time_whatever_the_order_in_which_runs_came_in(store: Store) -> None:
    """Runs are merged in later than they were: the numbers of their scenarios say nothing about their time."""
    begun = {nightly(store, {"x": ("heap", day)}, build=0, board=board): day
             for day, board in ((9, "b"), (2, "b"), (8, "c"), (1, "c"), (7, "b"), (5, "b"))}  # fmt: skip
    with store.database.writing() as connection:
        for run, day in begun.items():
            connection.execute(update(RUN).where(RUN.c.id == run).values(started=86_400.0 * day))
    found = figure_histories(store, "reload", "leaks", "x", since=86_400.0 * 4)
    assert [(one.board, [entry.measured for entry in one.entries]) for one in found] == [("b", [5, 7, 9]), ("c", [8])]
    assert figure_histories(store, "reload", "leaks", "x", since=86_400.0 * 99) == []
    assert (boards_with(store, "reload", "leaks", "x"), newest_run(store)) == (2, 86_400.0 * 9)
    assert is_known(store, "c") and not is_known(store, "d")


def test_flaky_since_a_time(store: Store) -> None:
    for outcome in (Outcome.FAIL, Outcome.PASS, Outcome.PASS):
        last = nightly(store, {"x": ("heap", 48)}, build=0, outcome=outcome)
    (flaky,) = flakiness(store, "b")
    assert (flaky.tried, flaky.odd) == (3, 1)
    with store.database.writing() as connection:
        connection.execute(update(RUN).where(RUN.c.id < last - 1).values(started=100.0))
    assert flakiness(store, "b", since=1000.0) == []


def test_a_night_that_hosts_shared_is_shown_whole(store: Store) -> None:
    """The newest run is one host's part: a board that another one ran is no less of the bench at a glance."""
    parts = [("1", "b", Outcome.FAIL), ("2", "b", Outcome.PASS), ("2", "c", Outcome.FAIL), ("2", "b", Outcome.PASS)]
    for night, board, outcome in parts:
        run = store.start_run("harness nightly --lab", environment={"night": night})
        store.record_board(run, BoardRecord(board, "esp32", FirmwareRecord("fw.bin", "v2", "ab")))
        store.record_scenario(run, board, ScenarioResult("reload", f"n{run}", outcome))
    runs = run_summaries(store, 10)
    assert {board.id: board.counts for board in whole_night(runs).boards} == {
        "b": {Outcome.PASS: 2},
        "c": {Outcome.FAIL: 1},
    }
    assert [board.id for board in runs[0].boards] == ["b"]
    assert whole_night(runs[-1:]) == runs[-1]
    assert runs == [summary_of(run) for run in store.load_runs(10)]
    alone = store.start_run("harness run", environment={})
    store.record_board(alone, BoardRecord("d", "esp32", FirmwareRecord("fw.bin", "v2", "ab")))
    assert [board.id for board in whole_night(run_summaries(store, 10)).boards] == ["d"]
