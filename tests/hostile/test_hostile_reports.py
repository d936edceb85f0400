"""What a board printed is harmless in every output: terminal, log, JSON, JUnit, the page, the store."""

import io
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from harness.bench.firmware_record import FirmwareRecord
from harness.bench.health import HealthBook
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.results.report.html import run_to_html
from harness.results.report.json_report import run_to_json
from harness.results.report.junit import write_junit
from harness.results.report.terminal import print_run
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult
from harness.results.store import Store
from harness.shown import plain
from tests.hostile.hostile_lines import TEXTS

#: Tags that the page itself is made of; anything else came from the board.
CONTROLS = {chr(code) for code in (*range(32), *range(127, 160))} - {"\n"}


def hostile_run(text: str) -> RunRecord:
    figure = Measurement(
        name=f"name.{text}", kind="state", unit="-", measured=text, reference=text, limit=text,
        verdict=Outcome.FAIL, rule=text, samples=(),
    )  # fmt: skip
    scenario = ScenarioResult("suite", f"name[{text}]", Outcome.FAIL, text, (figure,), 1.0, 1.0)
    board = BoardRecord("b", "esp32", FirmwareRecord(text, text, text), (scenario,), text, {"version": text})
    return RunRecord(1, 1.0, 2.0, f"harness run {text}", (board,))


@pytest.fixture(params=TEXTS, ids=list(TEXTS))
def text(request: pytest.FixtureRequest) -> str:
    return TEXTS[request.param].decode("utf-8", "backslashreplace")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)
        self.handlers += [name for name, _ in attrs if name.startswith("on")]


def test_terminal(text: str) -> None:
    out = io.StringIO()
    print_run(hostile_run(text), Console(file=out, width=200, color_system=None), all_figures=True)
    assert not CONTROLS & set(out.getvalue())


def test_page(text: str) -> None:
    page = run_to_html(hostile_run(text))
    tags = Tags()
    tags.feed(page)
    assert not tags.found & {"script", "img", "iframe", "object", "link", "failure"} and not tags.handlers
    assert not CONTROLS & set(page)


def test_junit(text: str, tmp_path: Path) -> None:
    write_junit(hostile_run(text), tmp_path / "j.xml")
    root = ET.parse(tmp_path / "j.xml").getroot()
    assert len(root.findall(".//testcase")) == 2  # the scenario, and the board's problem
    assert len(root.findall(".//failure")) == 1


def test_json(text: str) -> None:
    data = json.dumps(run_to_json(hostile_run(text)), ensure_ascii=True)
    assert data.isascii() and json.loads(data)["boards"][0]["problem"] == text


def test_store(text: str, tmp_path: Path) -> None:
    store = Store(tmp_path / "r.sqlite")
    run = store.start_run("x")
    record = hostile_run(text).boards[0]
    store.record_board(run, record)
    store.record_scenario(run, "b", record.scenarios[0])
    assert store.load_run(run).boards[0].scenarios[0] == record.scenarios[0]
    store.close()


def test_log(text: str) -> None:
    assert not CONTROLS & set(plain(text))


def test_health(text: str, tmp_path: Path) -> None:
    book = HealthBook(tmp_path)
    assert not (CONTROLS | {"\n"}) & set(book.fault("b", text * 100).reason)
    assert (tmp_path / "health.json").read_bytes().isascii()
