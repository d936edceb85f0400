"""The measuring agent on the reference VM: known costs come out as they are."""

from collections.abc import Iterator

import pytest

from harness.errors import FirmwareFailure, UsageError
from harness.reference.vm import ReferenceVm
from harness.runtimes.program import Program
from harness.runtimes.records import Decoded


@pytest.fixture(scope="module")
def vm() -> Iterator[ReferenceVm]:
    with ReferenceVm() as machine:
        yield machine


def measure(vm: ReferenceVm, source: str, **inputs: object) -> Decoded:
    vm.soft_reset()
    return Program("probe", source + "\nagent.done()\n", inputs).run(vm)


@pytest.mark.parametrize(
    ("expression", "size"),
    [  # request sizes by MicroPython py/obj*.c on 32 bits, in 16-byte blocks
        ("None", 0),
        ("[]", 32),
        ("[1, 2, 3, 4, 5]", 48),
        ("{}", 16),
        ("(1, n)", 16),
        ("bytearray(17)", 48),
        ("n * 1.5", 16),
    ],
)
def test_heap_figures_are_the_rules_of_the_vm(vm: ReferenceVm, expression: str, size: int) -> None:
    assert measure(vm, f"n = 1\nagent.heap('x', lambda: {expression})").value("x") == size


def test_its_own_cost_is_taken_out(vm: ReferenceVm) -> None:
    found = measure(vm, "agent.heap('h', lambda: None)\nagent.time('t', lambda: None, 9)")
    assert found.value("h") == 0
    assert abs(found.value("t")) <= 1


def test_twice_the_work_takes_twice_the_time(vm: ReferenceVm) -> None:
    source = (
        "def work(n):\n    for i in range(n): pass\n"
        "agent.time('one', lambda: work(2000))\nagent.time('two', lambda: work(4000))"
    )
    found = measure(vm, source)
    assert found.value("two") / found.value("one") == pytest.approx(2, rel=0.02)
    # Metered: what moves is the clock's last digit, and how far the allocator looks for a free block.
    assert max(found["one"].samples) - min(found["one"].samples) <= 10


def test_what_is_kept_and_what_is_garbage(vm: ReferenceVm) -> None:
    source = (
        "box = []\ndef keep():\n    garbage = bytearray(1000)\n    box.append(bytearray(500))\n"
        "def undo():\n    box.clear()\n    box.append(0)\n"
        "agent.kept('k', keep, undo)"
    )
    assert measure(vm, source).value("k") == 16 + 512  # object, and 500 bytes in 16-byte blocks


def test_states_and_inputs_survive_any_text(vm: ReferenceVm) -> None:
    text = 'a|b,c\x02\x03%\n"ü" \\'
    assert measure(vm, "agent.state('s', INPUT['text'])", text=text).text("s") == text


def test_a_program_that_raises_is_the_firmwares_failure(vm: ReferenceVm) -> None:
    with pytest.raises(FirmwareFailure, match="ZeroDivisionError"):
        measure(vm, "1/0")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="there is no program .nothing.py."):
        Program.load("nothing")
