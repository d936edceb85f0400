"""``harness conformance`` as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = """
name: test bench
boards:
  - id: tv8266
    chip: esp8266
    runtime: micropython
    virtual: {}
    firmware: {build: virtual}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    tests = tmp_path / "t"
    tests.mkdir()
    (tests / "good.py").write_text("print(1)")
    (tests / "other.py").write_text("import sys\nprint(sys.implementation.name)")
    (tests / "skip.py").write_text("print('SKIP')\nraise SystemExit")
    (tests / "stuck.py").write_text("while True: pass")
    return tmp_path


def conformance(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", "conformance", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_a_run_shows_each_failure_with_its_first_difference(folder: Path) -> None:
    done = conformance(folder, "t", "--timeout", "1", "--json", "out.json")
    assert done.returncode == 1, done.stderr
    assert "failed  other.py: output differs at line 1" in done.stdout
    assert "expected 'cpython'" in done.stdout and "came     'micropython'" in done.stdout
    assert "failed  stuck.py: the program did not end within 1 s" in done.stdout
    assert "skipped     1  the program says so" in done.stdout
    report = json.loads((folder / "out.json").read_text())
    assert report["counts"] == {"passed": 1, "failed": 2, "skipped": 1, "not_run": 0}
    assert report["facts"]["name"] == "micropython" and report["exit_code"] == 1
    other = next(result for result in report["results"] if result["name"] == "other.py")
    assert other["difference"] == {"line": 1, "expected": "cpython", "came": "micropython"}


def test_a_run_on_a_board_gives_what_the_reference_gives(folder: Path) -> None:
    programs = ["t/good.py", "t/other.py", "t/skip.py"]
    on_board = conformance(folder, *programs, "--on", "tv8266", "--flash", "--json", "board.json")
    on_reference = conformance(folder, *programs, "--json", "reference.json")
    assert on_board.returncode == on_reference.returncode == 1, on_board.stdout + on_board.stderr
    results = []
    for name in ("board.json", "reference.json"):
        report = json.loads((folder / name).read_text())
        results.append([{**result, "seconds": 0} for result in report["results"]])
    assert results[0] == results[1]
    again = conformance(folder, "t/good.py", "--on", "tv8266")
    assert again.returncode == 0, again.stdout + again.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no test program or folder 'nowhere'"),
        (["t", "--on", "nothing"], "there is no VM 'nothing'"),
        (["t", "--on", "t/good.py"], "neither a WASI build nor an executable"),
        (["t", "--on", "tv8266", "--heap", "65536"], "--heap does not go with a board"),
        (["t", "--heap", "1"], "--heap 1 is not possible"),
        (["t", "--timeout", "0"], "--timeout 0 is not possible"),
        (["t", "--json", "no/such/folder.json"], "cannot be written"),
        (["t/skip.py"], "nothing was compared"),
    ],
)
def test_what_cannot_be_is_said_in_one_message(folder: Path, arguments: list[str], said: str) -> None:
    done = conformance(folder, *arguments)
    assert done.returncode == 2
    assert said in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def test_ctrl_c_leaves_what_was_done_in_the_report(folder: Path) -> None:
    command = [sys.executable, "-u", "-m", "harness", "conformance", "t/good.py", "t/stuck.py", "t/skip.py"]
    command += ["-v", "--json", "out.json"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert "good.py" in process.stdout.readline()  # the next one never ends
    os.kill(process.pid, signal.SIGINT)
    rest = process.communicate(timeout=30)[0]
    assert process.returncode == 130, rest
    assert "interrupted" in rest
    report = json.loads((folder / "out.json").read_text())
    assert report["interrupted"] is True
    assert report["counts"] == {"passed": 1, "failed": 0, "skipped": 0, "not_run": 2}
