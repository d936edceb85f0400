"""The emulated boards' own machinery, without a compiler or QEMU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from . import builds, page, source
from .bench import Result
from .boards import BOARDS, DEFECTS, Board, Defect, healthy_board
from .builds import AN385, Firmware
from .matrix import BLAMED, CAUGHT, LOST, MISSED, TOLD, finding, matrix
from .table import cell, table
from .tools import Unavailable, require


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match=r"qemu-system-arm.*apt-get install .*gcc-arm-none-eabi"):
        require(("qemu-system-arm", "arm-none-eabi-gcc"))


def test_the_mirror_is_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "Other http://localhost/other/\nDebian-Security http://localhost/security/\nDebian http://localhost/debian/\n"
    )
    monkeypatch.setattr(source, "run", lambda *_arguments, **_options: said)
    monkeypatch.setattr(source, "require", lambda _names: None)
    assert source.mirror() == "http://localhost/debian/"


def test_a_machine_without_debians_archive_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "run", lambda *_arguments, **_options: "Ubuntu http://localhost/ubuntu/\n")
    monkeypatch.setattr(source, "require", lambda _names: None)
    with pytest.raises(Unavailable, match="no Debian archive"):
        source.mirror()


def test_each_board_and_each_defect_is_a_build_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "run", lambda *_arguments, **_options: "12.2")
    boards = [*BOARDS, *(defect.board for defect in DEFECTS)]
    assert len({board.id for board in boards}) == len(boards)
    assert len({str(board.firmware and (board.firmware.suite, board.firmware.described())) for board in boards}) == len(
        boards
    )


def test_settings_come_after_the_ports_own() -> None:
    lines = builds._header(Firmware(AN385, "sid", whole=True, settings={"MICROPY_SCHEDULER_DEPTH": "2"})).splitlines()
    assert lines[0] == "#include <mpconfigport.h>"
    assert lines[-2:] == ["#undef MICROPY_SCHEDULER_DEPTH", "#define MICROPY_SCHEDULER_DEPTH (2)"]


def test_a_cell_counts_passed_failed_errors_skipped() -> None:
    outcomes = ("pass", "marginal", "error", "skipped", "skipped", "skipped")
    assert cell([{"outcome": outcome} for outcome in outcomes]) == "2 / 0 / 1 / 3"


def test_each_defect_is_to_be_caught_or_says_why_not() -> None:
    assert [defect.name for defect in DEFECTS if bool(defect.caught) == bool(defect.hidden)] == []


def test_each_defect_has_its_healthy_board() -> None:
    assert {healthy_board(defect).id for defect in DEFECTS} == {"m3-flash", "rv32-root"}


def figure(name: str, measured: object, *, verdict: str = "pass", kind: str = "heap") -> dict[str, Any]:
    unit = {"heap": "B", "time": "us"}[kind]
    return {"name": name, "kind": kind, "unit": unit, "measured": measured, "limit": "its limit", "verdict": verdict}


def scenario(name: str, outcome: str = "pass", *figures: dict[str, Any], reason: str = "") -> dict[str, Any]:
    return {"suite": "reload", "name": name, "outcome": outcome, "reason": reason, "measurements": list(figures)}


def run_of(*scenarios: dict[str, Any], problem: str = "", seconds: float = 1.0) -> Result:
    return Result(Board("b", None, ""), "1.26", {"problem": problem, "scenarios": list(scenarios)}, seconds)


HEALTHY = run_of(scenario("one", "pass", figure("one.heap", 64)), scenario("two"))
SEEN = Defect("name", {}, "what is wrong", caught=("reload: one",))
UNSEEN = Defect("name", {}, "what is wrong", hidden="the port's choice")


def test_a_defect_is_caught_by_a_failure_and_told_by_a_skip() -> None:
    failed = run_of(scenario("one", "fail", figure("one.heap", 96, verdict="fail")), scenario("two"))
    caught = finding(SEEN, failed, HEALTHY)
    assert (caught.came, caught.by, caught.problem) == (
        CAUGHT, ("reload: one (one.heap 96 B, expected its limit)",), "",
    )  # fmt: skip
    skipped = finding(UNSEEN, run_of(HEALTHY.content["scenarios"][0], scenario("two", "skipped", reason="no")), HEALTHY)
    assert (skipped.came, skipped.by, skipped.problem) == (TOLD, ("skipped: reload: two: no",), "")


def test_a_defect_that_a_limit_hides_is_missed_with_the_limit() -> None:
    moved = finding(UNSEEN, run_of(scenario("one", "pass", figure("one.heap", 80)), scenario("two")), HEALTHY)
    assert (moved.came, moved.problem) == (MISSED, "")
    assert moved.hidden == ("one.heap 80 B instead of 64 B, limit: its limit",)
    assert (
        "| `name` | what is wrong | missed |  | one.heap 80 B instead of 64 B, limit: its limit; the port's choice |"
        in matrix([moved])
    )
    assert "| missed |  | no figure; the port's choice |" in matrix([finding(UNSEEN, HEALTHY, HEALTHY)])


def test_a_defect_that_the_bench_is_blamed_for_is_never_right() -> None:
    for result in (run_of(scenario("two", "error", reason="no answer")), run_of(problem="given up")):
        for defect in (SEEN, UNSEEN):
            told = finding(defect, result, HEALTHY)
            assert told.came is BLAMED
            assert "the bench is blamed" in told.problem


def test_a_defect_that_takes_the_board_along_is_told_so_and_only_where_its_record_says() -> None:
    losing = replace(SEEN, loses_board=True)
    gone = "it hung. Since then the board stays away, so it cannot be told whose fault that is"
    lost = finding(losing, run_of(scenario("one", "error", reason=gone)), HEALTHY)
    assert (lost.came, lost.problem) == (LOST, "")
    assert "expected: board lost" in finding(losing, HEALTHY, HEALTHY).problem
    assert "expected: caught" in finding(SEEN, run_of(scenario("one", "error", reason=gone)), HEALTHY).problem
    elsewhere = finding(losing, run_of(scenario("two", "error", reason=gone)), HEALTHY)
    assert "board lost by reload: two" in elsewhere.problem
    other = finding(losing, run_of(scenario("one", "error", reason="no answer")), HEALTHY)
    assert other.came is BLAMED and other.problem


def test_what_is_seen_is_held_against_the_defects_record() -> None:
    other = run_of(scenario("two", "fail", reason="by itself"))
    assert "not seen by reload: one" in finding(SEEN, other, HEALTHY).problem
    assert "missed, expected: caught" in finding(SEEN, HEALTHY, HEALTHY).problem
    assert "caught, expected: missed" in finding(UNSEEN, other, HEALTHY).problem


def test_the_table_of_several_runs_has_the_ranges() -> None:
    def run(outcome: str, heap: int, loop: float, seconds: float) -> Result:
        figures = figure("one.heap", heap), figure("bench.loop", loop, kind="time")
        return run_of(scenario("one", "pass", *figures), scenario("two", outcome), seconds=seconds)

    runs = [run("pass", 64, 1000, 39.6), run("error", 64, 1020, 52.2), run("pass", 80, 1000, 44.0)]
    assert "| `b` | 1.26 | 1-2 / 0 / 0-1 / 0 | 1-2 / 0 / 0-1 / 0 | 40-52 | 0 of 1 | 2.0 % |" in table(runs)
    assert "3 runs of each board" in table(runs)
    assert "| `b` | 1.26 | 2 / 0 / 0 / 0 | 2 / 0 / 0 / 0 | 40 |" in table(runs[:1])


def test_a_part_of_a_page_is_replaced_and_nothing_else() -> None:
    text = "a\n<!-- made: one, by a command -->\nold\n<!-- end: one -->\nb\n<!-- made: two -->\n<!-- end: two -->\n"
    new = page.replaced(text, "one", "new\n\n")
    assert new == text.replace("old", "new")
    assert page.replaced(new, "one", "new") == new
    with pytest.raises(LookupError, match="three"):
        page.replaced(text, "three", "")


def test_the_pages_have_the_parts_that_are_made() -> None:
    made = {"emulated-board.md": ("runs", "reasons", "defects"), "times.md": ("weights", "residuals", "each")}
    for file, parts in made.items():
        text = (page.DOCS / file).read_text("utf-8")
        for name in parts:
            page.replaced(text, name, "")


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_the_emulator_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Also when that was killed, and nothing of it could be run any more."""
    pid = tmp_path / "pid"
    emulator = tmp_path / "qemu"
    said = "char device redirected to /dev/pts/7 (label serial0)"
    emulator.write_text(f"#!/bin/sh\necho $$ > {pid}\necho '{said}'\nexec sleep 600\n")
    emulator.chmod(0o755)
    program = (
        "from tests.emulated.qemu import emulated\nimport time\n"
        f"with emulated(['{emulator}']) as emulator:\n    print(emulator.port, flush=True)\n    time.sleep(600)\n"
    )
    root = Path(__file__).resolve().parents[2]
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "/dev/pts/7\n"
    number = int(pid.read_text())
    owner.kill()
    owner.wait(10)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    os.kill(number, 9)
    pytest.fail("the emulator outlived its owner")
