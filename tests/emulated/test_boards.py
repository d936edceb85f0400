"""The suites against upstream MicroPython as built here: nothing that a firmware lacks may be held against it.

Slow (it builds the firmware once, and runs all suites on each board), so only `tox -e emulated` runs it; where a tool
is missing, the reason of the skip names the Debian package. docs/emulated-board.md has the table of what came.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from .bench import Result, run_suites
from .boards import BOARDS, DEFECTS, Board
from .tools import Unavailable

#: `tox -e emulated` sets it to 1, CI to the boards that it has the time for; CI also wants that nothing is skipped for
#: lack of a tool.
WANTED, REQUIRED = os.environ.get("HARNESS_EMULATED"), os.environ.get("CI")

pytestmark = pytest.mark.skipif(not WANTED, reason="builds firmware and takes minutes: tox -e emulated runs it")


#: The boards whose VM has a clock; without one no figure is taken.
TIMED = tuple(board for board in BOARDS if board.firmware is None or board.firmware.whole)


def _params(boards: tuple[Board, ...] = BOARDS) -> list[object]:
    """One group for pytest-xdist each: the tests of a board share one run."""
    if WANTED and WANTED != "1":
        boards = tuple(board for board in boards if board.id in WANTED.split(","))
    return [pytest.param(board, id=board.id, marks=pytest.mark.xdist_group(board.id)) for board in boards]


_done: dict[str, Result | Unavailable] = {}


@pytest.fixture
def result(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What one run of all suites says of the board."""
    board: Board = request.param
    if board.id not in _done:
        try:
            came = run_suites(board, tmp_path_factory.mktemp(board.id))
            if errors := [s["reason"] for s in came.scenarios("error")]:
                # An error is the bench's, and here the bench is a host with other work: an emulator that
                # hardly runs answers after the deadline. Once more, and told; a failure is never looked at twice.
                print(f"{board.id}: run again after {errors}")
                came = run_suites(board, tmp_path_factory.mktemp(board.id))
            _done[board.id] = came
        except Unavailable as problem:
            _done[board.id] = problem
    told = _done[board.id]
    if isinstance(told, Unavailable):
        if REQUIRED:
            pytest.fail(str(told))
        pytest.skip(str(told))
    return told


@pytest.mark.parametrize("result", _params(), indirect=True)
def test_nothing_that_it_lacks_is_held_against_it(result: Result) -> None:
    assert result.content["problem"] == ""
    bad = [f"{s['outcome']}: {s['name']}: {s['reason']}" for s in result.scenarios("fail", "error")]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("result", _params(), indirect=True)
def test_each_skip_says_why(result: Result) -> None:
    for scenario in result.scenarios("skipped"):
        print(f"{scenario['name']}: {scenario['reason']}")
    assert all(scenario["reason"] for scenario in result.scenarios("skipped"))


@pytest.mark.parametrize("result", _params(tuple(board for board in BOARDS if not board.firmware)), indirect=True)
def test_a_datagram_over_sockets_that_nobody_here_wrote_wakes_the_poller(result: Result) -> None:
    names = [scenario["name"] for scenario in result.scenarios("pass")]
    assert "the_poller_sleeps_until_a_datagram_comes" in names


@pytest.mark.parametrize(
    "result", _params(tuple(board for board in BOARDS if board.firmware and board.firmware.whole)), indirect=True
)
def test_objects_take_the_bytes_that_they_take_in_the_reference(result: Result) -> None:
    """Allocated bytes of an independent build of the VM, with no tolerance: the heap rule's ground."""
    taken = next(s for s in result.content["scenarios"] if s["name"] == "allocations")
    off = {m["name"]: (m["measured"], m["reference"]) for m in taken["measurements"] if m["measured"] != m["reference"]}
    assert taken["measurements"]
    assert not off


#: What each of these boards can do, and nobody told the harness that it can: to be run, and not to be skipped.
REACHED = {
    "m3-older-fat": (
        "files_are_kept",
        "the_vm_restarts_however_it_is_asked_to[exit]",
        "rate",
        "single_operations_are_atomic",
    ),
    "m3-rom": (
        "in_place_from_romfs",
        "a_replaced_image_runs_after_the_reset_and_the_old_is_gone",
        "a_damaged_image_leaves_the_board_bootable[magic]",
        "a_board_is_rescued_from_its_main_py[prints_for_ever]",
    ),
}


@pytest.mark.parametrize("result", _params(tuple(board for board in BOARDS if board.id in REACHED)), indirect=True)
def test_what_its_vm_says_that_it_can_is_run(result: Result) -> None:
    passed = {scenario["name"] for scenario in result.scenarios("pass")}
    assert set(REACHED[result.board.id]) <= passed


@pytest.mark.parametrize("result", _params(), indirect=True)
def test_it_is_the_firmware_that_was_built(result: Result) -> None:
    facts = result.content["facts"]
    if result.board.firmware is None:
        assert facts["machine"].startswith("linux")
    else:
        assert f"MicroPython v{result.release}" in facts["version"]


@pytest.mark.parametrize(
    "result",
    _params(tuple(defect.board for defect in DEFECTS if defect.name.startswith("slow-append"))),
    indirect=True,
)
def test_a_list_that_grows_a_third_slower_fails_and_nothing_else(result: Result) -> None:
    times = next(s for s in result.content["scenarios"] if s["name"] == "micro_benchmarks")
    assert times["outcome"] == "fail"
    off = [m["name"] for m in times["measurements"] if m["name"].startswith("bench.") and m["verdict"] != "pass"]
    assert off == ["bench.appends"]


def _latency(board: Board, folder: Path, *, late: float) -> dict[str, Any]:
    """The latency scenario alone, on a host that keeps the emulator from running for ``late`` seconds at a time."""
    try:
        came = run_suites(board, folder, options=("interrupt", "-k", "latency"), late=late)
    except Unavailable as problem:
        if REQUIRED:
            pytest.fail(str(problem))
        pytest.skip(str(problem))
    found: dict[str, Any] = next(s for s in came.content["scenarios"] if s["name"] == "latency")
    return found


@pytest.mark.parametrize("board", _params(tuple(board for board in BOARDS if board.id in ("m3-rom", "rv32-root"))))
def test_a_late_host_moves_no_latency(board: Board, tmp_path: Path) -> None:
    """The emulator is stopped for 40 ms, twice in a second; with the clock that QEMU has in its waits a tick was 34 ms
    late on RISC-V."""
    assert _latency(board, tmp_path, late=0.04)["outcome"] == "pass"


@pytest.mark.parametrize(
    "board", _params(tuple(defect.board for defect in DEFECTS if defect.name.startswith("late-timer")))
)
def test_a_timer_that_is_late_fails_on_a_late_host_too(board: Board, tmp_path: Path) -> None:
    latency = _latency(board, tmp_path, late=0.04)
    assert latency["outcome"] == "fail"
    late = {m["name"]: m["measured"] for m in latency["measurements"] if m["name"].endswith("p99")}
    assert late["latency.idle.p99"] == pytest.approx(30_000, rel=0.1)
    assert late["latency.busy.p99"] == pytest.approx(30_000, rel=0.1)
