"""Reload on CircuitPython: code files and REPLs, each in a VM of its own, and what is kept between them."""

from __future__ import annotations

import itertools
import statistics
from typing import Any, cast

import pytest

from harness.errors import FirmwareFailure
from harness.judging.figures import Figure
from harness.judging.limits import at_most, exactly
from harness.judging.scenario import Scenario
from harness.kinds import HEAP, STATE
from harness.runtimes.interface import CodeRuntime
from harness.runtimes.program import Program, ask
from harness.runtimes.records import decode

RELOADS = 10
BLOCK = 16

LOSS = Figure("reload.{what}.loss", HEAP, limit=at_most(BLOCK - 1, "B", words="less than one 16-byte block per reload"))
REASON = Figure("reason.{how}", STATE)
REASON_AFTER_RESET = Figure("reason.after_a_reset", STATE, limit=exactly("STARTUP"))
NEXT_RUN = Figure("next_code.{options}.{when}", STATE)
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
    scenario.compare(scenario.run(Program.load("cp_persist", size=None, next="", drop_first=False)), prefix="none.")
    before = scenario.run(Program.load("cp_persisted"))
    scenario.compare(scenario.run(Program.load("cp_persist", size=size, next="", drop_first=False)), prefix=f"{size}.")
    for name in ("first", "second"):
        scenario.compare(scenario.run(Program.load("cp_persisted")), prefix=f"{size}.{name}.")
    scenario.run(Program.load("cp_persist", size=None, next="", drop_first=False))
    after = scenario.run(Program.load("cp_persisted"))
    scenario.compare(after, prefix=f"{size}.dropped.")
    lost = [mine - then for mine, then in zip(before.value("total"), after.value("total"), strict=True)]
    scenario.take(HEAP_LOST.of(size), lost[0], lost[1])


@pytest.mark.holds("kept.fresh")
@pytest.mark.needs("persisted_bytes")
def test_persisted_bytes_do_not_outlive_the_chips_reset(scenario: Scenario) -> None:
    """They are the supervisor's RAM: a reset of the chip loses them. What they refuse leaves them as they were."""
    scenario.compare(scenario.run(Program.load("cp_refused")), prefix="refused.")
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
    with scenario.code_py(b"pass\n"):
        for name, size, following, drop in stages:
            pair = scenario.run(Program.load("cp_persist", size=size, next=following, drop_first=drop))
            if size is not None:
                scenario.take(IN_THIS_HEAP.of(name), *pair.text("in_this_heap"), limit=exactly(str(not drop)))
            scenario.compare(pair, prefix=f"{name}.set.")
            scenario.compare(scenario.run(Program.load("cp_persisted")), prefix=f"{name}.then.")
        for runtime in scenario.both:
            runtime.run("import supervisor\nsupervisor.set_next_code_file(None)")
    scenario.compare(scenario.run(Program.load("cp_persisted")), prefix="all_free.")


def test_a_reload_lets_go_of_the_pins(scenario: Scenario) -> None:
    """What a program drives is an input again in the next VM."""
    if not scenario.wiring.loopback:
        pytest.skip("no two pins are wired together (wiring.loopback in boards.yaml)")
    out, pin = scenario.wiring.loopback[0]
    inputs: dict[str, Any] = {"out": out, "in": pin}
    scenario.compare(scenario.run(Program.load("cp_pin_leave", **inputs)), prefix="driven.")
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
