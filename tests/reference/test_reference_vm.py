import re
from collections.abc import Iterator

import pytest

from harness.errors import FirmwareFailure
from harness.reference.vm import ReferenceVm
from harness.runtimes.interface import Runtime


@pytest.fixture
def vm() -> Iterator[ReferenceVm]:
    with ReferenceVm() as machine:
        yield machine


def test_it_is_a_runtime_and_says_what_it_is(vm: ReferenceVm) -> None:
    assert isinstance(vm, Runtime)
    facts = vm.facts
    assert (facts.name, facts.word_size, facts.object_repr, facts.mpy) == ("micropython", 4, "A", 774)
    assert facts.heap_total == 56000  # 64 * (8 * (57344 - 1) // 524), MicroPython py/gc.c gc_setup_area


def test_output_is_what_a_board_would_send(vm: ReferenceVm) -> None:
    assert vm.run("for i in range(3): print(i)").stdout == b"0\r\n1\r\n2\r\n"
    assert vm.run("import sys; n = sys.stdout.buffer.write(b'a\\nb')").stdout == b"a\nb"


def test_tracebacks_name_the_program_only(vm: ReferenceVm) -> None:
    result = vm.run("def f():\n  1/0\nf()")
    assert result.stderr == (
        b"Traceback (most recent call last):\r\n"
        b'  File "<stdin>", line 3, in <module>\r\n'
        b'  File "<stdin>", line 2, in f\r\n'
        b"ZeroDivisionError: divide by zero\r\n"
    )


def test_globals_stay_between_programs_and_go_with_a_soft_reset(vm: ReferenceVm) -> None:
    vm.run("x = 7")
    assert vm.run("print(x)").stdout == b"7\r\n"
    vm.soft_reset()
    assert b"NameError" in vm.run("print(x)").stderr


def test_files_stay_over_a_soft_reset(vm: ReferenceVm) -> None:
    vm.put("/lib_module.py", b"ANSWER = 42\n")
    vm.soft_reset()
    assert vm.run("import lib_module; print(lib_module.ANSWER)").stdout == b"42\r\n"
    assert vm.get("lib_module.py") == b"ANSWER = 42\n"
    vm.remove("/lib_module.py")
    assert b"ImportError" in vm.run("import sys; sys.modules.clear()\nimport lib_module").stderr


def test_a_sleep_takes_no_time_and_is_as_long_as_it_says(vm: ReferenceVm) -> None:
    source = "import time\nt = time.ticks_ms()\ntime.sleep(100)\nprint(time.ticks_diff(time.ticks_ms(), t))"
    result = vm.run(source)
    # This build waits in steps of half a millisecond, so a millisecond counter may see one more.
    assert result.stdout in (b"100000\r\n", b"100001\r\n")
    assert result.seconds < 10


def test_cost_is_the_same_on_every_run(vm: ReferenceVm) -> None:
    program = "import gc\nd = {i: str(i) for i in range(200)}\ngc.collect()\nprint(len(d), gc.mem_alloc())"
    seen = set()
    for _ in range(3):
        vm.soft_reset()
        result = vm.run(program)
        seen.add((result.stdout, vm.cost))
    assert len(seen) == 1


def test_the_collector_is_sound_under_stress() -> None:
    with ReferenceVm(heap_size=60 * 1024) as vm:
        result = vm.run(
            "import gc\ngc.threshold(1024)\ntotal = 0\n"
            "for r in range(100):\n"
            "    head = None\n"
            "    for i in range(100):\n        head = [i, str(i), head]\n"
            "    while head:\n        total += head[0] + len(head[1])\n        head = head[2]\n"
            "print(total)",
        )
    assert (result.stdout, result.stderr) == (b"514000\r\n", b"")  # 100 * (4950 + 190)


def test_a_program_that_never_ends_is_interrupted_and_the_vm_goes_on(vm: ReferenceVm) -> None:
    with pytest.raises(FirmwareFailure, match="did not end within 0.3 s"):
        vm.run("while True: pass", timeout=0.3)
    assert vm.run("print('alive')").stdout == b"alive\r\n"


def test_a_program_that_swallows_the_interrupt_is_ended(vm: ReferenceVm) -> None:
    source = "while True:\n  try:\n    while True: pass\n  except BaseException: pass"
    with pytest.raises(FirmwareFailure, match="did not end"):
        vm.run(source, timeout=0.3)
    assert vm.run("print('alive')").stdout == b"alive\r\n"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("a = []\nwhile True: a.append(bytes(1000))", b"MemoryError"),
        ("def f(): f()\nf()", b"RuntimeError: maximum recursion depth exceeded"),
        ("raise SystemExit", b""),
    ],
)
def test_bad_programs_end_with_their_own_error(vm: ReferenceVm, source: str, error: bytes) -> None:
    assert error in vm.run(source).stderr
    vm.soft_reset()  # what a full heap needs on a board, too
    assert vm.run("print('alive')").stdout == b"alive\r\n"


def test_a_flood_of_output_is_cut_off(vm: ReferenceVm) -> None:
    with pytest.raises(FirmwareFailure, match="printed more than"):
        vm.run("s = 'x' * 4000\nwhile True: print(s)")
    assert vm.run("print('alive')").stdout == b"alive\r\n"


def test_execution_in_place_keeps_bytecode_out_of_the_heap(vm: ReferenceVm) -> None:
    from harness.formats.romfs import build_romfs, compile_module

    functions = "".join(f"def f{i}(x):\n    return x * {i} + len('constant text {i}')\n" for i in range(40))
    mpy = compile_module("many.py", functions.encode())
    vm.put("/many_ram.mpy", mpy)
    vm.map_romfs(build_romfs({"many_rom.mpy": mpy}))
    probe = "import gc, sys\ngc.disable()\na = gc.mem_alloc()\nimport {0}\nprint(gc.mem_alloc() - a, {0}.f3(2))"
    figures = {}
    for name in ("many_ram", "many_rom"):
        found = re.match(rb"(\d+) (\d+)\r\n$", vm.run(probe.format(name)).stdout)
        assert found, name
        figures[name] = int(found[1])
        assert int(found[2]) == 2 * 3 + len("constant text 3")
    assert figures["many_rom"] < 0.6 * figures["many_ram"]
