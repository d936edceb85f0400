"""What becomes of a command whose output goes nowhere: closed, on a full disk, to a reader that left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.results.store import Store

ROOT = Path(__file__).parents[2]
BENCH = "boards:\n  - {id: quick, chip: esp32, runtime: micropython, virtual: {}, firmware: {build: virtual}}\n"
RUN = "run calibration -k 'odd sizes or same name' --html page.html"


def in_shell(folder: Path, line: str) -> subprocess.CompletedProcess[str]:
    (folder / "boards.yaml").write_text(BENCH)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = line.replace("harness", f"'{sys.executable}' -m harness", 1)
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=folder, env=environment, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("command", ["boards", "--version", "run --list"])
def test_output_that_cannot_be_written_is_no_failure_of_the_firmware(tmp_path: Path, command: str) -> None:
    ended = in_shell(tmp_path, f"harness {command} >/dev/full")
    assert ended.returncode == 3
    assert "Traceback" not in ended.stderr
    assert "its output could not be written: No space left on device" in ended.stderr


@pytest.mark.parametrize("output", [">/dev/full", ">&-", "<&- >&-"])
def test_a_run_goes_on_without_its_output(tmp_path: Path, output: str) -> None:
    ended = in_shell(tmp_path, f"harness {RUN} {output}")
    assert ended.returncode == (3 if "full" in output else 0), ended.stderr
    record = Store(tmp_path / ".harness" / "results.sqlite").load_run(1)
    assert record.finished
    assert [scenario.outcome.value for scenario in record.boards[0].scenarios] == ["pass", "pass"]
    assert (tmp_path / "page.html").exists()


def test_a_reader_that_goes_away_ends_it_as_ctrl_c_does(tmp_path: Path) -> None:
    ended = in_shell(tmp_path, f"harness {RUN} | head -1")
    assert ended.returncode == 130, ended.stderr
    assert ended.stderr.startswith("harness: interrupted")
    assert ended.stdout == "bench boards.yaml: quick\n"


def test_a_command_that_was_done_before_its_reader_left_has_its_own_code(tmp_path: Path) -> None:
    assert in_shell(tmp_path, "harness --help | head -1").returncode == 0
