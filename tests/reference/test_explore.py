"""The explorer against programs whose interleavings are known."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import UsageError
from harness.reference.engine.prepare import vm_module
from harness.reference.explore.explorer import Exploration, Limits, explore
from harness.reference.explore.rewind import Ending, Rewinder

PROGRAMS = Path(__file__).parents[2] / "fixtures" / "explore"
#: Which of the example programs fail somewhere.
UNSAFE = {"lost_update", "heapq_own_entries"}


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
    sorted(p.stem for p in PROGRAMS.glob("*.py") if p.stem not in ("wait_for_flag", "asyncio_event", "uevent_notify")),
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
        ("import time\ntime.sleep(10000)", "pass", Ending.ENDLESS),
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
    unsafe = run(main, ["explore", "lost_update", "--json", str(tmp_path / "result.json")])
    assert unsafe.exit_code == 1
    result = json.loads((tmp_path / "result.json").read_text())
    first = next(o["first_point"] for o in result["outcomes"] if o["failed"])
    assert f"smallest failing case: --point {first}" in unsafe.output
    again = run(main, ["explore", "lost_update", "--point", str(first)])
    assert again.exit_code == 1 and "AssertionError: 3" in again.output
    assert run(main, ["explore", "lost_update_locked"]).exit_code == 0
    for arguments in (["nothing.py"], ["lost_update", "--point", "99999"], ["lost_update", "--lib", "nowhere"]):
        assert run(main, ["explore", *arguments]).exit_code == 2


def test_what_a_program_prints_reaches_the_terminal_without_escapes(tmp_path: Path) -> None:
    path = tmp_path / "escapes.py"
    path.write_text(program("print('\\x1b[2J\\x1b]0;title\\x07'); raise ValueError('\\x1b[31m[bold]')"))
    output = CliRunner().invoke(main, ["explore", str(path)]).output
    assert "\x1b" not in output and "\x07" not in output
    assert "[bold]" in output


def test_event_set_from_a_callback_loses_a_wake() -> None:
    run = CliRunner().invoke(main, ["explore", "asyncio_event", "--json", "-"])
    assert run.exit_code == 1
    failed = [o for o in json.loads(run.stdout)["outcomes"] if o["failed"]]
    assert [(o["file"], o["function"]) for o in failed] == [("/lib/asyncio/event.py", "wait")]


def _shape(text: str) -> list[str]:
    """Words and order; how many points there are moves with every change of the port script."""
    return [re.sub(r" +", " ", re.sub(r"\b\d[\d.]*\b", "N", line.strip())) for line in text.strip().splitlines()]


def test_the_documentation_shows_what_the_command_prints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    text = (PROGRAMS.parents[1] / "docs" / "interleaving.md").read_text()
    blocks = re.findall(r"\$ harness explore (\w+)\n(.*?)\n\n", text, re.DOTALL)
    assert len(blocks) >= 8
    for name, block in blocks:
        printed = CliRunner().invoke(main, ["explore", name]).stdout
        assert _shape(printed) == _shape(block)
