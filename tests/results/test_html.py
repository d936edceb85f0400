"""The page stands alone, shows every figure, and nothing a board printed becomes markup."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import UsageError
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.link.transcript import Transcript
from harness.link.transcript_files import place_since
from harness.results.report.html import run_to_html, write_html
from harness.results.run_record import BoardRecord, Event, RunRecord, ScenarioResult
from tests.results.sample_run import HOSTILE, healthy, sample

_VOID = {"meta", "br"}


class Page(HTMLParser):
    """Tags, text and rows of a page; fails on tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.rows: list[list[str]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self._open or "th" in self._open:
            self.rows[-1][-1] += data
        if "style" not in self._open:
            self.text += data


def test_every_figure_stands_beside_reference_limit_and_verdict() -> None:
    page = Page(run_to_html(sample()))
    assert ["figure", "measured", "reference", "limit", "verdict"] in page.rows
    assert ["x.allocated", "48 B", "48 B", "exactly 48 B", "pass"] in page.rows
    assert ["x.time", "160.5 µs", "120 µs", "within 25 % of 120 µs", "marginal"] in page.rows
    assert ["reload.leak", "64 B", "0 B", "less than one block", "fail"] in page.rows
    assert "heap (2 figures): equal to the byte" in page.text
    assert "ab" * 32 in page.text
    assert "2 boards: 1 passed, 1 marginal, 2 failed, 1 error, 1 skipped" in page.text


def test_failures_come_before_everything_that_is_well() -> None:
    text = Page(run_to_html(sample())).text
    where = [
        text.index(part) for part in ("What to look at", "reload.leak is 64 B", "the port vanished", "x.allocated")
    ]
    assert where == sorted(where)
    assert "What to look at" not in Page(run_to_html(healthy())).text


def test_the_page_needs_nothing_else_and_runs_nothing() -> None:
    source = run_to_html(sample())
    page = Page(source)
    assert not {"script", "img", "link", "iframe", "object", "svg"} & set(page.tags)
    assert page.attributes <= {"lang", "charset", "http-equiv", "content", "name", "class", "colspan", "open"}
    assert "url(" not in source
    assert "@import" not in source
    assert "default-src 'none'" in source
    assert "prefers-color-scheme: dark" in source


def test_hostile_text_is_shown_and_harmless() -> None:
    source = run_to_html(sample())
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in source
    assert "<script" not in source
    assert not {"\x1b", "\x00", "\x07", "\x9b", "\u202e", "\ud800"} & set(source)
    source.encode("utf-8")


@given(st.text(st.characters(), max_size=60))
def test_no_text_changes_the_structure(text: str) -> None:
    def page(filling: str) -> Page:
        m = Measurement(filling, "state", filling, filling, filling, filling, Outcome.FAIL, filling)
        scenario = ScenarioResult(filling, filling, Outcome.FAIL, "x" + filling, (m,))
        board = BoardRecord(filling, filling, FirmwareRecord("n" + filling, filling, "s" + filling), (scenario,), "p")
        return Page(run_to_html(RunRecord(1, 1.0, 2.0, filling, (board,))))

    made, plain = page("r" + text), page("r")
    assert made.tags == plain.tags
    assert made.attributes == plain.attributes


def test_an_interrupted_run_says_so() -> None:
    assert "interrupted before the end" in Page(run_to_html(sample(finished=0))).text


def test_written_as_a_file(tmp_path: Path) -> None:
    write_html(sample(), tmp_path / "new" / "run.html")
    assert (tmp_path / "new" / "run.html").read_text("utf-8") == run_to_html(sample())
    with pytest.raises(UsageError, match="cannot be written"):
        write_html(sample(), tmp_path)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    transcript = Transcript(tmp_path / "transcripts" / "run-7-ab" / "vesp32.jsonl")
    for number in range(100):
        transcript.add("sent", f"line {number:03} ".encode())
        transcript.add("received", HOSTILE.encode("utf-8", "replace") * 100)
    transcript.close()
    return tmp_path


def with_transcript(state: Path, outcome: Outcome) -> RunRecord:
    path = "transcripts/run-7-ab/vesp32.jsonl"
    reference = place_since(state, path, 0)
    result = ScenarioResult("reload", "leaks", outcome, "it leaks", (), 1.0, 100.0, reference)
    events = (Event("retry", f"again {HOSTILE}", 100.0, "reload: leaks"), Event("retry", "more", 101.0))
    board = BoardRecord("b", "esp32", FirmwareRecord("", "", ""), (result,), events=events)
    return RunRecord(7, 100.0, 101.0, "harness run", (board,))


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.ERROR])
def test_what_failed_has_the_end_of_its_transcript_beside_it(state: Path, outcome: Outcome) -> None:
    text = run_to_html(with_transcript(state, outcome), state=state)
    page = Page(text)
    assert "line 099" in page.text and "line 080" in page.text and "line 079" not in page.text
    assert "script" not in page.tags and len(text) < 100_000
    assert "\x1b" not in text and "\x00" not in text and "\u202e" not in text


def test_what_went_well_and_what_is_gone_have_no_transcript(state: Path, tmp_path: Path) -> None:
    assert "line 099" not in Page(run_to_html(with_transcript(state, Outcome.MARGINAL), state=state)).text
    failed = with_transcript(state, Outcome.FAIL)
    assert "last" not in Page(run_to_html(failed)).text
    assert "last" not in Page(run_to_html(failed, state=tmp_path / "elsewhere")).text


def test_events_are_counted_and_told() -> None:
    events = (Event("retry", "first", 100.0, "reload: leaks"), Event("recovery", HOSTILE, 3725.0))
    board = replace(healthy().boards[0], events=events)
    page = Page(run_to_html(replace(healthy(), boards=(board,))))
    assert "events: 1 × retry, 1 × recovery" in page.text
    assert "00:01:40 retry first (reload: leaks)" in page.text and "01:02:05 recovery" in page.text
