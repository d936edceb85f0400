"""The two reports that other programs read."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import UsageError
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.kinds import Value
from harness.results.report.json_report import run_to_json
from harness.results.report.junit import write_junit
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult
from tests.results.sample_run import HOSTILE, healthy, sample


def test_json_has_the_published_names() -> None:
    made = json.loads(json.dumps(run_to_json(sample())))
    assert (made["outcome"], made["exit_code"]) == ("fail", 1)
    board = made["boards"][0]
    assert {"id", "chip", "firmware", "outcome", "scenarios"} <= set(board)
    assert board["firmware"] == {"name": "micropython", "version": "v1.27.0", "sha256": "ab" * 32}
    scenario = board["scenarios"][1]
    assert {"suite", "name", "outcome", "reason", "measurements"} <= set(scenario)
    assert (scenario["outcome"], scenario["reason"]) == ("marginal", "x.time is near")
    time = scenario["measurements"][1]
    assert {k: time[k] for k in ("name", "kind", "unit", "measured", "reference", "limit", "verdict")} == {
        "name": "x.time",
        "kind": "time",
        "unit": "us",
        "measured": 160.5,
        "reference": 120.0,
        "limit": "within 25 % of 120 µs",
        "verdict": "marginal",
    }
    assert [b["outcome"] for b in made["boards"]] == ["fail", "fail"]
    assert made["boards"][1]["scenarios"][0]["reason"] == HOSTILE


def test_json_of_an_interrupted_run_is_an_error() -> None:
    made = run_to_json(replace(healthy(), finished=0))
    assert (made["outcome"], made["exit_code"], made["finished"]) == ("error", 3, None)
    assert len(made["boards"][0]["scenarios"]) == 2


def junit(run: RunRecord, folder: Path) -> ET.Element:
    write_junit(run, folder / "new" / "junit.xml")
    return ET.parse(folder / "new" / "junit.xml").getroot()


def child(element: ET.Element, path: str) -> ET.Element:
    found = element.find(path)
    assert found is not None, f"{element.tag} has no {path}"
    return found


def test_junit_counts_and_elements(tmp_path: Path) -> None:
    first, second = junit(sample(), tmp_path).findall("testsuite")
    assert {k: first.get(k) for k in ("name", "tests", "failures", "errors", "skipped", "time")} == {
        "name": "vesp32",
        "tests": "5",
        "failures": "1",
        "errors": "1",
        "skipped": "1",
        "time": "3.000",
    }
    cases = {case.get("name"): case for case in first.findall("testcase")}
    assert child(cases["leaks"], "failure").get("message") == "reload.leak is 64 B"
    assert child(cases["files"], "error").text == "the port vanished"
    assert cases["wakes"].find("skipped") is not None
    assert child(cases["from_mpy"], "properties/property").attrib == {"name": "marginal", "value": "x.time is near"}
    assert [c.tag for c in cases["from_source"]] == ["system-out"]
    assert "pass     x.allocated: 48 B (exactly 48 B)" in (child(cases["from_source"], "system-out").text or "")
    # A board that did not get to its end is an error in the report, whatever its scenarios were.
    assert (second.get("failures"), second.get("errors")) == ("1", "1")
    assert "<script>alert(1)</script>" in (child(second, "testcase/failure").text or "")  # as text, unharmed
    assert "\x1b" not in ET.tostring(second, "unicode")


@pytest.mark.parametrize(
    "run",
    [
        replace(healthy(), finished=0),
        replace(healthy(), boards=(replace(healthy().boards[0], problem="the port vanished"),)),
        replace(healthy(), boards=(replace(healthy().boards[0], scenarios=()),)),
        replace(
            healthy(),
            boards=(replace(healthy().boards[0], scenarios=(ScenarioResult("s", "n", Outcome.SKIPPED, "no pin"),)),),
        ),
    ],
    ids=["interrupted", "problem", "no scenario", "all skipped"],
)
def test_junit_never_shows_a_broken_run_as_good(run: RunRecord, tmp_path: Path) -> None:
    assert run.exit_code == 3
    suite = junit(run, tmp_path).find("testsuite")
    assert suite is not None
    assert suite.get("errors") == "1"
    assert len(suite.findall("testcase/error")) == 1
    assert int(suite.get("tests", 0)) == len(suite.findall("testcase"))


def test_junit_of_a_healthy_run_has_no_trouble(tmp_path: Path) -> None:
    suite = junit(healthy(), tmp_path).find("testsuite")
    assert suite is not None
    assert [suite.get(k) for k in ("tests", "failures", "errors", "skipped")] == ["2", "0", "0", "0"]


@given(st.text(st.characters(), max_size=60))
def test_junit_is_well_formed_whatever_a_board_printed(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    result = ScenarioResult("s", text, Outcome.FAIL, text)
    run = RunRecord(1, 1.0, 2.0, text, (BoardRecord("b", "esp32", FirmwareRecord(text, text, text), (result,)),))
    case = junit(run, tmp_path_factory.getbasetemp()).find("testsuite/testcase/failure")
    assert case is not None


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        write_junit(sample(), tmp_path / "file" / "junit.xml")


@pytest.mark.parametrize(
    ("measured", "unit", "text"),
    [(12, "ms", "12 ms"), ("12 ms", "ms", "12 ms"), (12.5, "us", "12.5 µs"), (3, "1", "3"), ("ok", "-", "ok")],
)
def test_a_figure_stands_in_junit_with_its_unit_once(measured: Value, unit: str, text: str, tmp_path: Path) -> None:
    kind = "state" if isinstance(measured, str) else "count" if unit == "1" else "time"
    figure = Measurement("x", kind, unit, measured, None, "any", Outcome.PASS)
    result = ScenarioResult("mine", "one", Outcome.PASS, measurements=(figure,))
    board = BoardRecord("b", "esp32", FirmwareRecord("", "", ""), (result,))
    write_junit(RunRecord(1, 1.0, 2.0, "harness run", (board,)), tmp_path / "j.xml")
    assert [e.text for e in ET.parse(tmp_path / "j.xml").iter("system-out")] == [f"pass     x: {text} (any)"]
