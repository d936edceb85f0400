"""The explorer by contract, on a reference that is built from upstream's source, where that and zig are here."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.campaigns.explore_table import table, try_operation
from harness.errors import UsageError
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.tree_vm import Level, Moment
from harness.reference.explore.contract import ContractExploration, explore_by_contract, strikes_of
from harness.reference.explore.explorer import Limits, explore
from harness.reference.explore.rewind import Ending, Rewinder
from harness.reference.explore.struck_life import subject_of
from harness.reference.own_tree import kept
from harness.reference.own_tree.build import Request
from harness.reference.own_tree.tree import find_firmware, open_tree
from harness.reference.own_tree.zig import find_zig
from harness.runtimes.micropython.operations import OPERATIONS, Operation
from tests.reference.documented import documented, printed, words

from .source import source_of
from .test_boards import REQUIRED, WANTED
from .tools import Unavailable

FIXTURES = Path(__file__).parents[2] / "fixtures" / "explore"
pytestmark = [
    pytest.mark.xdist_group("own-tree"),
    pytest.mark.skipif(not WANTED, reason="builds a reference from upstream's source: tox -e emulated runs it"),
]


def _built(board: str) -> bytes:
    try:
        find_zig()
        tree = open_tree(source_of("sid").tree)
    except (Unavailable, UsageError) as problem:
        if REQUIRED:
            pytest.fail(str(problem))
        pytest.skip(f"no reference can be built here: {problem}")
    return kept.built(Request(find_firmware(tree, board)), print)[0]


@pytest.fixture(scope="module")
def built() -> bytes:
    return _built("qemu/MPS2_AN385")


@pytest.fixture(scope="module")
def with_asyncio() -> bytes:
    """One whose firmware has select and asyncio."""
    return _built("stm32/PYBV11")


def named(name: str) -> str:
    return (FIXTURES / f"{name}.py").read_text()


def explored(
    built: bytes,
    source: str,
    limits: Limits | None = None,
    *,
    level: Level = Level.SOFT,
    strikes: int = 1,
    chip: str | None = None,
    only: str = "",
    files: dict[str, bytes] | None = None,
) -> ContractExploration:
    subject = subject_of(built, source, heap_size=57344, chip=chip, version="1.26.1", files=files or {})
    spots = strikes_of(only) if only else ()
    return explore_by_contract(subject, limits or Limits(seconds=300), level=level, strikes=strikes, only=spots)


@pytest.mark.holds("events.not-atomic", "events.bytecode")
def test_an_increment_is_safe_as_implemented_and_lost_by_contract(built: bytes) -> None:
    source = named("increment")
    assert explore(Rewinder(vm_module(), source, heap_size=57344, files={}), Limits()).safe
    result = explored(built, source)
    (failure,) = result.failures
    assert (failure.label, failure.place.line, failure.place.function) == ("AssertionError: 5", 9, "main")
    assert result.runs == result.possible == result.moments[Moment.BYTECODE]
    assert failure.count == 15, "three bytecodes of each of five rounds"
    alone = explored(built, source, only=",".join(map(str, failure.strikes)))
    assert [(o.label, o.count, o.places) for o in alone.outcomes] == [(failure.label, 1, failure.places)]


@pytest.mark.parametrize("name", ["list_append", "dict_set", "heapq_push", "lost_update_locked", "increment_scheduled"])
def test_what_is_safe_by_contract(built: bytes, name: str) -> None:
    assert explored(built, named(name)).safe


def test_two_strikes_find_what_one_does_not(built: bytes) -> None:
    source = named("read_again")
    assert explored(built, source).safe
    result = explored(built, source, strikes=2)
    assert result.runs == result.possible > 2000
    assert all(len(failure.strikes) == 2 for failure in result.failures)
    first, second = result.failures[0].places
    assert (first.line, second.line) == (8, 11)


def test_two_strikes_at_one_moment_both_run(built: bytes) -> None:
    (outcome,) = explored(built, named("increment"), only="3,3").outcomes
    assert (outcome.label, outcome.ran) == ("ended well", True)


def test_a_hard_handler_that_allocates_fails_and_a_callback_does_not(built: bytes) -> None:
    source = named("hard_allocates")
    assert explored(built, source).safe
    result = explored(built, source, level=Level.HARD)
    assert {outcome.label for outcome in result.outcomes} == {"the callback raised MemoryError"}
    assert result.moments[Moment.C_CODE] > 5, "it strikes in C code as well"


def test_a_hard_handler_strikes_inside_a_soft_callback(built: bytes) -> None:
    source = named("increment_scheduled")
    assert explored(built, source).safe, "no callback comes inside another one"
    (failure,) = explored(built, source, level=Level.HARD).failures
    assert (failure.label, failure.place.function) == ("AssertionError: 3", "add")


def test_the_hard_level_has_its_own_handler_where_a_program_has_one(built: bytes) -> None:
    source = (
        "came = None\ndef main():\n    pass\ndef check():\n    assert came is None, came\n"
        "def interrupt(argument):\n    global came\n    came = 'soft'\n"
        "def interrupt_hard(argument):\n    global came\n    came = 'hard'\n"
    )
    for level in (Level.SOFT, Level.HARD):
        labels = {failure.label for failure in explored(built, source, level=level).failures}
        assert labels == {f"AssertionError: {level.name.lower()}"}


def test_disable_irq_holds_a_hard_handler_off_and_no_callback_that_is_queued(built: bytes) -> None:
    source = named("increment_irq_off")
    assert not explored(built, source, chip="esp32").safe
    assert explored(built, source, chip="esp32", level=Level.HARD).safe


def test_the_chips_timers_and_pins_are_the_same_in_each_run(built: bytes) -> None:
    source = (
        "from machine import Pin, Timer\nimport time\nn = 0\ndef tick(t):\n    global n\n    n += 1\n"
        "def main():\n    pin = Pin(4, Pin.OUT)\n    assert pin.value() == 0\n    pin.value(1)\n"
        "    t = Timer(0)\n    t.init(period=2, callback=tick)\n    time.sleep_ms(9)\n    t.deinit()\n    print(n)\n"
        "def interrupt(argument):\n    pass\n"
    )
    result = explored(built, source, chip="esp32")
    assert [outcome.output for outcome in result.outcomes] == [b"4\n"]
    assert result.moments[Moment.WAIT] > 0


UEVENT = FIXTURES.parent / "modules" / "uevent.py"
#: Programs that share a poller, or an event that a task awaits, with their interrupt; and the level it comes at.
SHARED = [
    ("uevent_notify", Level.SOFT),
    ("uevent_notify", Level.HARD),
    ("uevent_three_levels", Level.HARD),
    ("asyncio_uevent", Level.SOFT),
    ("asyncio_uevent", Level.HARD),
]
#: What holds the poller together: where it is, what would seem to do as well, and which program finds out.
ORDERS = {
    "the bell is cleared before the queue is looked at": (
        "            if self._queue:\n                wait = 0\n",
        "            bell[0] = 0\n",
        "uevent_notify",
    ),
    "who notifies rings": ("        poller._bell[0] = 1\n        outer", "        outer", "uevent_notify"),
    "an entry leaves the queue before its flags are taken": (
        "        self._state[0] = 0\n        ready = self._ready\n        flags = 0\n",
        "        ready = self._ready\n        flags = self._state[0] = 0\n        if any(ready):\n"
        "            flags = (ready[0] and READ) | (ready[1] and WRITE) | (ready[2] and EVENT)\n"
        "        ready[0] = ready[1] = ready[2] = 0\n",
        "uevent_notify",
    ),
    "an entry without flags leaves the queue": (
        "                    entry._state[0] = 0\n                    if any(entry._ready):\n"
        "                        return True\n",
        "",
        "uevent_notify",
    ),
    "an event that was set before a task waits is heard of": (
        "        if self._set[0]:\n            entry.notify(READ)\n",
        "",
        "asyncio_uevent",
    ),
}


@pytest.mark.parametrize(("name", "level"), SHARED)
def test_the_poller_loses_no_wake_by_contract(with_asyncio: bytes, name: str, level: Level) -> None:
    result = explored(with_asyncio, named(name), level=level, files={"/lib/uevent.py": UEVENT.read_bytes()})
    assert result.safe, [(failure.label, failure.places) for failure in result.failures]
    assert result.runs == result.possible > 900


def test_the_poller_loses_none_of_two_wakes_either(with_asyncio: bytes) -> None:
    files = {"/lib/uevent.py": UEVENT.read_bytes()}
    result = explored(with_asyncio, named("uevent_notify"), Limits(points=4000, seconds=300), strikes=2, files=files)
    assert result.safe, [(failure.label, failure.places) for failure in result.failures]
    assert result.runs == 4000, "of half a million pairs, spread over all"


@pytest.mark.parametrize("order", ORDERS)
def test_without_its_orders_the_poller_loses_wakes(with_asyncio: bytes, order: str) -> None:
    there, instead, name = ORDERS[order]
    module = UEVENT.read_text()
    assert module.count(there) == 1
    files = {"/lib/uevent.py": module.replace(there, instead).encode()}
    assert not explored(with_asyncio, named(name), files=files).safe


STRESS = """
import gc
class Node:
    def __init__(self, value, left):
        self.value, self.left = value, left
def main():
    table = {str(i): [i, (i, str(i) * 3), Node(i, [i] * 3)] for i in range(4)}
    words = sorted([k + "x" for k in table], key=lambda word: word[1:] + word[:1])
    try:
        raise ValueError(str(table["3"][1]))
    except ValueError as error:
        said = repr(error)
    total = sum(x * 2 for x in range(5)) + 10**20 // 7 + int(2.5 * 4)
    print("".join(words), said, total, [v[2].left for v in table.values()], [bytes(range(i, i + 9)) for i in range(3)])
junk = []
def interrupt(argument):
    gc.collect()
    junk[:] = [bytearray(b"\\xaa" * 33) for _ in range(60)]
    junk[:] = []
"""


def test_a_callback_may_collect_and_fill_the_heap_at_any_bytecode(built: bytes) -> None:
    result = explored(built, STRESS)
    assert result.runs > 400
    assert [(o.label, o.output == result.baseline.output) for o in result.outcomes] == [("ended well", True)]


def test_a_bound_that_is_reached_is_told_and_what_was_tried_is_spread(built: bytes) -> None:
    result = explored(built, named("increment"), Limits(points=200), strikes=2)
    assert result.runs == 200 < result.possible
    assert result.ended_by == "--points 200"
    result = explored(built, named("increment"), Limits(seconds=0))
    assert (result.runs, result.ended_by) == (0, "--budget 0")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import time\n    while True:\n        time.sleep(1000)", "waits or runs for ever"),
        ("while True:\n        pass", "waits or runs for ever"),
        ("import machine\n    machine.reset()", "reset the chip"),
    ],
)
def test_what_cannot_be_explored_is_refused_with_the_reason(built: bytes, body: str, said: str) -> None:
    source = f"def main():\n    {body}\ndef interrupt(argument):\n    pass\n"
    with pytest.raises(UsageError, match=f"cannot be explored.*{said}"):
        explored(built, source, Limits(cost=30_000, points=10), chip="esp32")


def test_a_wait_that_only_the_callback_ends_is_explored(built: bytes) -> None:
    result = explored(built, named("wait_for_flag"), Limits(cost=100_000, points=60))
    assert result.endless and result.safe


@pytest.mark.parametrize(("does", "ending"), [("pass", Ending.ENDLESS), ("print('x' * 1000)", Ending.FLOODED)])
def test_a_callback_that_never_ends_costs_a_new_vm_and_is_told(built: bytes, does: str, ending: Ending) -> None:
    source = f"def main():\n    pass\ndef interrupt(argument):\n    while True:\n        {does}\n"
    result = explored(built, source, Limits(points=4, seconds=300))
    assert {outcome.ending for outcome in result.outcomes} == {ending}


@pytest.mark.holds("events.table", "events.atomic")
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.key)
def test_an_operation_is_what_the_table_says(built: bytes, operation: Operation) -> None:
    assert try_operation(operation, built, vm_module()).as_declared


def test_the_documentation_has_the_table() -> None:
    assert table() in (FIXTURES.parents[1] / "docs" / "interleaving.md").read_text()


def test_the_documentation_shows_what_the_command_prints(
    built: bytes, with_asyncio: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = [(command, block) for command, block in documented() if "--as-implemented" not in command]
    assert len(shown) >= 8
    for command, block in shown:
        newest = kept.described(with_asyncio if "uevent" in command else built)
        monkeypatch.setattr("harness.reference.own_tree.kept.all_kept", lambda newest=newest: [newest])
        assert printed(monkeypatch, command) == words(block), command
