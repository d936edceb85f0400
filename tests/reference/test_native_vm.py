"""A native unix build as a runtime. Skipped where there is none: nothing here can be shown without one."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.judging.rules import heap_rule
from harness.reference.engine.native_build import find_native, is_native
from harness.reference.native_reference import NativeVm
from harness.reference.vm import ReferenceVm
from harness.runtimes.interface import Runtime

BUILD = find_native()
needs_build = pytest.mark.skipif(BUILD is None, reason="no native build: none in HARNESS_NATIVE_VM, none on PATH")


@pytest.fixture
def vm() -> Iterator[NativeVm]:
    assert BUILD is not None
    with NativeVm(BUILD, heap_size=256 * 1024) as native:
        yield native


def test_an_executable_is_told_from_other_files(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    copy = tmp_path / "copy"
    shutil.copyfile("/bin/sh", copy)
    copy.chmod(0o644)
    assert is_native(Path("/bin/sh"))
    assert not any(is_native(path) for path in (script, copy, tmp_path, tmp_path / "nothing"))


def test_a_variable_that_names_no_executable_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HARNESS_NATIVE_VM", str(tmp_path))
    with pytest.raises(UsageError, match="not a native executable"):
        find_native()


@pytest.mark.parametrize("other", [sys.executable, "/bin/true", "/bin/cat"])
def test_an_executable_that_is_no_micropython_is_a_usage_error(other: str) -> None:
    with pytest.raises(UsageError, match="does not start as a MicroPython unix build does"):
        NativeVm(Path(other))


@needs_build
def test_it_is_a_runtime_and_says_what_it_is(vm: NativeVm) -> None:
    assert isinstance(vm, Runtime)
    assert vm.facts.name == "micropython"
    bits = {(4, "A"): "31", (8, "A"): "63", (8, "D"): "47"}  # MicroPython py/smallint.h, MP_SMALL_INT_BITS
    assert vm.facts.object_repr is not None
    assert vm.facts.extra["small_int_bits"] == bits[vm.facts.word_size, vm.facts.object_repr]
    assert 128 * 1024 < vm.facts.heap_total < 256 * 1024
    assert not hasattr(vm, "cost"), "a host time must not be taken for a metered cost"


@needs_build
def test_the_heap_rule_follows_from_what_it_says(vm: NativeVm) -> None:
    with ReferenceVm() as reference:
        rule = heap_rule(vm.facts, reference.facts)
    assert not rule.exact
    if vm.facts.word_size == 8:
        assert rule.percent and "8 and 4 bytes" in rule.words
    same_build = heap_rule(vm.facts, replace(vm.facts))
    assert same_build.exact


@needs_build
def test_output_and_traceback_are_what_a_board_sends(vm: NativeVm) -> None:
    result = vm.run("print(1)\ndef f():\n  1/0\nf()")
    assert result.stdout == b"1\r\n"
    assert result.stderr.startswith(
        b"Traceback (most recent call last):\r\n"
        b'  File "<stdin>", line 4, in <module>\r\n'
        b'  File "<stdin>", line 3, in f\r\n'
        b"ZeroDivisionError: "
    )
    result = vm.run("print(b'a' == 'a')\nraise ValueError('ready')")
    assert result.stdout == b"Warning: Comparison between bytes and str\r\nFalse\r\n"
    assert result.stderr.endswith(b"ValueError: ready\r\n")
    assert vm.run("x = = 1").stderr.endswith(b"SyntaxError: invalid syntax\r\n")


@needs_build
def test_globals_stay_between_programs_and_go_with_a_reset(vm: NativeVm) -> None:
    vm.run("x = 7")
    assert vm.run("print(x)").stdout == b"7\r\n"
    vm.soft_reset()
    assert b"NameError" in vm.run("print(x)").stderr
    vm.run("x = 7")
    assert vm.run("print(x)\nraise SystemExit(3)").stdout == b"7\r\n"
    assert b"NameError" in vm.run("print(x)").stderr


@needs_build
@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("while True: pass", "did not end within 0.5 s"),
        ("try:\n while True: pass\nexcept KeyboardInterrupt:\n while True: pass", "did not end within 0.5 s"),
        ("while True: print('a' * 10000)", "printed more than 4096 kB"),
        ("import uctypes\nuctypes.bytearray_at(8, 8)[0] = 1", "crashed: SIGSEGV"),
    ],
)
def test_a_program_in_trouble_is_a_failure_and_the_vm_goes_on(vm: NativeVm, source: str, reason: str) -> None:
    with pytest.raises(FirmwareFailure, match=reason):
        vm.run(source, timeout=0.5 if "within" in reason else 20)
    assert vm.run("print(5)").stdout == b"5\r\n"


@needs_build
def test_a_program_that_catches_ctrl_c_keeps_its_globals(vm: NativeVm) -> None:
    with pytest.raises(FirmwareFailure):
        vm.run("try:\n while True: pass\nexcept KeyboardInterrupt:\n x = 9", timeout=0.5)
    assert vm.run("print(x)").stdout == b"9\r\n"


@needs_build
def test_a_program_longer_than_a_pipe_holds_arrives_whole(vm: NativeVm) -> None:
    assert vm.run("x = 1\n" + "#" * 100_000 + "\nprint(x)").stdout == b"1\r\n"


@needs_build
def test_a_program_larger_than_the_heap_is_a_failure(vm: NativeVm) -> None:
    with pytest.raises(FirmwareFailure, match="MemoryError"):
        vm.run("#" * 1_000_000)
    assert vm.run("print(5)").stdout == b"5\r\n"


@needs_build
def test_files_are_in_a_folder_of_its_own(vm: NativeVm) -> None:
    vm.put("/hx.py", b"value = 42")
    assert vm.run("import hx\nprint(hx.value)").stdout == b"42\r\n"
    vm.run("with open('out.bin', 'wb') as f: f.write(b'\\0\\r\\n')")
    assert vm.get("out.bin") == b"\0\r\n"
    vm.remove("out.bin")
    with pytest.raises(BenchFault, match="no file"):
        vm.get("out.bin")
    with pytest.raises(UsageError, match="leads out"):
        vm.put("../out.bin", b"")
