"""Reload on CircuitPython: code files and REPLs, each in a VM of its own, and what is kept between them."""

from __future__ import annotations

import itertools
import math
import statistics
from contextlib import ExitStack
from typing import cast

import pytest

from harness.errors import FirmwareFailure
from harness.judging.board_data import told
from harness.judging.figures import Figure
from harness.judging.limits import Limit, at_most, between, by_source, exactly
from harness.judging.scenario import Scenario
from harness.kinds import HEAP, STATE
from harness.runtimes.interface import CodeRuntime
from harness.runtimes.own_files import set_aside
from harness.runtimes.program import Program, ask
from harness.runtimes.records import decode

RELOADS = 10
BLOCK = 16

LOSS = Figure("reload.{what}.loss", HEAP, limit=at_most(BLOCK - 1, "B", words="less than one 16-byte block per reload"))
REASON = Figure("reason.{how}", STATE)
REASON_AFTER_RESET = Figure("reason.after_a_reset", STATE, limit=exactly("STARTUP"))
NEXT_RUN = Figure("next_code.{options}.{when}", STATE)
#: 64 bytes in blocks of MicroPython's heap take 65.5: one for their table, half a byte for that of finalisers
#: (``py/gc.c``, gc_setup_area).
STEP, STEP_RAW = 64, 65.5
PERSIST_COST = Figure("{size}.cost", HEAP)
PROPOSAL = "docs/supervisor.md, supervisor.persisted_bytes"
FIRST_FOUND = Figure("code_files.{there}", STATE)
#: In the order of the search (CircuitPython ``main.c``, run_code_py; its documentation, "code.py").
CODE_FILES = ("code.txt", "code.py", "main.py", "main.txt")
HEAP_LOST = Figure("{size}.heap_lost", HEAP, limit=exactly(0, "B"))
AFTER_RESET = Figure("persisted.after_reset", STATE, limit=exactly("None"))
IN_THIS_HEAP = Figure("{stage}.in_this_heap", STATE)
PIN_AFTER = Figure("pin.after", STATE, limit=exactly("False"))
SAFE_MODE_TOLD = Figure("safe_mode.told", STATE, limit=exactly("PROGRAMMATIC"))
SAFE_MODE_ENDED = Figure("safe_mode.after_a_reset", STATE, limit=exactly("NONE"))

pytestmark = pytest.mark.runtime("circuitpython")


def _both(scenario: Scenario) -> tuple[CodeRuntime, CodeRuntime]:
    return cast(tuple[CodeRuntime, CodeRuntime], scenario.both)


def _slope(values: list[float]) -> float:
    """Growth per reload: the median over all pairs, which single jumps do not move (Theil-Sen)."""
    pairs = itertools.combinations(enumerate(values), 2)
    return statistics.median((late - early) / (j - i) for (i, early), (j, late) in pairs)


def test_circuitpython_reloads_keep_the_heap(scenario: Scenario) -> None:
    """Ten restarts of the VM: what a fresh one uses, and how much heap there is in all, stay the same."""
    program = Program.load("cp_heap")
    pairs = []
    for index in range(RELOADS + 1):
        scenario.step(f"reload {index} of {RELOADS}")
        pairs.append(scenario.run(program))
    for name in ("used", "total"):
        mine = [pair.board.value(name) for pair in pairs[1:]]
        reference = [pair.reference.value(name) for pair in pairs[1:]]
        sign = 1 if name == "used" else -1
        scenario.take(LOSS.of(name), sign * _slope(mine), sign * _slope(reference), samples=mine)


@pytest.mark.figures(REASON, REASON_AFTER_RESET)
def test_the_run_reason_tells_how_code_was_started(scenario: Scenario) -> None:
    """Ctrl-D at the REPL, Ctrl-D while the board waits, supervisor.reload(); and the start after a reset."""
    for reload in (False, True):
        source = Program.load("cp_run_reason", reload=reload).whole()
        outputs = [runtime.run_code(source) for runtime in _both(scenario)]
        runs = [[decode(output).text("reason") for output in side] for side in outputs]
        expected = ["REPL_RELOAD", "SUPERVISOR_RELOAD"] if reload else ["REPL_RELOAD"]
        figure = REASON.of("of_a_reload" if reload else "at_the_repl")
        scenario.take(figure, " ".join(runs[0]), " ".join(runs[1]), limit=exactly(" ".join(expected)))
    keep = Program("cp_sticky", "import supervisor\nsupervisor.set_next_code_file('hx_files/hx_code.py')\n")
    source = keep.source + Program.load("cp_run_reason", reload=False).whole()
    waits = []
    for runtime in _both(scenario):
        runtime.run_code(source)
        waits.append(decode(runtime.reload_while_waiting()[0]).text("reason"))
    scenario.take(REASON.of("while_waiting"), waits[0], waits[1], limit=exactly("REPL_RELOAD"))
    if scenario.can_reset:
        fresh = []
        for runtime in _both(scenario):
            runtime.hard_reset()
            program = Program.load("cp_run_reason", reload=False)
            fresh.append(program.run(runtime).text("reason"))
        scenario.take(REASON_AFTER_RESET, fresh[0], fresh[1])
    else:
        scenario.skip_figure(REASON_AFTER_RESET, "the harness cannot reset this board (reset in boards.yaml)")


#: Options of ``set_next_code_file``, the file they are given for, and what the runs print that follow: at once, and
#: after a Ctrl-D in the wait. Rules: CircuitPython ``main.c``.
NEXT_CODE = {
    "once": ("second", "", "second", "own"),
    "on_success": ("second", ", reload_on_success=True", "second own", "own"),
    "on_error": ("fails", ", reload_on_error=True", "fails own", "own"),
    "no_error": ("second", ", reload_on_error=True", "second", "own"),
    "sticky": ("second", ", sticky_on_success=True", "second", "second"),
    "sticky_on_error": ("fails", ", sticky_on_error=True", "fails", "fails"),
}


@pytest.mark.holds("kept.next-file", "kept.dispatch")
@pytest.mark.parametrize("options", NEXT_CODE)
def test_the_next_code_file_keeps_to_its_options(scenario: Scenario, options: str) -> None:
    """set_next_code_file: what runs at once, what runs after a reload, and when it is forgotten."""
    file, arguments, at_once, later = NEXT_CODE[options]
    body = "raise ValueError\n" if file == "fails" else ""
    call = f"import supervisor\nsupervisor.set_next_code_file('hx_files/hx_next.py'{arguments})\nsupervisor.reload()\n"
    words = []
    scenario.folder  # noqa: B018 - is made
    with scenario.code_py(b"print('own')\n"):
        for runtime in _both(scenario):
            runtime.put("hx_files/hx_next.py", f"print({file!r})\n{body}".encode())
            try:
                first, second = runtime.run_code(call)[1:], runtime.reload_while_waiting()
            finally:
                runtime.run("import supervisor\nsupervisor.set_next_code_file(None)")
                runtime.remove("hx_files/hx_next.py")
            words.append([" ".join(o.split()[0].decode() for o in runs if o.split()) for runs in (first, second)])
    for index, (name, expected) in enumerate((("at_once", at_once), ("later", later))):
        scenario.take(NEXT_RUN.of(options, name), words[0][index], words[1][index], limit=exactly(expected))


@pytest.mark.holds("kept.reload", "kept.value", "kept.bytes", "kept.dynamic")
@pytest.mark.needs("persisted_bytes")
@pytest.mark.parametrize("size", [0, 1, 16, 17, 4096, 70000])
def test_persisted_bytes_survive_a_reload(scenario: Scenario, size: int) -> None:
    """supervisor.persisted_bytes over two restarts, byte for byte; None after it is dropped, and all its heap back."""
    drop = Program.load("cp_persist", size=None, next="", drop_first=False)
    set_it = Program.load("cp_persist", size=size, next="", drop_first=False)
    scenario.compare(scenario.run(drop), prefix="none.", asked={"kept_at_once": "True"}, source=PROPOSAL)
    before = scenario.run(Program.load("cp_persisted"))
    asked = {"in_this_heap": "True", "kept_at_once": "True"}
    scenario.compare(scenario.run(set_it), prefix=f"{size}.", asked=asked, source=PROPOSAL)
    for name in ("first", "second"):
        kept = scenario.run(Program.load("cp_persisted"))
        scenario.compare(kept, prefix=f"{size}.{name}.", asked={"persisted": _pattern(size)}, source=PROPOSAL)
    cost = [full - left for full, left in zip(before.value("total"), kept.value("total"), strict=True)]
    scenario.take(PERSIST_COST.of(size), cost[0], cost[1], limit=_heap_less(_persisted(size)), rule=PROPOSAL)
    scenario.run(drop)
    after = scenario.run(Program.load("cp_persisted"))
    scenario.compare(after, prefix=f"{size}.dropped.", asked={"persisted": "None"}, source=PROPOSAL)
    lost = [mine - then for mine, then in zip(before.value("total"), after.value("total"), strict=True)]
    scenario.take(HEAP_LOST.of(size), lost[0], lost[1])


def _persisted(size: int) -> int:
    """Bytes of the region that a value takes: its length rounded up to words, and twelve."""
    return -(-size // 4) * 4 + 12


def _heap_less(taken: int, *others: int) -> Limit:
    """By how much less heap a VM has when ``taken`` bytes of the region, and ``others``, are not its own."""
    low = STEP * math.floor(sum((taken, *others)) / STEP_RAW)
    parts = " and ".join(f"{part} B" for part in (taken, *others))
    words = f"{low} or {low + STEP} B: {parts} of the region (length, rounded up to 4, and 12), in steps of the heap of"
    return between(low, low + STEP, "B", words=f"{words} {STEP} B for each {STEP_RAW} B ({PROPOSAL}; py/gc.c)")


def _pattern(size: int | None) -> str:
    """What cp_persisted.py says of a value that cp_persist.py has set."""
    if size is None:
        return "None"
    return told(bytes(index * 7 + (index >> 8) & 255 for index in range(size)))


@pytest.mark.holds("kept.fresh")
@pytest.mark.needs("persisted_bytes")
def test_persisted_bytes_do_not_outlive_the_chips_reset(scenario: Scenario) -> None:
    """They are the supervisor's RAM: a reset of the chip loses them. What they refuse leaves them as they were."""
    asked = dict.fromkeys(("bytes", "bytearray", "memoryview", "array"), "accepted")
    asked |= dict.fromkeys(("text", "number", "float", "list", "tuple", "dict", "object"), "TypeError")
    asked["kept"] = "True"
    refused = scenario.run(Program.load("cp_refused"))
    scenario.compare(refused, prefix="refused.", asked=asked, source=PROPOSAL)
    reset = Program("cp_reset", "import microcontroller\nagent.done()\nmicrocontroller.reset()\n")
    scenario.run_to_reset(reset)
    pair = scenario.run(Program.load("cp_persisted"), fresh=False)
    scenario.take(AFTER_RESET, *pair.text("persisted"))


@pytest.mark.holds("moving.defragment", "moving.bottom")
@pytest.mark.needs("persisted_bytes", "movable_allocations")
def test_movable_allocations_move_down_and_their_holes_are_used_again(scenario: Scenario) -> None:
    """Allocated in a run, moved at its end: contents and the next heap, over 64 KiB; a hole of exactly the length."""
    stages: tuple[tuple[str, int | None, str, bool], ...] = (
        ("large", 70000, "code.py", False),
        ("hole", 70000, "", True),  # the code file's name lies above it, so what is freed becomes a hole
        ("smaller", 2000, "", False),
        ("none", None, "", False),
    )
    scenario.run(Program.load("cp_persist", size=None, next="", drop_first=False))
    empty = scenario.run(Program.load("cp_persisted"))
    name_taken = 8 + (1 + len("code.py") + 1 + 3) // 4 * 4  # a node; options, the name and its NUL
    with scenario.code_py(b"pass\n"):
        for name, size, following, drop in stages:
            pair = scenario.run(Program.load("cp_persist", size=size, next=following, drop_first=drop))
            if size is not None:
                scenario.take(IN_THIS_HEAP.of(name), *pair.text("in_this_heap"), limit=exactly(str(not drop)))
            asked = {"kept_at_once": "True"} | ({} if size is None else {"in_this_heap": str(not drop)})
            scenario.compare(pair, prefix=f"{name}.set.", asked=asked, source=PROPOSAL)
            then = scenario.run(Program.load("cp_persisted"))
            scenario.compare(then, prefix=f"{name}.then.", asked={"persisted": _pattern(size)}, source=PROPOSAL)
            cost = [full - left for full, left in zip(empty.value("total"), then.value("total"), strict=True)]
            parts = () if size is None else (_persisted(size),)
            scenario.take(PERSIST_COST.of(name), cost[0], cost[1], limit=_heap_less(name_taken, *parts), rule=PROPOSAL)
        for runtime in scenario.both:
            runtime.run("import supervisor\nsupervisor.set_next_code_file(None)")
    all_free = scenario.run(Program.load("cp_persisted"))
    scenario.compare(all_free, prefix="all_free.", asked={"persisted": "None"}, source=PROPOSAL)
    lost = [full - left for full, left in zip(empty.value("total"), all_free.value("total"), strict=True)]
    scenario.take(HEAP_LOST.of("all_free"), lost[0], lost[1])


@pytest.mark.figures(FIRST_FOUND)
def test_of_several_code_files_the_first_of_the_order_runs(scenario: Scenario) -> None:
    """code.txt before code.py before main.py before main.txt: all four there, then each taken away in its turn."""
    scenario.folder  # noqa: B018 - is made
    said: list[list[str]] = []
    for runtime in _both(scenario):
        said.append([])
        with ExitStack() as stack:
            for name in CODE_FILES:
                stack.enter_context(set_aside(runtime, name, base="/", own_folder=scenario.folder))
                runtime.put(name, f"print({name!r})\n".encode())
            for name in CODE_FILES:
                runtime.run_code("pass\n")
                said[-1].append(b" ".join(runtime.reload_while_waiting()).decode("ascii", "replace").strip())
                runtime.remove(name)
    for index, name in enumerate(CODE_FILES):
        source = "the order of CircuitPython's main.c"
        limit = by_source(name, "-", source)
        there = FIRST_FOUND.of("_and_".join(CODE_FILES[index:]).replace(".", "_"))
        scenario.take(there, said[0][index], said[1][index], limit=limit, rule=source)


def test_a_reload_lets_go_of_the_pins(scenario: Scenario) -> None:
    """What a program drives is an input again in the next VM."""
    inputs = scenario.wired_pins
    left = scenario.run(Program.load("cp_pin_leave", **inputs))
    scenario.compare(left, prefix="driven.", asked={"level": "True"}, source="the program drives it high")
    pair = scenario.run(Program.load("cp_pin_look", **inputs))
    scenario.take(PIN_AFTER, *pair.text("level"))


def test_safe_mode_is_told_and_ends_with_a_reset(scenario: Scenario) -> None:
    """microcontroller.on_next_reset(SAFE_MODE): no code is run, the reason is told, the next reset ends it."""
    enter = Program(
        "cp_safe_mode",
        "import microcontroller as m\nm.on_next_reset(m.RunMode.SAFE_MODE)\nagent.done()\nm.reset()\n",
    )
    try:
        enter.run_to_reset(scenario.board)
        told = "nothing"
    except FirmwareFailure as problem:
        told = "PROGRAMMATIC" if "PROGRAMMATIC" in problem.message else problem.message[:80]
    scenario.take(SAFE_MODE_TOLD, told)
    reason = "str(supervisor.runtime.safe_mode_reason).split('.')[-1]"
    after = [ask(runtime, reason, first="import supervisor") for runtime in scenario.both]
    scenario.take(SAFE_MODE_ENDED, after[0], after[1])
