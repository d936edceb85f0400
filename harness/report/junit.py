"""A run as JUnit XML, as CI systems read it: one suite a board, one case a scenario."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from pathlib import Path

from harness.results.record import RunRecord, ScenarioResult
from harness.verdict.limits import number
from harness.verdict.outcome import Outcome

_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.SKIPPED: "skipped"}


def _clean(text: str) -> str:
    return _INVALID.sub("?", text)


def write_junit(run: RunRecord, path: Path) -> None:
    root = ET.Element("testsuites", name="harness")
    for board in run.boards:
        counts = {tag: sum(_TAGS.get(s.outcome) == tag for s in board.scenarios) for tag in _TAGS.values()}
        cases = list(board.scenarios)
        if board.problem and not cases:
            cases = [ScenarioResult("bench", "make ready", Outcome.ERROR, board.problem)]
            counts["error"] = 1
        suite = ET.SubElement(
            root,
            "testsuite",
            name=board.id,
            tests=str(len(cases)),
            failures=str(counts["failure"]),
            errors=str(counts["error"]),
            skipped=str(counts["skipped"]),
            time=f"{sum(s.seconds for s in cases):.3f}",
        )
        for scenario in cases:
            _case(suite, board.id, scenario)
    tree = ET.ElementTree(root)
    ET.indent(tree)
    path.parent.mkdir(parents=True, exist_ok=True)
    tree.write(path, encoding="utf-8", xml_declaration=True)


def _case(suite: ET.Element, board: str, scenario: ScenarioResult) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=f"{board}.{scenario.suite}",
        name=_clean(scenario.name),
        time=f"{scenario.seconds:.3f}",
    )
    tag = _TAGS.get(scenario.outcome)
    if tag:
        note = ET.SubElement(case, tag, message=_clean(scenario.reason[:500]))
        note.text = _clean(scenario.reason)
    if scenario.measurements:
        lines = [
            f"{m.verdict.value:8} {m.name}: {number(m.measured)} {m.unit} ({m.limit})" for m in scenario.measurements
        ]
        ET.SubElement(case, "system-out").text = _clean("\n".join(lines))
