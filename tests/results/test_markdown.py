"""The summary for a CI page: what is wrong comes first, and nothing a board printed is markup."""

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.outcome import Outcome
from harness.results.report.markdown import run_to_markdown
from harness.results.report.nightly_index import index_to_html
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult


def run(number: int, *outcomes: Outcome, reason: str = "3 blocks lost", problem: str = "") -> RunRecord:
    scenarios = tuple(
        ScenarioResult("reload", f"scenario_{place}", outcome, "" if outcome is Outcome.PASS else reason, started=9.0)
        for place, outcome in enumerate(outcomes)
    )
    board = BoardRecord("b1", "esp32", FirmwareRecord("fw", "v1", ""), scenarios, problem)
    return RunRecord(number, 0.0, 60.0, "harness nightly", (board,))


def test_what_changed_since_the_last_run_is_told() -> None:
    text = run_to_markdown(run(2, Outcome.PASS, Outcome.FAIL), run(1, Outcome.PASS, Outcome.PASS))
    assert text.startswith("## ❌ fail: run 2, 1 boards in 1.0 min")
    assert "| `b1` | `reload: scenario 1` | pass | ❌ fail |" in text
    assert "reload: scenario 0" not in text
    assert "| `b1` | `v1` | ❌ fail (1 of 2) |" in text


def test_nothing_a_board_printed_is_markup() -> None:
    hostile = "`|\n# title <img src=x onerror=alert(1)> \x1b[31m"
    text = run_to_markdown(run(1, Outcome.FAIL, reason=hostile))
    (line,) = [line for line in text.splitlines() if "img" in line]
    assert line.endswith("`'/ # title <img src=x onerror=alert(1)> ?[31m`")
    assert line.count("`") == 6  # three code spans, closed
    page = index_to_html([run(1, Outcome.FAIL, problem="<script>alert(1)</script>")])
    assert "<script>" not in page


def test_a_long_list_is_cut_and_says_so() -> None:
    text = run_to_markdown(run(1, *[Outcome.FAIL] * 80))
    assert "… and 30 more." in text


def test_an_unfinished_run_says_so() -> None:
    unfinished = run(1, Outcome.PASS)
    text = run_to_markdown(RunRecord(1, 0.0, 0.0, "harness nightly", unfinished.boards))
    assert "**This run did not come to its end.**" in text
