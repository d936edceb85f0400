"""A run as JUnit XML, as CI systems read it: one suite a board, one case a scenario.

Follows the common denominator of what CI systems accept (the format has no standard of its own): ``failure``,
``error`` and ``skipped`` elements, ``properties`` on the suite. A marginal case passes and says so in a property.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime
from pathlib import Path

from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.kinds import stored
from harness.paths import unwritable
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult

#: Characters that XML 1.0 cannot hold in any form (section 2.2, "Characters").
_INVALID = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TAGS = {Outcome.FAIL: "failure", Outcome.ERROR: "error", Outcome.BROKEN: "error", Outcome.SKIPPED: "skipped"}


def write_junit(run: RunRecord, path: Path) -> None:
    """Raises UsageError when ``path`` cannot be written."""
    root = ET.Element("testsuites", name="harness")
    for board in run.boards:
        _suite(root, run, board)
    tree = ET.ElementTree(root)
    ET.indent(tree)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tree.write(path, encoding="utf-8", xml_declaration=True)
    except OSError as problem:
        raise unwritable(path, problem) from None


def _suite(root: ET.Element, run: RunRecord, board: BoardRecord) -> None:
    cases = [*board.scenarios, *_trouble(run, board)]
    counts = {tag: sum(_TAGS.get(s.outcome) == tag for s in cases) for tag in set(_TAGS.values())}
    suite = ET.SubElement(
        root,
        "testsuite",
        name=_clean(board.id),
        tests=str(len(cases)),
        failures=str(counts["failure"]),
        errors=str(counts["error"]),
        skipped=str(counts["skipped"]),
        time=f"{sum(s.seconds for s in cases):.3f}",
        timestamp=datetime.fromtimestamp(run.started, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    )
    properties = ET.SubElement(suite, "properties")
    firmware = board.firmware
    for name, value in (
        ("chip", board.chip),
        ("firmware", firmware.name),
        ("version", firmware.version),
        ("sha256", firmware.sha256),
    ):
        ET.SubElement(properties, "property", name=name, value=_clean(value))
    for scenario in cases:
        _case(suite, board.id, scenario)


def _trouble(run: RunRecord, board: BoardRecord) -> list[ScenarioResult]:
    """What kept the board from its end, as a case: without one a CI system would show a broken run as good."""
    told = {s.reason for s in board.scenarios if s.outcome is Outcome.ERROR}
    reasons = [board.problem] if board.problem and board.problem not in told else []
    if run.interrupted:
        reasons.append("the run was interrupted before its end")
    elif not board.problem and board.outcome in (Outcome.SKIPPED, Outcome.ERROR) and not told:
        reasons.append("nothing was judged on this board")
    return [ScenarioResult("bench", "board", Outcome.ERROR, reason) for reason in reasons]


def _case(suite: ET.Element, board: str, scenario: ScenarioResult) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=_clean(f"{board}.{scenario.suite}"),
        name=_clean(scenario.name),
        time=f"{scenario.seconds:.3f}",
    )
    if scenario.outcome is Outcome.MARGINAL:
        properties = ET.SubElement(case, "properties")
        ET.SubElement(properties, "property", name="marginal", value=_clean(scenario.reason[:500]))
    tag = _TAGS.get(scenario.outcome)
    if tag:
        note = ET.SubElement(case, tag, message=_clean(scenario.reason[:500]))
        note.text = _clean(scenario.reason)
    if scenario.measurements:
        lines = [f"{m.verdict.value:8} {m.name}: {_figure(m)}" for m in scenario.measurements]
        ET.SubElement(case, "system-out").text = _clean("\n".join(lines))


def _figure(m: Measurement) -> str:
    if m.measured is None:
        return m.reason
    return f"{stored(m.kind).written(m.measured, m.unit)} ({m.limit})"


def _clean(text: str) -> str:
    return _INVALID.sub("?", text)
