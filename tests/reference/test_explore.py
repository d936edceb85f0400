"""The explorer against programs whose interleavings are known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import UsageError
from harness.reference.engine.prepare import vm_module
from harness.reference.explore.explorer import Exploration, Limits, explore
from harness.reference.explore.rewind import Ending, Rewinder, _Life
from tests.reference.documented import documented, printed, words

PROGRAMS = Path(__file__).parents[2] / "fixtures" / "explore"
#: Which of the example programs fail somewhere.
UNSAFE = {"lost_update", "heapq_own_entries"}
#: Endless ones, ones that need more than the VM, and one that schedules what its interrupt finds in the queue.
NOT_HERE = ("wait_for_flag", "asyncio_event", "increment_irq_off")
NEED_MODULES = ("uevent_notify", "uevent_three_levels", "asyncio_uevent")


def explored(
    source: str, limits: Limits | None = None, *, every_point: bool = False, only: int | None = None
) -> Exploration:
    rewinder = Rewinder(vm_module(), source, heap_size=57344, files={})
    return explore(rewinder, limits or Limits(), every_point=every_point, only=only)


def program(main: str, interrupt: str = "pass", check: str = "", setup: str = "") -> str:
    def block(text: str) -> str:
        return "".join(f"    {line}\n" for line in text.splitlines())

    text = f"{setup}\ndef main():\n{block(main)}\ndef interrupt(argument):\n{block(interrupt)}"
    return text + (f"\ndef check():\n{block(check)}" if check else "")


def shape(result: Exploration) -> list[tuple[object, ...]]:
    return [(o.label, o.output, o.count, o.point, o.place) for o in result.outcomes]


@pytest.mark.parametrize(
    "name",
    sorted(p.stem for p in PROGRAMS.glob("*.py") if p.stem not in NOT_HERE + NEED_MODULES),
)
def test_one_run_for_many_points_finds_what_a_run_for_each_point_finds(name: str) -> None:
    source = (PROGRAMS / f"{name}.py").read_text()
    quick, thorough = explored(source), explored(source, every_point=name != "dict_own_keys")
    assert shape(quick) == shape(thorough)
    assert quick.late == thorough.late
    assert sum(o.count for o in quick.outcomes) == quick.points
    assert quick.runs < quick.points / 5
    assert quick.safe == (name not in UNSAFE)


def test_the_lost_update_is_found_where_it_is_lost() -> None:
    result = explored((PROGRAMS / "lost_update.py").read_text())
    (failure,) = result.failures
    assert failure.label == "AssertionError: 3"
    assert (failure.place.line, failure.place.function) == (9, "main")  # between reading and writing


def test_a_point_alone_gives_what_the_whole_exploration_found_there() -> None:
    source = (PROGRAMS / "heapq_own_entries.py").read_text()
    failure = explored(source).failures[0]
    alone = explored(source, only=failure.point)
    assert [(o.label, o.point, o.count, o.place) for o in alone.outcomes] == [
        (failure.label, failure.point, 1, failure.place)
    ]
    before = explored(source, only=failure.point - 1)
    assert before.safe


@pytest.mark.holds("events.lock")
def test_a_callback_waits_while_the_scheduler_is_locked_and_nesting_counts() -> None:
    body = "spin()\nwith locked:\n    with locked:\n        spin()\n    spin()\n    trace.append(seen[0])\nspin()"
    setup = "from scheduler import locked\nseen = [0]\ntrace = []\ndef spin():\n    for _ in range(3):\n        pass\n"
    locked = explored(program(body, "seen[0] = 1", "print(trace, seen)", setup))
    outputs = {outcome.output for outcome in locked.outcomes}
    # Either it ran before the lock was taken, or after it was given back, and never between.
    assert outputs == {b"[1] [1]\n", b"[0] [1]\n"}
    inside = next(o for o in locked.outcomes if o.output.startswith(b"[0]"))
    assert inside.place.line > 0 and inside.count > 50


def test_the_callback_strikes_in_a_wait_that_nothing_else_ends() -> None:
    setup = "import select, io\nclass Flag(io.IOBase):\n    up = 0\n"
    setup += "    def ioctl(self, request, argument):\n        return argument if self.up else 0\n"
    setup += "flag = Flag()\npoller = select.poll()\npoller.register(flag, 1)\n"
    result = explored(program("print(len(poller.poll()))", "flag.up = 1", setup=setup), Limits(points=400))
    assert result.endless
    assert result.safe
    assert {o.output for o in result.outcomes} == {b"1\n"}


@pytest.mark.parametrize(
    ("body", "interrupt", "ending"),
    [
        ("for _ in range(9): pass", "raise ValueError", Ending.RETURNED),
        ("for _ in range(3): pass", "while True: pass", Ending.ENDLESS),
        ("for _ in range(3): pass", "while True: print('x' * 1000)", Ending.FLOODED),
        ("for _ in range(3): pass", "interrupt(0)", Ending.RETURNED),
        ("for _ in range(3): pass", "x = []\nwhile True: x.append(bytearray(1000))", Ending.RETURNED),
        ("for _ in range(3): pass", "import sys; sys.exit()", Ending.RETURNED),
        ("import sys\nsys.exit()", "pass", Ending.RAISED),
    ],
)
def test_a_bad_program_has_an_outcome_and_does_no_harm(body: str, interrupt: str, ending: Ending) -> None:
    result = explored(program(body, interrupt), Limits(points=8))
    assert not result.safe
    assert ending in {outcome.ending for outcome in result.failures}


def test_an_interrupt_that_finds_the_queue_full_is_a_failure_that_says_so() -> None:
    setup = "import micropython\nfrom scheduler import locked\ndef f(a): pass\n"
    body = "with locked:\n    for _ in range(4):\n        micropython.schedule(f, 0)\n    for _ in range(9): pass"
    labels = [outcome.label for outcome in explored(program(body, setup=setup)).failures]
    assert labels == ["RuntimeError: schedule queue full", "the interrupt was lost: the queue was full"]


def test_files_and_memory_are_as_before_at_each_run() -> None:
    setup = "import gc\nkept = []\nopen('a', 'w').write('0')\n"
    body = "kept.append(bytearray(500))\nopen('a', 'a').write('1')\nfor _ in range(3): pass\ngc.collect()"
    check = "print(len(kept), open('a').read())"
    limits = Limits(points=150)
    (outcome,) = explored(program(body, "open('a', 'a').write('')", check, setup), limits, every_point=True).outcomes
    assert outcome.output == b"1 01\n"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1", "no function main()"),
        ("def main(): pass", "no function interrupt()"),
        ("import nothing_like_this", "no module named"),
        ("def main(: pass", "SyntaxError"),
        ("while True: pass", "did not reach its main()"),
    ],
)
def test_a_program_that_cannot_be_explored_is_refused_with_the_reason(source: str, said: str) -> None:
    with pytest.raises(UsageError, match="main") as refusal:
        explored(source)
    assert said in str(refusal.value)


def test_the_command_says_the_verdict_and_exits_by_it(tmp_path: Path) -> None:
    run = CliRunner().invoke
    unsafe = run(main, ["explore", "lost_update", "--as-implemented", "--json", str(tmp_path / "result.json")])
    assert unsafe.exit_code == 1
    result = json.loads((tmp_path / "result.json").read_text())
    first = next(o["first_point"] for o in result["outcomes"] if o["failed"])
    assert f"smallest failing case: --point {first}" in unsafe.output
    again = run(main, ["explore", "lost_update", "--as-implemented", "--point", str(first)])
    assert again.exit_code == 1 and "AssertionError: 3" in again.output
    assert run(main, ["explore", "lost_update_locked", "--as-implemented"]).exit_code == 0
    for arguments in (["nothing.py"], ["lost_update", "--point", "99999"], ["lost_update", "--lib", "nowhere"]):
        assert run(main, ["explore", *arguments, "--as-implemented"]).exit_code == 2


def test_what_a_program_prints_reaches_the_terminal_without_escapes(tmp_path: Path) -> None:
    path = tmp_path / "escapes.py"
    path.write_text(program("print('\\x1b[2J\\x1b]0;title\\x07'); raise ValueError('\\x1b[31m[bold]')"))
    output = CliRunner().invoke(main, ["explore", str(path), "--as-implemented"]).output
    assert "\x1b" not in output and "\x07" not in output
    assert "[bold]" in output


@pytest.mark.holds("events.event-set")
def test_event_set_from_a_callback_loses_a_wake() -> None:
    run = CliRunner().invoke(main, ["explore", "asyncio_event", "--as-implemented", "--json", "-"])
    assert run.exit_code == 1
    failed = [o for o in json.loads(run.stdout)["outcomes"] if o["failed"]]
    assert [(o["file"], o["function"]) for o in failed] == [("/lib/asyncio/event.py", "wait")]


def test_a_uevent_event_set_from_a_callback_loses_none() -> None:
    lib = str(PROGRAMS.parent / "modules")
    run = CliRunner().invoke(main, ["explore", "asyncio_uevent", "--as-implemented", "--lib", lib, "--json", "-"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["points"] > 10_000


def test_the_documentation_shows_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    """As implemented; by contract: tests/emulated/test_explore_by_contract.py."""
    shown = [(command, block) for command, block in documented() if "--as-implemented" in command]
    assert len(shown) >= 2
    for command, block in shown:
        assert printed(monkeypatch, command) == words(block)


# -- what cannot be explored ---------------------------------------------------------------------


def test_a_program_that_waits_for_ever_cannot_be_explored() -> None:
    with pytest.raises(UsageError, match="waits or runs for ever, with its interrupt and without"):
        explored(program("import time\ntime.sleep(10000)"), Limits(points=8))


def test_what_a_program_prints_on_stderr_is_no_failure_of_it() -> None:
    body = "import sys\ntry:\n    raise ValueError\nexcept ValueError as e:\n    sys.print_exception(e, sys.stderr)"
    assert explored(program(f"{body}\nsys.stderr.write('warned')"), Limits(points=60)).safe


def test_memory_that_grew_costs_a_new_vm_and_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = _Life._begin

    def grow_first(life: _Life) -> None:
        if life._run is not None:
            life._memory.grow(65536)
        finish(life)

    monkeypatch.setattr(_Life, "_begin", grow_first)
    rewinder = Rewinder(vm_module(), program("for _ in range(3): pass"), heap_size=57344, files={})
    result = explore(rewinder, Limits(points=5), every_point=True)
    assert result.safe and sum(outcome.count for outcome in result.outcomes) == 5
    assert rewinder.starts >= 6


def test_a_budget_that_is_reached_is_told() -> None:
    result = explored((PROGRAMS / "lost_update.py").read_text(), Limits(seconds=0))
    assert (result.explored, result.ended_by) == (0, "--budget 0")


@pytest.mark.parametrize(
    "asked", [["--strikes", "2"], ["--level", "hard"], ["--chip", "esp32"], ["--reference", "x"]], ids=" ".join
)
def test_what_goes_by_contract_only_is_refused_as_implemented(asked: list[str]) -> None:
    result = CliRunner().invoke(main, ["explore", "increment", "--as-implemented", *asked])
    assert result.exit_code == 2 and f"{asked[0]} " in f"{result.output} {result.stderr}"


def test_without_a_built_reference_the_first_line_says_what_was_done(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("harness.reference.own_tree.kept.all_kept", list)
    run = CliRunner().invoke(main, ["explore", "increment"])
    assert run.exit_code == 0
    first = " ".join(run.stdout.split())
    assert first.startswith("increment, as implemented, for no reference was built here (harness reference build TREE)")
    assert CliRunner().invoke(main, ["explore", "increment", "--strikes", "2"]).exit_code == 2
