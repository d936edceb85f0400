"""Reload: the VM ends and starts again, the chip does not. What must go goes, what must stay stays."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import statistics
import time
from collections.abc import Sequence
from typing import Any

import pytest

from harness.errors import FirmwareFailure
from harness.judging.board_bench import Pair
from harness.judging.board_data import told
from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly
from harness.judging.scenario import Scenario
from harness.kinds import HEAP, STATE, TIME, Value
from harness.runtimes.interface import StartsApplication
from harness.runtimes.program import Program, ask
from harness.runtimes.records import DamagedRecords

RELOADS = 10
_LARGEST = re.compile(rb"max free sz: (\d{1,9})")
#: What stands between the two texts of mem_info.
_AGAIN = b"again"
BLOCK = 16

LEAK = Figure("reload.leak", HEAP, limit=at_most(BLOCK - 1, "B", words="less than one 16-byte block per reload"))
#: A block at each second reload comes to more; a stale word that keeps some at one of two starts does not.
GROWTH = Figure(
    "reload.growth", HEAP, limit=at_most(4 * BLOCK - 1, "B", words=f"less than 4 blocks over {RELOADS} reloads")
)
LARGEST_LOSS = Figure(
    "reload.largest_free_run.loss", HEAP, limit=at_most(8 * BLOCK - 1, "B", words="less than 8 blocks")
)
LEFT = Figure("after.{what}_left", STATE, limit=exactly("False"))
FILE = Figure("file.sha256", STATE)
GLOBALS_LEFT = Figure("{way}.globals_left", STATE, limit=exactly("False"))
FILE_KEPT = Figure("{way}.file", STATE, limit=exactly("kept"))
SECONDS = Figure("{way}.seconds", TIME, "s", at_most(3.0, "s", words="at most 3 s until it takes a program"))
RESCUED = Figure("main.{kind}", STATE, limit=exactly("42"))
PATH = Figure("path.{when}", STATE)
RECURSION = Figure("recursion.{time}", STATE, limit=exactly("RuntimeError"))
AFTER_RECURSION = Figure("recursion.afterwards", STATE, limit=exactly("goes on"))
#: What filled the heap were arrays of 512 bytes: one that outlives its VM is more than stale words can keep.
HEAP_LOST = Figure(
    "load.heap_lost",
    HEAP,
    limit=at_most(7 * BLOCK, "B", words="at most 7 blocks, as stale words on the stack may keep"),
)


def _largest_free_run(pair: Pair) -> int | None:
    """Bytes of the largest free run of heap blocks, from ``micropython.mem_info`` on the board; None: not told.

    It is a text that no program sees, so it cannot come in a record. It comes twice: raises DamagedRecords when the
    two differ.
    """
    first, mark, second = pair.board.other.partition(_AGAIN)
    told = [[int(number) for number in _LARGEST.findall(text)] for text in (first, second)]
    if not mark or told[0] != told[1] or len(told[0]) > 1:
        raise DamagedRecords(f"mem_info told its largest free run as {told[0]} and then as {told[1]}")
    return told[0][0] * BLOCK if told[0] else None


def lost_for_good(largest: Sequence[int]) -> int:
    """By how much the later half of the starts has less than the earlier, in its best and in its worst start.

    The collector is conservative: a stale word on the stack can keep an object in the middle of the heap for one start,
    so the figure has two values, and which of them comes is chance. What is lost lowers both.
    """
    half = len(largest) // 2
    earlier, later = largest[:half], largest[half:]
    return min(max(earlier) - max(later), min(earlier) - min(later))


def _slope(values: list[float]) -> float:
    """Growth per reload: the median over all pairs, which single jumps do not move (Theil-Sen)."""
    pairs = itertools.combinations(enumerate(values), 2)
    return statistics.median((late - early) / (j - i) for (i, early), (j, late) in pairs)


@pytest.mark.figures(LEAK, GROWTH, LARGEST_LOSS)
def test_reloads_neither_leak_nor_fragment(scenario: Scenario) -> None:
    """Ten soft resets in a row: the heap that a fresh VM has stays the same."""
    program = Program.load("heap_after_start")
    used, reference_used, largest = [], [], list[int]()
    # The first start follows whatever was before; leaks are counted from the second on.
    for index in range(RELOADS + 1):
        scenario.step(f"reload {index} of {RELOADS}")
        pair = scenario.run(program)
        if index:
            used.append(pair.board.value("used"))
            reference_used.append(pair.reference.value("used"))
            run = _largest_free_run(pair)
            largest += [run] if run is not None else []
    scenario.take(LEAK, _slope(used), _slope(reference_used), samples=used)
    scenario.take(GROWTH, used[-1] - used[0], reference_used[-1] - reference_used[0], samples=used)
    if len(largest) == RELOADS:
        scenario.take(LARGEST_LOSS, lost_for_good(largest), 0, samples=largest)
    else:
        scenario.skip_figure(LARGEST_LOSS, "this VM's mem_info does not tell its largest free run")


@pytest.mark.runtime("micropython", "circuitpython")
def test_globals_modules_and_paths_are_gone(scenario: Scenario) -> None:
    """What a program left in the VM is not there after a soft reset."""
    mark = f"mark-{random.Random(7).getrandbits(32):08x}"
    left = scenario.run(Program.load("leave_traces", mark=mark))
    scenario.compare(left, prefix="before.", asked={"mark": mark}, source="the program")
    pair = scenario.run(Program.load("look_for_traces"))
    for name in ("global", "module", "path"):
        scenario.take(LEFT.of(name), *pair.text(name))


def test_sys_path_is_what_it_was_at_the_first_start(scenario: Scenario) -> None:
    """sys.path after a restart, and after one of a program that has spoilt it, is that of the chip's start."""
    read, spoil = (Program.load("reload_path", change=change) for change in (False, True))
    scenario.require(read.source)
    if scenario.can_reset and scenario.has_files:
        with scenario.start_file("main.py", b""):  # a main.py does not run at the restarts that follow
            for runtime in scenario.both:
                runtime.hard_reset()
            first = scenario.run(read, fresh=False).board.text("path")
        limit = exactly(first, words=f"{first!r}, as after the chip's reset")
    else:
        first = scenario.run(read).board.text("path")
        limit = exactly(first, words=f"{first!r}, as at the restart before")
    for when, program in (("after_restart", spoil), ("after_a_changed_one", read)):
        scenario.take(PATH.of(when), *scenario.run(program).text("path"), limit=limit)


@pytest.mark.runtime("micropython", "circuitpython")
def test_files_are_kept(scenario: Scenario) -> None:
    """A file written before a soft reset is there after it, byte for byte."""
    data = random.Random(20).randbytes(3000)
    with scenario.files({"hx_kept.bin": data}) as folder:
        scenario.soft_reset()
        path = f"{folder.rstrip('/')}/hx_kept.bin"
        sums = [hashlib.sha256(runtime.get(path)).hexdigest()[:16] for runtime in scenario.both]
        expected = hashlib.sha256(data).hexdigest()[:16]
        scenario.take(FILE, sums[0], sums[1], limit=exactly(expected))


@pytest.mark.needs("pin_loopback")
def test_what_was_running_has_ended(scenario: Scenario) -> None:
    """A timer, a pin's handler, an open file and a waiting callback do not outlive the VM."""
    inputs: dict[str, Any] = {**scenario.wired_pins, "timer": scenario.timer, "path": scenario.folder}
    left = scenario.run(Program.load("reload_leave", **inputs))
    scenario.compare(left, prefix="before.", asked={"timer_runs": "True"}, source="the program")
    asked: dict[str, Value] = {"changes": 0, "edges": 0, "file": "written and not closed", "writable": "True"}
    source = "nothing of a VM goes on after it"
    scenario.compare(scenario.run(Program.load("reload_look", **inputs)), prefix="after.", asked=asked, source=source)


@pytest.mark.needs("rtc_memory")
def test_rtc_memory_and_clock_are_kept(scenario: Scenario) -> None:
    """RTC memory or backup registers filled to their end, and the real-time clock, are there after a soft reset."""
    scenario.port.known("kept_bytes")
    asked = {"clock": "goes on"}
    if size := scenario.port.kept_bytes:
        asked["rtc_memory"] = told(bytes(n * 13 & 255 for n in range(size)))
    for prefix, first in (("before.", True), ("after.", False)):
        program = Program.load("reload_keep", using=scenario.port.kept_in, set=first, kept=scenario.port.kept_bytes)
        scenario.compare(scenario.run(program), prefix=prefix, asked=asked, source="what the program has written")


#: What a program does to restart the VM; "" is Ctrl-D.
WAYS = {"ctrl_d": "", "soft_reset": "import machine\nmachine.soft_reset()", "exit": "import sys\nsys.exit()"}


@pytest.mark.parametrize("way", sorted(WAYS))
def test_the_vm_restarts_however_it_is_asked_to(scenario: Scenario, way: str) -> None:
    """Ctrl-D, machine.soft_reset() and sys.exit(): globals are gone, files are not, and the VM answers in time."""
    scenario.require(WAYS[way])
    board = scenario.board
    board.soft_reset()
    if way == "exit" and scenario.port_is_unknown:
        try:
            board.restart_by(WAYS[way])
        except FirmwareFailure:
            pytest.skip("sys.exit() does not restart this VM, which is its port's choice")
    has_files = scenario.has_files
    with scenario.files({"hx_way.txt": b"kept"} if has_files else {}) as folder:
        assert not board.run("hx_left = 1").stderr
        started = time.monotonic()
        if WAYS[way]:
            board.restart_by(WAYS[way])
        else:
            board.soft_reset()
        seconds = time.monotonic() - started
        left = ask(board, "'hx_left' in globals()")
        scenario.take(GLOBALS_LEFT.of(way), left, "False")
        if has_files:
            kept = board.get(f"{folder.rstrip('/')}/hx_way.txt").decode("ascii", "replace")
            scenario.take(FILE_KEPT.of(way), kept, "kept")
        else:
            scenario.skip_figure(FILE_KEPT.of(way), scenario.no_files)
    scenario.take(SECONDS.of(way), round(seconds, 3))


#: main.py files that a board must be rescued from. The sleep gives a slow host its chance.
RUDE = {
    "raises": b"raise ValueError('on purpose')\n",
    "never_ends": b"while True:\n    pass\n",
    "prints_for_ever": b"while True:\n    print('x' * 60)\n",
    "reloads_at_once": b"import time, machine\ntime.sleep_ms(200)\nmachine.soft_reset()\n",
}


@pytest.mark.parametrize("kind", sorted(RUDE))
def test_a_board_is_rescued_from_its_main_py(scenario: Scenario, kind: str) -> None:
    """main.py that raises, never ends, floods the line or reloads at once: Ctrl-C still leads to a prompt."""
    board = scenario.board
    if not scenario.can_reset and not isinstance(board, StartsApplication):
        pytest.skip("the harness cannot reset this board (reset in boards.yaml)")
    if kind != "raises" and not scenario.sees_ctrl_c:
        pytest.skip("Ctrl-C ends no program on this VM, as it was asked: this one would keep the board")
    scenario.require(RUDE[kind].decode())
    with scenario.start_file("main.py", RUDE[kind]):
        if scenario.can_reset or not isinstance(board, StartsApplication):
            board.hard_reset()
        else:
            board.restart_with_application()
        answer = ask(board, "6 * 7")
    board.soft_reset()
    scenario.take(RESCUED.of(kind), answer, "42")


def test_reload_under_load(scenario: Scenario) -> None:
    """Restarts of a VM whose heap is nearly full and whose queue holds callbacks: it comes back with all its heap."""
    filled = "import micropython\nkept = []\ntry:\n    while True: kept.append(bytearray(512))\n"
    filled += "except MemoryError: pass\nmicropython.schedule(print, 1)"
    scenario.require(filled)
    fresh = Program.load("heap_after_start")
    first = _least_used(scenario, fresh)
    for index in range(3):
        scenario.step(f"full heap {index + 1} of 3")
        for runtime in scenario.both:
            runtime.soft_reset()
            runtime.run(filled)
    last = _least_used(scenario, fresh)
    scenario.take(HEAP_LOST, last[0] - first[0], last[1] - first[1])


def _least_used(scenario: Scenario, program: Program) -> tuple[float, float]:
    """What is used after a start on the board and the reference, in bytes: the least of three starts.

    The collector takes any word on the stack for a pointer, so one start may keep some blocks that the next does not.
    """
    pairs = [scenario.run(program) for _ in range(3)]
    return min(pair.board.value("used") for pair in pairs), min(pair.reference.value("used") for pair in pairs)


@pytest.mark.figures(RECURSION, AFTER_RECURSION)
def test_endless_recursion_ends_the_program_and_not_the_vm(scenario: Scenario) -> None:
    """A function that calls itself without end, twice: RuntimeError each time, and the VM goes on."""
    pair = scenario.run(Program.load("recursion"))
    for time_of_it in ("first", "second"):
        scenario.take(RECURSION.of(time_of_it), *pair.text(time_of_it))
    scenario.take(AFTER_RECURSION, *pair.text("afterwards"))
