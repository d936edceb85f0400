"""What outlives a run of the real VM, and what does not. Upstream: CircuitPython ``main.c``, ``shared-bindings``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from harness.errors import FirmwareFailure, UsageError
from harness.reference.supervised import SupervisedVm
from harness.reference.supervisor import NODE
from harness.reference.supervisor_state import Ended, RunReason
from tests.reference.supervised_vm import files, refused, said


@pytest.fixture
def vm() -> Iterator[SupervisedVm]:
    with SupervisedVm() as machine:
        machine.put("code.py", b"print('code')\n")
        yield machine


# -- persisted_bytes -----------------------------------------------------------------------------


@pytest.mark.holds("kept.reload", "kept.bytes")
@pytest.mark.parametrize("data", ["b''", "b'x'", "bytes(range(256))", "bytearray(b'ab')", "memoryview(b'abcd')[1:3]"])
def test_persisted_bytes_of_any_kind_survive_reload(vm: SupervisedVm, data: str) -> None:
    said(vm, f"supervisor.persisted_bytes = {data}")
    vm.reload()
    assert said(vm, f"print(type(supervisor.persisted_bytes), supervisor.persisted_bytes == {data})") == (
        "<class 'bytes'> True"
    )


def test_persisted_bytes_of_an_array_are_its_bytes(vm: SupervisedVm) -> None:
    said(vm, "import array\nsupervisor.persisted_bytes = array.array('H', [1, 2])")
    assert said(vm, "print(supervisor.persisted_bytes)") == "b'\\x01\\x00\\x02\\x00'"


@pytest.mark.holds("kept.dynamic", "moving.over-64k")
def test_persisted_bytes_over_64_kib() -> None:
    with SupervisedVm(region_size=512 * 1024) as vm:
        said(vm, "supervisor.persisted_bytes = b'0123456789' * 10000")
        vm.run("raise SystemExit")
        assert said(vm, "print(supervisor.persisted_bytes == b'0123456789' * 10000)") == "True"


@pytest.mark.holds("kept.value")
def test_persisted_bytes_are_a_copy(vm: SupervisedVm) -> None:
    said(vm, "b = bytearray(b'abc')\nsupervisor.persisted_bytes = b\nb[0] = 0")
    assert said(vm, "print(supervisor.persisted_bytes)") == "b'abc'"


def test_a_new_value_takes_the_place_of_the_one_before(vm: SupervisedVm) -> None:
    for length in (100, 300, 298, 20):
        said(vm, f"supervisor.persisted_bytes = bytes({length})")
        vm.reload()
        assert vm.region.span.size - vm.region.middle.size == NODE + 4 + (length + 3 & ~3)


@pytest.mark.holds("kept.none")
def test_none_drops_persisted_bytes_and_their_memory(vm: SupervisedVm) -> None:
    said(vm, "supervisor.persisted_bytes = bytes(100)")
    vm.reload()
    assert vm.region.middle != vm.region.span
    assert said(vm, "supervisor.persisted_bytes = None\nprint(supervisor.persisted_bytes)") == "None"
    vm.reload()
    assert vm.region.middle == vm.region.span


@pytest.mark.holds("kept.types")
@pytest.mark.parametrize("wrong", ["5", "'text'", "[1, 2]", "object()"])
def test_a_wrong_type_is_refused_and_the_value_before_kept(vm: SupervisedVm, wrong: str) -> None:
    said(vm, "supervisor.persisted_bytes = b'before'")
    assert refused(vm, f"supervisor.persisted_bytes = {wrong}").startswith(b"TypeError")
    assert said(vm, "print(supervisor.persisted_bytes)") == "b'before'"


@pytest.mark.holds("kept.large")
def test_too_large_is_refused_and_the_value_before_kept(vm: SupervisedVm) -> None:
    said(vm, "supervisor.persisted_bytes = b'before'")
    assert refused(vm, "supervisor.persisted_bytes = bytes(40000)").startswith(b"MemoryError")
    assert said(vm, "print(supervisor.persisted_bytes)") == "b'before'"


def test_no_free_handle_is_a_memory_error_and_the_value_before_kept(vm: SupervisedVm) -> None:
    said(vm, "supervisor.persisted_bytes = b'before'")
    vm.reload()
    while vm.region.allocate(0) is not None:
        pass
    assert refused(vm, "supervisor.persisted_bytes = b'after, and longer'").startswith(b"MemoryError")
    assert said(vm, "print(supervisor.persisted_bytes)") == "b'before'"


@pytest.mark.holds("kept.fresh")
def test_persisted_bytes_are_gone_after_each_kind_of_hard_reset(vm: SupervisedVm) -> None:
    for reset in (vm.software_reset, vm.hard_reset, vm.power_cycle):
        said(vm, "supervisor.persisted_bytes = b'x'")
        reset()
        assert said(vm, "print(supervisor.persisted_bytes)") == "None"


@pytest.mark.holds("kept.exit")
def test_persisted_bytes_survive_a_program_that_exits_or_fails(vm: SupervisedVm) -> None:
    vm.put("code.py", b"import supervisor\nsupervisor.persisted_bytes = b'kept'\n1/0\n")
    assert [run.ended for run in vm.start()] == [Ended.ERROR]
    assert vm.run("import sys\nsys.exit()").stderr == b""
    assert said(vm, "print(supervisor.persisted_bytes)") == "b'kept'"


# -- alarm.sleep_memory --------------------------------------------------------------------------


@pytest.mark.holds("kept.sleep-memory")
def test_sleep_memory_has_a_fixed_size_and_is_zero_at_first(vm: SupervisedVm) -> None:
    assert said(vm, "m = alarm.sleep_memory\nprint(len(m), bool(m), any(m[:]))") == "4096 True False"
    assert refused(vm, "import alarm\nalarm.sleep_memory[4096] = 1").startswith(b"IndexError")
    assert refused(vm, "alarm.sleep_memory[0:2] = b'abc'").startswith(b"ValueError")
    assert refused(vm, "alarm.sleep_memory.append(1)").startswith(b"AttributeError")


@pytest.mark.holds("kept.sleep-memory")
def test_sleep_memory_survives_reload_and_deep_sleep_and_not_power_off(vm: SupervisedVm) -> None:
    said(vm, "alarm.sleep_memory[:3] = b'abc'")
    vm.put(
        "code.py", b"import alarm\nalarm.exit_and_deep_sleep_until_alarms(alarm.time.TimeAlarm(monotonic_time=60))\n"
    )
    (run,) = vm.reload()
    assert run.ended is Ended.DEEP_SLEEP
    vm.put("code.py", b"import alarm, supervisor\nprint(alarm.sleep_memory[:3], supervisor.runtime.run_reason)\n")
    (run,) = vm.start()
    assert run.result.stdout == b"bytearray(b'abc') supervisor.RunReason.STARTUP\r\n"
    vm.software_reset()
    assert said(vm, "print(alarm.sleep_memory[:3])") == "bytearray(b'abc')"
    for reset in (vm.power_cycle, vm.hard_reset):
        said(vm, "alarm.sleep_memory[0] = 97")
        reset()
        assert said(vm, "print(alarm.sleep_memory[0])") == "0"


@pytest.mark.holds("kept.sleep-memory-apart")
def test_deep_sleep_loses_the_region_and_takes_its_time(vm: SupervisedVm) -> None:
    vm.put(
        "code.py",
        b"import alarm, supervisor\nsupervisor.persisted_bytes = b'x'\n"
        b"alarm.exit_and_deep_sleep_until_alarms(alarm.time.TimeAlarm(monotonic_time=60))\n",
    )
    assert vm.start()[0].ended is Ended.DEEP_SLEEP
    with pytest.raises(UsageError, match="deep sleep"):
        vm.run("pass")
    vm.put("code.py", b"import supervisor\nprint(supervisor.persisted_bytes)\n")
    assert vm.start()[0].result.stdout == b"None\r\n"
    assert 60 <= vm.board.clock.now_ns / 1e9 < 61


def test_deep_sleep_is_not_for_the_repl(vm: SupervisedVm) -> None:
    source = "import alarm\nalarm.exit_and_deep_sleep_until_alarms(alarm.time.TimeAlarm(monotonic_time=60))"
    assert refused(vm, source).startswith(b"RuntimeError")


# -- set_next_code_file --------------------------------------------------------------------------


def next_file(vm: SupervisedVm, options: str = "", *, ending: str = "") -> None:
    """Have ``next.py``, which prints its name and ends in ``ending``, come next."""
    vm.put("next.py", f"print('next')\n{ending}\n".encode())
    said(vm, f"supervisor.set_next_code_file('next.py'{options and ', ' + options})")


@pytest.mark.holds("kept.dispatch")
def test_the_next_code_file_runs_once_and_then_the_usual_one(vm: SupervisedVm) -> None:
    next_file(vm)
    assert files(vm.reload()) == ["next.py"]
    assert files(vm.reload()) == ["code.py"]


@pytest.mark.holds("kept.next-file-lost")
def test_the_next_code_file_is_lost_at_a_hard_reset(vm: SupervisedVm) -> None:
    next_file(vm, "sticky_on_reload=True, sticky_on_success=True, sticky_on_error=True")
    vm.hard_reset()
    assert files(vm.start()) == ["code.py"]


@pytest.mark.parametrize(
    ("option", "ending", "sticks"),
    [
        ("sticky_on_success", "", True),
        ("sticky_on_success", "raise SystemExit", True),
        ("sticky_on_success", "1/0", False),
        ("sticky_on_error", "1/0", True),
        ("sticky_on_error", "raise KeyboardInterrupt", True),
        ("sticky_on_error", "", False),
        ("sticky_on_reload", "", False),
    ],
)
def test_sticky_on_what_the_file_ended_in(vm: SupervisedVm, option: str, ending: str, sticks: bool) -> None:
    next_file(vm, f"{option}=True", ending=ending)
    assert files(vm.reload()) == ["next.py"]
    assert files(vm.reload()) == ["next.py" if sticks else "code.py"]


@pytest.mark.parametrize("sticky", [True, False])
def test_sticky_on_reload_by_the_program(vm: SupervisedVm, sticky: bool) -> None:
    again = "import supervisor\nif supervisor.runtime.run_reason is not supervisor.RunReason.SUPERVISOR_RELOAD:\n"
    next_file(vm, f"sticky_on_reload={sticky}", ending=again + "    supervisor.reload()")
    assert files(vm.reload()) == ["next.py", "next.py" if sticky else "code.py"]


def test_auto_reload_adds_to_what_the_file_ended_in(vm: SupervisedVm) -> None:
    for option, expected in (("sticky_on_reload", "next.py"), ("sticky_on_success", "next.py"), ("", "code.py")):
        next_file(vm, f"{option}=True" if option else "")
        vm.reload()
        (run,) = vm.auto_reload()
        assert (run.file, run.reason) == (expected, RunReason.AUTO_RELOAD)
    vm.run("pass")
    with pytest.raises(UsageError, match="REPL"):
        vm.auto_reload()


def test_reload_on_success_goes_on_without_a_wait(vm: SupervisedVm) -> None:
    next_file(vm, "reload_on_success=True")
    assert files(vm.reload()) == ["next.py", "code.py"]
    next_file(vm, "reload_on_success=True", ending="1/0")
    assert files(vm.reload()) == ["next.py"]


def test_reload_on_error_goes_on_without_a_wait(vm: SupervisedVm) -> None:
    next_file(vm, "reload_on_error=True", ending="1/0")
    assert files(vm.reload()) == ["next.py", "code.py"]
    next_file(vm, "reload_on_error=True")
    assert files(vm.reload()) == ["next.py"]


def test_options_apply_to_the_file_they_came_with(vm: SupervisedVm) -> None:
    # While one file runs, what is set for the next one does not reload this one.
    vm.put("code.py", b"import supervisor\nsupervisor.set_next_code_file('next.py', reload_on_success=True)\n")
    vm.put("next.py", b"print('next')\n")
    assert files(vm.start()) == ["code.py"]
    assert files(vm.reload()) == ["next.py", "code.py"]


def test_only_the_last_call_in_a_run_counts(vm: SupervisedVm) -> None:
    vm.put("other.py", b"pass")
    next_file(vm)
    said(vm, "supervisor.set_next_code_file('other.py')")
    assert files(vm.reload()) == ["other.py"]
    next_file(vm)
    said(vm, "supervisor.set_next_code_file(None)")
    assert files(vm.reload()) == ["code.py"]


def test_none_with_options_keeps_the_usual_files(vm: SupervisedVm) -> None:
    vm.put("code.py", b"import supervisor\nif supervisor.runtime.run_reason != 9: supervisor.persisted_bytes = b'1'\n")
    said(vm, "supervisor.set_next_code_file(None, reload_on_success=True)")
    assert files(vm.reload()) == ["code.py", "code.py"]


def test_a_missing_file_is_a_value_error_and_a_wrong_type_a_type_error(vm: SupervisedVm) -> None:
    next_file(vm)
    assert refused(vm, "supervisor.set_next_code_file('gone.py')") == b"ValueError: File not found"
    assert refused(vm, "supervisor.set_next_code_file(5)").startswith(b"TypeError")
    assert files(vm.reload()) == ["next.py"]


def test_a_file_that_is_gone_by_then_gives_way_to_the_usual_one(vm: SupervisedVm) -> None:
    next_file(vm)
    vm.remove("next.py")
    assert files(vm.reload()) == ["code.py"]


def test_code_files_are_searched_in_circuitpythons_order(vm: SupervisedVm) -> None:
    for name in ("main.txt", "main.py", "code.txt"):
        vm.put(name, b"pass")
    order = []
    for _ in range(4):
        (run,) = vm.reload()
        assert run.file is not None
        order.append(run.file)
        vm.remove(run.file)
    assert order == ["code.txt", "code.py", "main.py", "main.txt"]
    assert files(vm.reload()) == [None]


@pytest.mark.holds("kept.pay", "moving.clients")
def test_the_next_code_file_takes_memory_from_the_region_only_while_it_is_set(vm: SupervisedVm) -> None:
    next_file(vm)
    (run,) = vm.reload()
    assert run.heap == vm.region.span.size - NODE - 12  # options, name, end of string: rounded up to words
    (run,) = vm.reload()
    assert run.heap == vm.region.span.size


# -- reload and run reasons ----------------------------------------------------------------------


def test_run_reasons(vm: SupervisedVm) -> None:
    vm.put("code.py", b"import supervisor\nprint(supervisor.runtime.run_reason)\n")
    names = [runs[0].result.stdout for runs in (vm.start(), vm.reload(), vm.auto_reload())]
    assert names == [
        f"supervisor.RunReason.{name}\r\n".encode() for name in ("STARTUP", "REPL_RELOAD", "AUTO_RELOAD")
    ]  # fmt: skip
    once = b"import supervisor as s\nif s.runtime.run_reason is s.RunReason.REPL_RELOAD: s.reload()\n"
    vm.put("code.py", once)
    assert [run.reason for run in vm.reload()] == [RunReason.REPL_RELOAD, RunReason.SUPERVISOR_RELOAD]


def test_reload_on_success_leaves_the_run_reason_as_it_was(vm: SupervisedVm) -> None:
    vm.put("code.py", b"import supervisor\nsupervisor.set_next_code_file('next.py', reload_on_success=True)\n")
    vm.put("next.py", b"pass")
    vm.start()
    vm.put("code.py", b"pass")
    assert [(run.file, run.reason) for run in vm.auto_reload()] == [
        ("next.py", RunReason.AUTO_RELOAD),
        ("code.py", RunReason.AUTO_RELOAD),
    ]


def test_a_reload_that_a_program_swallows_is_none(vm: SupervisedVm) -> None:
    vm.put("code.py", b"import supervisor\ntry: supervisor.reload()\nexcept: pass\n")
    (run,) = vm.start()
    assert run.ended is Ended.SUCCESS


def test_reload_runs_what_finally_says_and_no_handler_of_exception(vm: SupervisedVm) -> None:
    vm.put(
        "code.py",
        b"import supervisor as s\nif s.runtime.run_reason is s.RunReason.STARTUP:\n"
        b"    try: s.reload()\n    except Exception: print('caught')\n    finally: print('finally')\n",
    )
    first, second = vm.start()
    assert (first.result.stdout, first.result.stderr, first.ended) == (b"finally\r\n", b"", Ended.RELOAD)
    assert second.ended is Ended.SUCCESS


def test_a_program_that_reloads_for_ever_is_stopped(vm: SupervisedVm) -> None:
    vm.put("code.py", b"import supervisor\nsupervisor.reload()\n")
    with pytest.raises(FirmwareFailure, match="reloaded 3 times"):
        vm.start(at_most=3)


def test_a_start_is_for_a_board_that_was_reset(vm: SupervisedVm) -> None:
    vm.start()
    with pytest.raises(UsageError, match="started already"):
        vm.start()


def test_a_program_without_end_leaves_the_region_in_order(vm: SupervisedVm) -> None:
    vm.put("code.py", b"import supervisor\nsupervisor.persisted_bytes = b'x'\nwhile True: pass\n")
    with pytest.raises(FirmwareFailure, match="did not end"):
        vm.start(timeout=0.2)
    assert not vm.region.running
    assert said(vm, "print(supervisor.persisted_bytes)") == "b'x'"


@pytest.mark.parametrize("request_", ["'junk'", "''", "'persist 1 2'", "'persist 99999999 99999999 0'", "'read x'"])
def test_a_program_that_abuses_the_hosts_services_fails_and_the_next_one_runs(vm: SupervisedVm, request_: str) -> None:
    with contextlib.suppress(FirmwareFailure):
        vm.run(f"import host\nhost.call('supervisor', {request_})")
    assert vm.reload()[0].result.stdout == b"code\r\n"
