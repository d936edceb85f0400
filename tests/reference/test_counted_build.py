"""The counted build counts what it should, exactly, and does nothing else than the module it was made of."""

from __future__ import annotations

import pytest
import wasmtime

from harness.errors import BenchFault
from harness.judging.calibration import work_of
from harness.judging.profiles import PLAIN
from harness.reference.engine.counted_build import EXPORT, FUEL_WEIGHTS, Work, counted, kind_of
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.wasm_module import engine, sections
from harness.reference.vm import ReferenceVm
from harness.runtimes.program import Program
from harness.runtimes.records import DRAWN_NUMBERS

#: One function for each kind of instruction that the VM's module may or may not have.
TEXT = """
(module
  (memory (export "memory") 1)
  (table 1 funcref) (elem (i32.const 0) $nothing)
  (func $nothing)
  (func (export "loop") (param i32) (result i32) (local i32)
    (loop $again
      (local.set 1 (i32.add (local.get 1) (i32.load (i32.const 8))))
      (i32.store (i32.const 8) (i32.const 3))
      (br_if $again (local.tee 0 (i32.sub (local.get 0) (i32.const 1)))))
    (local.get 1))
  (func (export "wide") (param i64) (result i64)
    (i64.add (i64.mul (local.get 0) (i64.const 300000000000)) (i64.const 7)))
  (func (export "real") (param f64) (result f64) (f64.add (f64.sqrt (local.get 0)) (f64.const 1)))
  (func (export "copy") (param i32)
    (memory.fill (i32.const 0) (i32.const 1) (local.get 0)) (memory.copy (i32.const 64) (i32.const 0) (i32.const 5)))
  (func (export "calls") (call $nothing) (call_indirect (i32.const 0)))
  (func (export "switch") (param i32) (result i32)
    (block $b (block $a (br_table $a $b (local.get 0))) (return (i32.const 10))) (i32.const 20)))
"""


def run(module: bytes, name: str, *arguments: float) -> tuple[object, int, dict[Work, int]]:
    """What the function gave, the fuel that it used, and what the counters of a counted build say."""
    store = wasmtime.Store(engine())
    store.set_fuel(1_000_000)
    store.set_epoch_deadline(1 << 40)
    instance = wasmtime.Instance(store, wasmtime.Module(engine(), module), [])
    exports = instance.exports(store)
    function = exports[name]
    assert isinstance(function, wasmtime.Func)
    gave = function(store, *arguments)
    counts = {}
    for kind in Work:
        counter = exports.get(EXPORT + kind.name.lower())
        if isinstance(counter, wasmtime.Global):
            counts[kind] = int(counter.value(store))
    return gave, 1_000_000 - int(store.get_fuel()), counts


@pytest.fixture(scope="module")
def plain() -> bytes:
    return bytes(wasmtime.wat2wasm(TEXT))


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("loop", (5,), {Work.LOAD: 5, Work.STORE: 5, Work.ALU: 10, Work.BRANCH: 5, Work.ENTRY: 1}),
        ("wide", (9,), {Work.WIDE: 1, Work.WIDE_HEAVY: 1, Work.PLAIN: 3, Work.ENTRY: 1}),
        ("real", (2.0,), {Work.FLOAT: 1, Work.FLOAT_HEAVY: 1, Work.PLAIN: 2, Work.ENTRY: 1}),
        ("copy", (17,), {Work.BULK: 2, Work.COPIED: 22, Work.PLAIN: 6, Work.ENTRY: 1}),
        ("copy", (0,), {Work.BULK: 2, Work.COPIED: 5, Work.PLAIN: 6, Work.ENTRY: 1}),
        ("calls", (), {Work.CALL: 1, Work.INDIRECT: 1, Work.PLAIN: 1, Work.ENTRY: 3}),
        ("switch", (0,), {Work.DISPATCH: 1, Work.PLAIN: 2, Work.ENTRY: 1}),
        ("switch", (1,), {Work.DISPATCH: 1, Work.PLAIN: 2, Work.ENTRY: 1}),
    ],
)
def test_each_kind_is_counted(plain: bytes, name: str, arguments: tuple[float, ...], expected: dict[Work, int]) -> None:
    gave, fuel, none = run(plain, name, *arguments)
    same, _, counts = run(counted(plain), name, *arguments)
    assert same == gave
    assert not none
    shown = {kind: count for kind, count in counts.items() if count}
    if name == "loop":  # how many locals and constants does not matter here, and their sum is held against the fuel
        assert {kind: count for kind, count in shown.items() if kind is not Work.PLAIN} == expected
    else:
        assert shown == expected
    assert sum(counts.values()) == fuel


def test_the_vm_does_and_costs_the_same() -> None:
    source = (
        "x = [str(i) + '%f' % (i * 1.5) for i in range(300)]\ny = sorted(x)\n"
        "for i in range(50):\n    try:\n        raise ValueError(1 << 40 + i)\n"
        "    except ValueError as e:\n        y.append(e)\n"
        "print(len(y), y[7])"
    )
    with ReferenceVm() as plain, plain.counted() as counting:
        assert not plain.readings
        before = plain.cost, counting.cost
        assert plain.run(source).stdout == counting.run(source).stdout
        cost, same = plain.cost - before[0], counting.cost - before[1]
        assert same == pytest.approx(cost, abs=2)  # pages that memory grew by
        assert cost > 1_000_000


def test_work_is_told_for_each_operation_and_again_the_same() -> None:
    program = Program.load("calibration", n=100)
    with ReferenceVm() as reference:
        assert reference.facts.word_size == 4  # asked in a life of its own
        reference.soft_reset()
        here = program.run(reference, drawn=DRAWN_NUMBERS[0])  # as the counted run: a heap to the byte alike
        work = work_of(program, reference)
        assert work_of(program, reference) == work
    assert list(work) == [one.name for one in here.observations]
    assert work["floats"][Work.FLOAT_HEAVY] == 25  # one multiplication each round, and nowhere else
    assert work["loop"][Work.FLOAT] == work["loop"][Work.FLOAT_HEAVY] == 0
    assert work["big_ints"][Work.MULTIPLY] > 100 > work["loop"][Work.MULTIPLY]
    for one in here.observations:  # a clock of whole microseconds is looked at twice
        assert PLAIN.cost(work[one.name]) == pytest.approx(float(one.value), abs=6)


def test_weights_move_the_clock() -> None:
    program = Program("timed", "agent.time('t', lambda: [i * 2 for i in range(200)])\nagent.done()\n")
    double = tuple(2 * weight for weight in FUEL_WEIGHTS)
    with ReferenceVm() as reference, reference.counted() as alike, reference.counted(double) as twice:
        assert program.run(twice).value("t") == pytest.approx(2 * program.run(alike).value("t"), rel=0.01)


def test_a_program_that_looks_at_the_clock_by_itself_is_refused() -> None:
    source = "from time import ticks_us\nagent.time('t', lambda: ticks_us())\nagent.done()\n"
    with ReferenceVm() as reference, pytest.raises(BenchFault, match="looked at its clock at times of its own"):
        work_of(Program("timed", source), reference)


def test_the_counted_twin_has_the_files() -> None:
    with ReferenceVm() as reference:
        reference.put("/there.txt", b"yes")
        with reference.counted() as twin:
            assert twin.get("/there.txt") == b"yes"


def test_the_module_is_left_as_it_was() -> None:
    module = vm_module()
    rewritten = counted(module)
    assert [kind for kind, _ in sections(rewritten)] == [kind for kind, _ in sections(module)]
    same = {kind: content for kind, content in sections(module) if kind not in (0, 6, 7, 10)}
    assert {kind: content for kind, content in sections(rewritten) if kind in same} == same


def test_an_unknown_instruction_is_refused(plain: bytes) -> None:
    vector = bytes(wasmtime.wat2wasm('(module (func (export "f") (param v128) (drop (i8x16.neg (local.get 0)))))'))
    with pytest.raises(ValueError, match="instruction 0xfd is not known"):
        counted(vector)


def test_labels_use_no_fuel() -> None:
    assert kind_of(0x0B) is kind_of(0x02) is kind_of(0x1A) is None
