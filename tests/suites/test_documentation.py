"""docs/suites.md names every scenario, and every defect by name or by a pattern with a star."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

from harness.virtual.defects import DEFECTS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "suites.md").read_text("utf-8")


def test_every_scenario_has_its_entry() -> None:
    names = {
        name.replace("_", " ")
        for path in (ROOT / "suites").rglob("test_*.py")
        for name in re.findall(r"^def test_(\w+)\(", path.read_text("utf-8"), re.MULTILINE)
    }
    plain = TEXT.replace(",", "").lower()
    missing = [name for name in sorted(names) if name not in plain and not name.startswith(("from ", "globals"))]
    assert missing == []


def test_every_defect_proves_a_scenario() -> None:
    words = set(re.findall(r"[a-z0-9_*]+", TEXT))
    leaks = {"leak16", "leak64", "leak1k"}
    missing = [name for name in DEFECTS if not any(fnmatch.fnmatch(name, word) for word in words if len(word) > 4)]
    assert missing == [] and leaks <= words


def test_every_defect_is_to_be_caught_by_a_suite_that_there_is() -> None:
    suites = {path.name for path in (ROOT / "suites").iterdir() if path.is_dir()}
    assert {defect.suite for defect in DEFECTS.values()} <= suites
    assert len(DEFECTS) >= 40
