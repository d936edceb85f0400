"""``harness nightly`` as a user runs it: reports, time limits, going on after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.results.store import Store

BENCH = """
boards:
  - id: a
    chip: esp8266
    runtime: micropython
    virtual: {pace: fast}
    firmware: {build: virtual}
  - id: b
    chip: esp32
    runtime: micropython
    virtual: {pace: fast}
    firmware: {build: virtual}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    return tmp_path


def test_a_night_leaves_all_its_reports(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(here / "step.md"))
    done = CliRunner().invoke(main, ["nightly", "calibration", "--out", "n"])
    assert done.exit_code == 0, done.output
    run = json.loads((here / "n/run.json").read_text())
    assert [board["id"] for board in run["boards"]] == ["a", "b"]
    assert (here / "step.md").read_text() == (here / "n/summary.md").read_text()
    assert 'href="run-1.html"' in (here / "n/index.html").read_text()
    assert (here / "n/junit.xml").exists() and (here / "n/run-1.html").exists()


def test_a_board_that_takes_too_long_is_given_up_and_keeps_what_it_has(here: Path) -> None:
    arguments = ["nightly", "reload", "--boards", "a", "--board-minutes", "0.05", "--out", "n"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 3, done.output
    (board,) = json.loads((here / "n/run.json").read_text())["boards"]
    assert board["problem"].startswith("given up: its time of 0.05 min was over; ")
    assert board["problem"].endswith("scenarios have no result")
    assert [one for one in board["scenarios"] if one["outcome"] not in ("pass", "skipped")] == []
    assert "given up: its time of 0.05 min was over" in (here / "n/summary.md").read_text()


def test_the_whole_run_has_an_end_too(here: Path) -> None:
    done = CliRunner().invoke(main, ["nightly", "reload", "--jobs", "1", "--total-minutes", "0.05", "--out", "n"])
    assert done.exit_code == 3, done.output
    first, second = json.loads((here / "n/run.json").read_text())["boards"]
    assert first["problem"].startswith("the time of the whole run, 0.05 min, was over; ")
    assert second["problem"].startswith("the time of the whole run was over before its turn; ")


def test_a_killed_night_goes_on_where_it_stopped(here: Path) -> None:
    command = [sys.executable, "-m", "harness", "nightly", "flash_execution", "--boards", "a", "--out", "n"]
    killed = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    store_file = here / ".harness/results.sqlite"

    def finished() -> list[str]:
        if not store_file.exists():
            return []
        store = Store(store_file)
        runs = store.runs()
        found = [s.name for b in store.load_run(runs[0]).boards for s in b.scenarios] if runs else []
        store.close()
        return found

    end = time.monotonic() + 60
    while len(finished()) < 3 and time.monotonic() < end:
        time.sleep(0.05)  # only to poll; the kill comes at a state, not at a time
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    done = CliRunner().invoke(main, ["nightly", "flash_execution", "--boards", "a", "--resume", "--out", "n"])
    assert done.exit_code == 0, done.output
    assert "going on with run 1" in done.output
    names = finished()
    assert len(names) == len(set(names)) > 8  # each scenario once, and the rest of them, too


def test_without_an_unfinished_night_a_new_one_begins(here: Path) -> None:
    done = CliRunner().invoke(main, ["nightly", "calibration", "--boards", "a", "--resume", "--out", "n"])
    assert done.exit_code == 0, done.output
    assert "nothing to go on with: a new run" in done.output
