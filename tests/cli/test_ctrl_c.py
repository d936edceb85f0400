"""Ctrl-C at any moment ends with 130 and one line, and what had finished is kept and shown."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.results.store import Store

ROOT = Path(__file__).parents[2]
BENCH = """
boards:
  - {id: slow, chip: stm32f405, runtime: micropython, virtual: {}, firmware: {build: virtual}}
  - {id: quick, chip: esp32, runtime: micropython, virtual: {}, firmware: {build: virtual}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    return tmp_path


def started(folder: Path, *arguments: str, path: str = str(ROOT)) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": path, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def until_line(process: subprocess.Popen[str], words: str) -> str:
    """What is printed until a line has these words."""
    assert process.stdout is not None
    seen = ""
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"no {words!r} in {seen} {process.communicate()[1]}")


def until_there(process: subprocess.Popen[str], there: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not there():
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.01)


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """As a terminal does it: the whole group gets the signal. Its output from here on, and its one line."""
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 130, (output, errors)
    (line,) = errors.splitlines()
    assert line.startswith("harness: interrupted")
    return output, line


def test_while_nothing_but_imports_has_happened(folder: Path) -> None:
    (folder / "shadow").mkdir()
    (folder / "shadow" / "click.py").write_text(
        "import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(100)\n"
    )
    process = started(folder, "flash", path=f"{folder / 'shadow'}{os.pathsep}{ROOT}")
    until_there(process, (folder / "importing").exists)
    assert interrupted(process) == ("", "harness: interrupted")


def test_where_python_would_end_by_the_signal_itself(folder: Path) -> None:
    """An interrupt within ``exec`` of a text, as dataclasses are made: Python remembers it to its end."""
    (folder / "shadow").mkdir()
    (folder / "shadow" / "click.py").write_text(
        "import pathlib\nexec(\"pathlib.Path('importing').touch()\\nimport time\\ntime.sleep(100)\")\n"
    )
    process = started(folder, "flash", path=f"{folder / 'shadow'}{os.pathsep}{ROOT}")
    until_there(process, (folder / "importing").exists)
    interrupted(process)


@pytest.mark.parametrize(
    "step", ["bench boards.yaml", "slow: starting the virtual board", "slow: compare", "slow: write"]
)
def test_in_each_phase_of_a_flash(folder: Path, step: str) -> None:
    process = started(folder, "flash", "--boards", "slow")
    until_line(process, step)
    output, line = interrupted(process)
    assert "Traceback" not in output
    if step.startswith("slow"):
        assert line == "harness: interrupted; slow may hold a part of its firmware: 'harness flash' writes the rest"


def test_a_run_shows_and_writes_what_had_finished(folder: Path) -> None:
    process = started(folder, "run", "calibration", "--boards", "quick", "--junit", "junit.xml", "--json", "run.json")
    until_line(process, "pass     calibration: micro benchmarks")
    output, line = interrupted(process)
    assert line == "harness: interrupted; what had finished is in the store, as run 1"
    assert "interrupted before the end" in output
    assert "micro_benchmarks" in (folder / "junit.xml").read_text()
    assert "micro_benchmarks" in (folder / "run.json").read_text()


def test_a_night_can_be_gone_on_with(folder: Path) -> None:
    process = started(folder, "nightly", "calibration", "--boards", "quick", "--out", "night")
    until_line(process, "pass     calibration: micro benchmarks")
    _, line = interrupted(process)
    assert line == "harness: interrupted; 'harness nightly --resume' goes on where it stopped"
    assert Store(folder / ".harness" / "results.sqlite").load_run(1).interrupted
    process = started(folder, "nightly", "calibration", "--boards", "quick", "--out", "night", "--resume")
    output, _ = process.communicate(timeout=200)
    assert process.returncode == 0, output
    assert "going on with run 1" in output
    again = [line for line in output.splitlines() if " s  quick" in line and "micro benchmarks" in line]
    assert not again  # it is not done again


@pytest.mark.parametrize(
    "command",
    [
        ["qualify", "quick"],
        ["bisect", "--board", "quick", "--measurement", "reload.leak", "healthy", "leak64"],
        ["nightly", "--out", "night"],
        ["run"],
    ],
    ids=lambda command: command[0],
)
def test_while_the_scenarios_are_being_found(folder: Path, command: list[str]) -> None:
    process = started(folder, *command)
    until_there(process, (folder / ".harness" / "logs").exists)
    interrupted(process)


def test_while_faults_are_injected(folder: Path) -> None:
    process = started(folder, "soak", "--faults", "--count", "2", "--bench", "boards.yaml")
    until_there(process, lambda: any(folder.glob("vm-harness-soak-*/virtual")))
    _, line = interrupted(process)
    assert line == "harness: interrupted; 0 of 2 faults had been injected"
