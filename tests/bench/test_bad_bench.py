"""A bad bench in whole runs: its faults are errors in every report and in the exit code, and never the firmware's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.bench.health import QUARANTINE_AFTER, HealthBook, State
from harness.formats.virtual_image import layout
from harness.inventory.load import load_bench
from harness.inventory.locks import board_lock
from harness.virtual.flash_files import FlashFiles
from harness.virtual.nor_flash import Flash

BENCH = """
boards:
  - id: tv32
    chip: esp32
    runtime: micropython
    virtual: {{pace: fast, faults: {faults}}}
    firmware: {{build: virtual}}
"""
#: Scenarios of a suite: "well" passes; "dead" takes the port away; the rest are about failures.
SUITE = """
from pathlib import Path
from harness.runtimes.program import Program
from harness.judging.figures import Figure
from harness.kinds import COUNT
from harness.judging.limits import exactly

FIGURE = Figure("figure", COUNT)
HERE = Path(__file__).parent


def figure(scenario, value, wanted=1):
    scenario.board.run("print(6*7)", timeout=10.0)
    scenario.take(FIGURE, value, limit=exactly(wanted))


def test_a_well(scenario):
    figure(scenario, 1)


def test_b_gone(scenario):
    scenario.bench.attached.device.injector.fault(kind="gone")
    for _ in range(1000):  # the port goes on a thread of its own, so a first answer or two may still come
        figure(scenario, 1)


def test_c_afterwards(scenario):
    figure(scenario, 1)


def test_wrong(scenario):
    with (HERE / "wrong").open("a") as log:
        log.write("x")
    figure(scenario, 2)


def test_wrong_once(scenario):
    first = not (HERE / "once").exists()
    (HERE / "once").touch()
    figure(scenario, 2 if first else 1)


def test_port_goes_in_a_file(scenario):
    gone = {"kind": "vanish", "direction": "to-board", "behind": "_r('", "after": 1500, "seconds": 0.5}
    with scenario.files({"first.bin": b"x" * 100}):
        scenario.bench.attached.device.injector.fault(**gone)
        with scenario.files({"second.bin": b"x" * 20000}):
            figure(scenario, 1)


def test_resets_once(scenario):
    if not (HERE / "reset").exists():
        (HERE / "reset").touch()
        scenario.bench.attached.device.injector.fault(kind="reset-running", after=5)
    figure(scenario, 1)


def test_slow(scenario):
    import time
    with (HERE / "times").open("a") as log:
        log.write(f"{time.time()} ")
        scenario.board.run("print(1)")
        time.sleep(1.0)
        log.write(f"{time.time()}\\n")
    figure(scenario, 1)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH.format(faults="[]"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_own.py").write_text(SUITE)
    return tmp_path


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def run(folder: Path, keyword: str) -> tuple[int, dict[str, tuple[str, str]], dict[str, int]]:
    """Exit code, outcome and reason of each scenario, and what JUnit counts."""
    done = harness(folder, "run", "own", "-k", keyword, "--json", "out.json", "--junit", "out.xml")
    report = json.loads((folder / "out.json").read_text())
    assert report["exit_code"] == done.returncode
    scenarios = {s["name"]: (s["outcome"], s["reason"]) for b in report["boards"] for s in b["scenarios"]}
    root = ET.parse(folder / "out.xml").getroot()
    return done.returncode, scenarios, {tag: len(root.findall(f".//{tag}")) for tag in ("failure", "error")}


def test_a_board_that_goes_away_is_an_error_everywhere(folder: Path) -> None:
    code, scenarios, junit = run(folder, "test_a or test_b or test_c")
    assert code == 3
    assert [scenarios[name][0] for name in ("a_well", "b_gone", "c_afterwards")] == ["pass", "error", "error"]
    assert junit == {"failure": 0, "error": 2}
    health = HealthBook(folder / ".harness").of("tv32")
    assert health.state in (State.SUSPECT, State.RECOVERING, State.QUARANTINED) and health.reason


def test_a_good_flash_ends_a_row_of_faults_and_a_night_takes_a_well_board_back(folder: Path) -> None:
    book = HealthBook(folder / ".harness")
    book.fault("tv32", "it was bad")
    run(folder, "test_a")  # a new folder: it is written
    assert book.of("tv32").state is State.OK and book.of("tv32").faults == 0
    for _ in range(QUARANTINE_AFTER):
        book.fault("tv32", "it was bad")
    code, scenarios, _ = run(folder, "test_a")
    assert code == 3 and "quarantine" in scenarios["a_well"][1]
    night = harness(folder, "nightly", "own", "--out", "n", "--board-minutes", "1")
    (board,) = json.loads((folder / "n" / "run.json").read_text())["boards"]
    assert {s["name"]: s["outcome"] for s in board["scenarios"]}["a_well"] == "pass", night.stdout
    assert [e["text"] for e in board["events"] if "taken back" in e["text"]] == ["taken back: it could be made ready"]


def test_the_fault_that_brings_quarantine_is_an_event_of_its_run(folder: Path) -> None:
    run(folder, "test_a")  # it is written
    for _ in range(QUARANTINE_AFTER - 1):
        HealthBook(folder / ".harness").fault("tv32", "it was bad")
    run(folder, "test_b")
    (board,) = json.loads((folder / "out.json").read_text())["boards"]
    told = [(event["scenario"], event["text"]) for event in board["events"] if event["kind"] == "quarantine"]
    assert len(told) == 1
    assert told[0][0] == "own: b_gone" and told[0][1].startswith(f"after {QUARANTINE_AFTER} bench faults: ")


def test_a_run_that_ends_in_trouble_leaves_no_file_on_the_board(folder: Path) -> None:
    code, scenarios, _ = run(folder, "test_port_goes")
    assert (code, scenarios["port_goes_in_a_file"][0]) == (3, "error"), scenarios
    content = (folder / ".harness/virtual/tv32.flash").read_bytes()
    flash = Flash(len(content))
    flash.program(0, content)
    assert FlashFiles(flash, *layout("esp32")["vfs"]).listdir("/") == [("boot.py", False)]


def test_only_a_failure_that_comes_again_is_the_firmwares(folder: Path) -> None:
    code, scenarios, junit = run(folder, "test_wrong or resets_once")
    assert code == 1 and junit == {"failure": 1, "error": 2}
    assert scenarios["wrong"][0] == "fail" and "expected exactly 1" in scenarios["wrong"][1]
    assert (folder / "own" / "wrong").read_text() == "xx"
    for name in ("wrong_once", "resets_once"):
        outcome, reason = scenarios[name]
        assert outcome == "error" and "failed once" in reason and "First: " in reason
    (board,) = json.loads((folder / "out.json").read_text())["boards"]
    kinds = {(event["kind"], event["scenario"]) for event in board["events"]}
    assert {("retry", f"own: {name}") for name in ("wrong", "wrong_once", "resets_once")} <= kinds
    assert ("reset", "own: wrong") in kinds
    wrong = next(one for one in board["scenarios"] if one["name"] == "wrong")
    path, _, piece = wrong["transcript"].partition("#")
    begin, _, end = piece.partition("-")
    said = (folder / ".harness" / path).read_text()[int(begin) : int(end)]
    assert said.count('"call"') >= 2 and "retry: failed, looked at again" in said


def test_a_board_in_quarantine_costs_nothing_and_is_released_by_a_check(folder: Path) -> None:
    book = HealthBook(folder / ".harness")
    for _ in range(QUARANTINE_AFTER):
        book.fault("tv32", "it was bad")
    code, scenarios, _ = run(folder, "test_a")
    assert code == 3 and "quarantine" in scenarios["a_well"][1]
    (transcript,) = (folder / ".harness" / "transcripts").glob("run-1-*/tv32.jsonl")
    assert not transcript.read_text()
    assert "it was bad" in json.loads(harness(folder, "boards", "--json", "-").stdout)["boards"][0]["health"]
    assert harness(folder, "boards", "check", "tv32").returncode == 0
    assert book.of("tv32").state is State.OK


def test_two_runs_at_once_share_a_board_one_after_the_other(folder: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", "own", "-k", "test_slow"]
    both = [subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    out = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0], out
    times = sorted(tuple(map(float, line.split())) for line in (folder / "own" / "times").read_text().splitlines())
    assert len(times) == 2 and times[0][1] <= times[1][0]
    transcripts = list((folder / ".harness" / "transcripts").glob("run-*/tv32.jsonl"))  # neither replaced the other's
    assert len(transcripts) == 2 and all(one.read_text().count('"kind": "session"') == 1 for one in transcripts)


def test_a_run_that_is_killed_leaves_its_board_free_at_once(folder: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", "own", "-k", "test_slow"]
    killed = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, start_new_session=True)
    notes = folder / ".harness" / "locks"
    end = time.monotonic() + 60
    while not (found := list(notes.glob("*.json")) if notes.exists() else []) and time.monotonic() < end:
        time.sleep(0.05)
    holder = json.loads(found[0].read_text())["pid"]
    os.kill(holder, signal.SIGKILL)
    killed.kill()
    killed.wait()
    (board,) = load_bench(folder / "boards.yaml").boards
    with board_lock(board, folder / ".harness", timeout=2.0):
        pass
