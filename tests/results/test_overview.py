"""What a run's page begins with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.results.before import changes, run_before
from harness.results.report.html import run_to_html
from harness.results.report.overview import overview
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult
from harness.results.store import Store

FIRMWARE = FirmwareRecord("fw", "1", "")


def board(name: str, *results: tuple[str, str, Outcome, float], problem: str = "") -> BoardRecord:
    scenarios = tuple(
        ScenarioResult(suite, what, outcome, "", (), seconds) for suite, what, outcome, seconds in results
    )
    return BoardRecord(name, "esp32", FIRMWARE, scenarios, problem)


def run(number: int, *boards: BoardRecord) -> RunRecord:
    return RunRecord(number, 100.0 * number, 100.0 * number + 50, "harness run", boards)


BEFORE = run(1, board("a", ("reload", "leak", Outcome.PASS, 1.0), ("reload", "files_are_kept", Outcome.PASS, 1.0)))
AFTER = run(
    2,
    board("a", ("reload", "leak", Outcome.FAIL, 1.0), ("reload", "files_are_kept", Outcome.PASS, 30.0)),
    board("<b>", problem="no port <script>"),
)


def test_the_page_begins_with_the_bench_what_changed_and_what_was_slow() -> None:
    page = run_to_html(AFTER, before=BEFORE)
    glance = page.index("The bench at a glance")
    assert glance < page.index("Changed since run 1") < page.index("What took longest") < page.index("What to look at")
    top = page[glance : page.index("What to look at")].replace("\n", "")
    assert '<td class="fail">1 of 2 fail</td>' in top
    assert "reload: leak <span class='soft'>was pass" in top
    assert "30.0 s <b>a</b> reload: files are kept" in top and "97 %" in top
    assert "no port &lt;script&gt;" in top and "&lt;b&gt;" in top
    assert "<script" not in page


def test_nothing_is_told_where_there_is_nothing() -> None:
    alone = "".join(overview(BEFORE, None))
    assert "Changed since" not in alone and "longest" not in alone
    assert "No scenario has another outcome" in "".join(overview(replace(BEFORE, id=2), BEFORE))


def test_a_scenario_that_is_new_has_not_changed() -> None:
    assert [(where, s.name, was) for where, s, was in changes(AFTER, BEFORE)] == [("a", "leak", Outcome.PASS)]


def test_the_run_before_is_the_last_whole_one_with_one_of_its_boards(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.sqlite")

    def kept(*names: str, whole: bool = True) -> int:
        number = store.start_run("harness run")
        for name in names:
            store.record_board(number, BoardRecord(name, "esp32", FIRMWARE))
            store.record_scenario(number, name, ScenarioResult("reload", "leak", Outcome.PASS))
        if whole:
            store.finish_run(number)
        return number

    wanted = kept("a", "b")
    kept("c")
    kept("a", whole=False)
    newest = store.load_run(kept("a"))
    found = run_before(newest, store)
    assert found is not None and found.id == wanted
    assert run_before(store.load_run(wanted), store) is None
    store.close()


def test_who_asks_for_outcomes_loads_no_figures(tmp_path: Path) -> None:
    store = Store(tmp_path / "r.sqlite")
    number = store.start_run("harness run")
    store.record_board(number, BoardRecord("a", "esp32", FIRMWARE))
    figure = Measurement("leak", "heap", "B", 0, 0, "at most 15 B", Outcome.PASS)
    store.record_scenario(number, "a", ScenarioResult("reload", "leak", Outcome.PASS, measurements=(figure,)))
    whole, outcomes = store.load_run(number), store.load_run(number, figures=False)
    assert [len(s.measurements) for s in whole.boards[0].scenarios] == [1]
    assert [len(s.measurements) for s in outcomes.boards[0].scenarios] == [0]
    assert outcomes.outcome is whole.outcome
    store.close()
