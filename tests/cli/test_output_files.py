"""A report that cannot be written is told before a board is touched, whatever command writes it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.results.store import Store

ROOT = Path(__file__).parents[2]
BENCH = "boards:\n  - {id: quick, chip: esp32, runtime: micropython, virtual: {}, firmware: {build: virtual}}\n"


@pytest.mark.parametrize("target", ["nowhere/report", "folder", "boards.yaml/report", "n" * 300])
@pytest.mark.parametrize(
    "command",
    ["run --json", "run --junit", "run --html", "run --report markdown=", "flash --json", "selfcheck --json",
     "soak --json", "bisect a b --board quick --measurement m --json", "conformance folder --json",
     "explore program.py --json", "wiring quick --json", "reference run program.py --heap-svg"],
)  # fmt: skip
def test_it_is_told_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, target: str) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    arguments = command.split()
    arguments = [*arguments[:-1], arguments[-1] + target] if command.endswith("=") else [*arguments, target]
    ended = CliRunner().invoke(main, arguments)
    assert ended.exit_code == 2, ended.output
    assert "cannot be written: " in ended.output
    assert not (tmp_path / ".harness").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize(("variant", "code"), [("", 3), ("list_room_for_12", 1)])
def test_what_a_run_found_and_its_other_reports_outlive_one_that_fails(tmp_path: Path, variant: str, code: int) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH)
    arguments = ["run", "calibration", "-k", "grow in their steps", "--variant", variant]
    ended = subprocess.run(
        [sys.executable, "-m", "harness", *arguments, "--json", "/dev/full", "--html", "page.html"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert ended.returncode == code, ended.stderr
    assert "/dev/full cannot be written: No space left on device" in ended.stderr
    assert (tmp_path / "page.html").exists()
    record = Store(tmp_path / ".harness" / "results.sqlite").load_run(1)
    assert record.finished
    assert "-k 'grow in their steps'" in record.command  # as it can be typed again
