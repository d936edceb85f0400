"""References from the emulated boards' own trees: every heap figure equal to the byte, and what that finds.

Reference and board share the tree's C sources; what they do not share is the compiler, the architecture, the port, the
collector's roots and the way in which programs get in. The figures that are compared do follow from those sources: that
is what a reference from the own tree is for.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from harness.judging.rules import OWN_TREE
from harness.reference.engine.tree_vm import Moment
from harness.reference.own_tree import kept
from harness.reference.own_tree.build import Request
from harness.reference.own_tree.tree import find_firmware, open_tree
from harness.reference.vm import ReferenceVm

from .bench import Result, run_suites
from .boards import BOARDS, ONE_BLOCK, Board
from .builds import Firmware
from .source import source_of
from .test_boards import REQUIRED, WANTED
from .tools import Unavailable

UEVENT = Path(__file__).parents[2] / "fixtures" / "modules" / "uevent.py"
pytestmark = pytest.mark.skipif(not WANTED, reason="builds firmware and takes minutes: tox -e emulated runs it")


#: These have a limit of their own: an open file's cost is the filesystem's, and the loss is of the board alone.
NOT_COMPARED = ("open.allocated", "reload.largest_free_run.loss")


def _run(board: Board, folder: Path, own_tree: Firmware | None, *suites: str) -> Result:
    try:
        return run_suites(board, folder, own_tree=own_tree, options=suites)
    except Unavailable as problem:
        if REQUIRED:
            pytest.fail(str(problem))
        pytest.skip(str(problem))


def _tree(board: str, suite: str = "sid") -> Request:
    try:
        return Request(find_firmware(open_tree(source_of(suite).tree), board))
    except Unavailable as problem:
        if REQUIRED:
            pytest.fail(str(problem))
        pytest.skip(str(problem))


@pytest.mark.xdist_group("own-tree")
@pytest.mark.parametrize(("name", "least"), [("m3-rom", 70), ("m0", 56)])
def test_every_heap_figure_is_equal_to_the_byte(tmp_path: Path, name: str, least: int) -> None:
    board = next(board for board in BOARDS if board.id == name)
    assert board.firmware is not None
    result = _run(board, tmp_path, board.firmware, "calibration", "reload", "interrupt", "flash_execution")
    assert not [(s["name"], s["reason"]) for s in result.scenarios("fail", "error")]
    compared = [
        figure
        for scenario in result.content["scenarios"]
        for figure in scenario["measurements"]
        if figure["unit"] == "B" and figure["reference"] is not None and figure["name"] not in NOT_COMPARED
    ]
    other = {figure["name"]: (figure["measured"], figure["reference"]) for figure in compared}
    assert all(measured == reference for measured, reference in other.values()), other
    assert len(compared) >= least
    exact = [figure for figure in compared if figure["rule"] == OWN_TREE]
    assert exact
    assert all(figure["bounds"]["equal"] == figure["reference"] for figure in exact), "and no limit is wider"


@pytest.mark.xdist_group("own-tree")
def test_one_block_in_one_allocation_path_is_found(tmp_path: Path) -> None:
    """With the prepared reference it hides in the blocks that another firmware's names may take."""
    firmware = ONE_BLOCK.board.firmware
    assert firmware is not None
    found = _run(ONE_BLOCK.board, tmp_path / "own", ONE_BLOCK.healthy, "calibration")
    off = {
        figure["name"]: figure["measured"] - figure["reference"]
        for scenario in found.scenarios("fail")
        for figure in scenario["measurements"]
        if figure["verdict"] == "fail"
    }
    assert off
    assert set(off.values()) == {16}
    hidden = _run(ONE_BLOCK.board, tmp_path / "prepared", None, "calibration")
    assert not hidden.scenarios("fail", "error")


STRESS = """
import gc
gc.threshold(1000)
total = 0
for r in range(200):
    chain = None
    for i in range(100): chain = (chain, i)
    while chain:
        total += chain[1]
        chain = chain[0]
print(total)
"""

STRIKES = """
seen = []
def isr(n):
    global count
    count += 1
count = 0
def work():
    total = 0
    for i in range(20):
        total += i * i
    return total
total = work()
print(total, count)
"""


@pytest.mark.xdist_group("own-tree")
@pytest.mark.parametrize("release", ["sid", "trixie"])
def test_trees_of_two_releases_build_and_run(release: str) -> None:
    request = _tree("esp8266/ESP8266_GENERIC", release)
    firmware = replace(request.firmware, variant="FLASH_1M")
    module, said, _ = kept.built(replace(request, firmware=firmware), print)
    taken = {setting.name: setting.ours for setting in said.settings}
    assert taken["MICROPY_OBJ_REPR"] == "(MICROPY_OBJ_REPR_C)"
    assert taken["MICROPY_EMIT_XTENSA"] is None
    with ReferenceVm(module=module, chip="esp8266", heap_size=60000) as vm:
        assert vm.facts.object_repr == "C"
        assert said.version in vm.facts.version
        told = vm.run(
            "import gc, sys\na = gc.mem_alloc()\nx = [1.5, 2.5, 3.5, 4.5]\nprint(gc.mem_alloc() - a, sys.platform)"
        )
        assert told.stdout.split() == [b"32", b"esp8266"], "the list and its items: a float costs nothing"
        told = vm.run("import machine\nprint(machine.Pin(5).value(), machine.freq())")
        assert told.stdout.split() == [b"0", b"80000000"]


@pytest.mark.xdist_group("own-tree")
def test_a_build_survives_its_own_collector_and_ends_deep_recursion() -> None:
    module, _, _ = kept.built(_tree("qemu/MPS2_AN385"), print)
    with ReferenceVm(module=module, heap_size=60000) as vm:
        told = vm.run(STRESS)
        assert told.stdout.strip() == str(200 * sum(range(100))).encode()
        told = vm.run("def f(n): return f(n + 1)\ntry: f(0)\nexcept RuntimeError as e: print(e)")
        assert told.stdout.strip() == b"maximum recursion depth exceeded"
        assert b"ZeroDivisionError" in vm.run("1 / 0").stderr


@pytest.mark.holds("events.bytecode")
@pytest.mark.xdist_group("own-tree")
def test_a_handler_strikes_between_any_two_bytecodes() -> None:
    module, _, _ = kept.built(_tree("qemu/MPS2_AN385"), print)
    with ReferenceVm(module=module, heap_size=60000) as vm:
        for number in range(0, 400, 7):
            vm.soft_reset()
            vm.strike_at(Moment.BYTECODE, number, "isr", hard=True)
            told = vm.run(STRIKES)
            total, count = told.stdout.split()
            assert total == str(sum(i * i for i in range(20))).encode()
            assert count in (b"0", b"1"), number
        # The same moment, twice: the same run.
        runs = []
        for _ in range(2):
            vm.soft_reset()
            vm.strike_at(Moment.BYTECODE, 123, "isr", hard=True)
            runs.append((vm.run(STRIKES).stdout, vm.cost))
        assert runs[0] == runs[1]
        assert runs[0][0].split()[1] == b"1"


HARD = """
import machine, micropython, time
from array import array
n = 0
def tick(t):
    global n
    n += 1
def wait(ms):
    start = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < ms: pass
def long(_):
    global n
    n = 0
    wait(100)
    print("in a callback", n)
timer = machine.Timer(-1, period=10, hard=True, callback=tick)
micropython.schedule(long, 0)
wait(1)
data = [(i * 7919) % 10007 for i in range(3000)]
timer.deinit()
stamps, at = array("i", [0] * 10), 0
def stamp(t):
    global at
    if at < 10:
        stamps[at] = time.ticks_diff(time.ticks_us(), start)
        at += 1
start = time.ticks_us()
timer = machine.Timer(-1, period=10, hard=True, callback=stamp)
data.sort()
took = time.ticks_diff(time.ticks_us(), start)
gaps = [stamps[i + 1] - stamps[i] for i in range(at - 1)]
print("in a sort", took > 100000, at, min(gaps) > 9900, max(gaps) < 10100)
timer.deinit()
def greedy(t): [1, 2, 3]
machine.Timer(-1, mode=machine.Timer.ONE_SHOT, period=3, hard=True, callback=greedy)
time.sleep_ms(10)
print("end")
"""


@pytest.mark.holds("events.hard-in-soft", "events.three-levels")
@pytest.mark.xdist_group("own-tree")
def test_a_hard_timer_preempts_a_callback_and_a_sort_and_may_not_allocate() -> None:
    module, _, _ = kept.built(_tree("stm32/PYBV11"), print)
    with ReferenceVm(module=module, chip="stm32f405", heap_size=100000) as vm:
        told = vm.run(HARD)
        assert not told.stderr
        lines = told.stdout.decode().splitlines()
        assert lines[0].startswith("in a callback ")
        assert int(lines[0].split()[-1]) in (9, 10)
        assert lines[1] == "in a sort True 10 True True"
        assert lines[2] == "uncaught exception in timer callback"
        assert lines[3].startswith("MemoryError")
        assert lines[-1] == "end"


ASYNCIO = """
import asyncio, machine, time
flag = asyncio.ThreadSafeFlag()
woken = []
async def main():
    timer = machine.Timer(-1, period=50, callback=lambda t: flag.set())
    start = time.ticks_ms()
    for _ in range(4):
        await flag.wait()
        woken.append(time.ticks_diff(time.ticks_ms(), start))
    timer.deinit()
asyncio.run(main())
print([round(at / 10) * 10 for at in woken])
"""


@pytest.mark.holds("events.asyncio")
@pytest.mark.xdist_group("own-tree")
def test_asyncio_is_the_trees_and_sleeps_until_its_event() -> None:
    module, said, _ = kept.built(_tree("stm32/PYBV11"), print)
    assert said.frozen == "asyncio"
    with ReferenceVm(module=module, chip="stm32f405", heap_size=100000) as vm:
        before = vm.waited_us
        assert vm.run(ASYNCIO).stdout.strip() == b"[50, 100, 150, 200]"
        assert vm.waited_us - before > 180_000, "the task waits, and does not look again and again"


AWAITED = """
import asyncio, machine, uevent
event = uevent.Event()
async def woken(timer):
    for _ in range(20):
        await event.wait()
    timer.deinit()
    return asyncio.core._io_queue.poller.wakes
print(asyncio.run(woken(machine.Timer(-1, period=50, hard={hard}, callback=lambda t: event.set{how}()))))
"""


@pytest.mark.xdist_group("own-tree")
@pytest.mark.parametrize(("hard", "how"), [(False, ""), (True, "_hard")], ids=["soft", "hard"])
def test_a_task_of_the_trees_asyncio_that_awaits_our_event_is_woken_once_for_each(hard: bool, how: str) -> None:
    module, _, _ = kept.built(_tree("stm32/PYBV11"), print)
    with ReferenceVm(module=module, chip="stm32f405", heap_size=100000) as vm:
        vm.put("uevent.py", UEVENT.read_bytes())
        told = vm.run(AWAITED.format(hard=hard, how=how))
        assert (told.stdout.strip(), told.stderr) == (b"20", b"")
