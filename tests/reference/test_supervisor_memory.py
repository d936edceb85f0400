"""The region that is given to the VM, and its clients' memory while the real VM runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.errors import FirmwareFailure
from harness.reference.supervised import SupervisedVm
from harness.reference.supervisor import NODE
from tests.reference.supervised_vm import files, said


@pytest.fixture
def vm() -> Iterator[SupervisedVm]:
    with SupervisedVm() as machine:
        machine.put("code.py", b"print('code')\n")
        yield machine


@pytest.mark.holds("moving.defragment")
def test_the_vm_gets_exactly_what_the_allocations_leave(vm: SupervisedVm) -> None:
    (first,) = vm.start()
    assert first.heap == vm.region.span.size
    taken = vm.region.allocate(1000)
    high = vm.region.allocate(500, high_address=True)
    assert taken and high
    (second,) = vm.reload()
    assert second.heap == first.heap - 1500 - 2 * NODE
    total = "import gc\ngc.collect()\nprint(gc.mem_alloc() + gc.mem_free())"
    assert int(said(vm, total)) == pytest.approx(second.heap * 512 / 524, abs=128)  # MicroPython py/gc.c gc_setup_area


def test_the_repl_is_one_life_until_the_next_start(vm: SupervisedVm) -> None:
    vm.put("code.py", b"of_code = 1")
    vm.run("kept = 5")
    assert said(vm, "print(kept)") == "5"
    vm.reload()
    for name in ("kept", "of_code"):
        assert b"NameError" in vm.run(name).stderr


def test_the_monotonic_clock_is_there_without_a_chip(vm: SupervisedVm) -> None:
    """The clock that TimeAlarm is set by; no ticks beside it, as on CircuitPython."""
    told = "import time; t = time.monotonic_ns(); time.sleep(2.5); print((time.monotonic_ns() - t) // 1000000)"
    assert said(vm, told) in ("2500", "2501")
    assert b"AttributeError" in vm.run("time.ticks_ms").stderr


@pytest.mark.holds("kept.pay")
def test_nothing_is_used_when_nothing_is_kept(vm: SupervisedVm) -> None:
    vm.run("import supervisor, alarm\nalarm.sleep_memory[0] = 1\nprint(supervisor.persisted_bytes)")
    vm.reload()
    assert vm.region.middle == vm.region.span


@pytest.mark.holds("moving.in-heap", "moving.root")
def test_an_allocation_made_while_the_vm_runs_is_in_its_heap_and_survives_collections(vm: SupervisedVm) -> None:
    said(vm, "supervisor.persisted_bytes = bytes(range(200))")
    (node,) = vm.region.embedded()
    assert not vm.region.span.start <= node < vm.region.span.end
    churn = "import gc\nfor i in range(20):\n    x = [bytearray(64) for j in range(200)]\n    gc.collect()\n"
    assert said(vm, churn + "print(supervisor.persisted_bytes == bytes(range(200)))") == "True"
    assert vm.region.embedded() == [node]


def test_what_was_freed_is_taken_by_the_next_collection(vm: SupervisedVm) -> None:
    vm.run("import supervisor, gc\ndef used():\n    gc.collect()\n    return gc.mem_alloc()")
    before = int(said(vm, "print(used())"))
    said(vm, "supervisor.persisted_bytes = bytes(8000)")
    assert int(said(vm, "print(used())")) - before >= 8000
    said(vm, "supervisor.persisted_bytes = None")
    assert int(said(vm, "print(used())")) - before < 1000


@pytest.mark.holds("moving.root")
def test_two_allocations_in_the_heap_hang_on_the_guests_one_root(vm: SupervisedVm) -> None:
    said(vm, "supervisor.persisted_bytes = bytes(100)\nsupervisor.set_next_code_file('code.py')")
    assert len(vm.region.embedded()) == 2
    said(vm, "import gc\nfor i in range(30):\n    x = [bytearray(90) for j in range(200)]\n    gc.collect()")
    assert said(vm, "print(supervisor.persisted_bytes == bytes(100))") == "True"
    assert files(vm.reload()) == ["code.py"]


@pytest.mark.holds("moving.hole-first")
def test_a_hole_of_the_same_length_is_used_before_the_vms_heap(vm: SupervisedVm) -> None:
    low = [vm.region.allocate(length) for length in (104, 8)]
    vm.region.free(low[0])
    said(vm, "supervisor.persisted_bytes = bytes(100)")  # with its length, 104
    assert vm.region.embedded() == []
    assert said(vm, "print(supervisor.persisted_bytes == bytes(100))") == "True"


@pytest.mark.holds("moving.callback")
def test_a_client_with_a_raw_pointer_is_told_where_its_memory_went(vm: SupervisedVm) -> None:
    said(vm, "supervisor.persisted_bytes = b'framebuffer'")
    old = vm.region.embedded()[0] + NODE
    found = []
    vm.region.on_move.append(lambda: found.append(vm.region.allocation_from_ptr(old)))
    vm.reload()
    assert found[0] is not None and found[0].pointer == vm.region.span.start + NODE
    assert found[0].read()[4:15] == b"framebuffer"


@pytest.mark.holds("moving.in-heap", "moving.handle", "moving.callback", "moving.clients", "moving.bottom")
def test_a_frame_buffer_is_allocated_while_the_vm_runs_and_moves_with_its_contents(vm: SupervisedVm) -> None:
    """From the heap of the VM that runs; at its end to the bottom of what was the heap: both kinds of client know."""
    vm.run("waste = [bytearray(300) for _ in range(40)]")
    whole = vm.region.span.size
    frame = vm.allocate(2001)
    assert frame is not None and frame.get_length() == 2004
    old = frame.pointer
    assert vm.region.embedded() == [old - NODE]
    frame.write(b"pixels", 1998)
    said(
        vm,
        "import gc\nwaste = None\nfor _ in range(20):\n    x = [bytearray(90) for j in range(200)]\n    gc.collect()",
    )
    assert said(vm, f"import uctypes; print(bytes(uctypes.bytearray_at({old + 1998}, 6)))") == "b'pixels'"
    moved = []
    vm.region.on_move.append(lambda: moved.append((vm.region.allocation_from_ptr(old), frame.pointer)))
    (run,) = vm.reload()
    assert moved[0] == (frame, vm.region.span.start + NODE) != (frame, old)
    assert frame.read()[1998:] == b"pixels"
    assert run.heap == whole - 2004 - NODE


def test_a_client_is_refused_what_does_not_fit_and_nothing_is_lost(vm: SupervisedVm) -> None:
    vm.run("pass")
    first = vm.allocate(100)
    assert first is not None
    assert vm.allocate(100_000) is None
    assert vm.allocate(60_000) is None  # the heap of the VM that runs is not that large
    assert said(vm, "print(6 * 7)") == "42"
    vm.leave_repl()
    assert vm.allocate(60_000) is not None  # and this is no VM's heap now
    assert first.get_length() == 100


def test_a_program_that_makes_a_display_keeps_its_memory_for_the_next(vm: SupervisedVm) -> None:
    vm.put("code.py", b"import supervisor\nsupervisor._allocate(500)\nraise ValueError('after it')")
    vm.reload()
    (client,) = vm.state.clients
    assert client.pointer == vm.region.span.start + NODE
    vm.region.free(client)
    vm.put("code.py", b"pass")
    (run,) = vm.reload()
    assert run.heap == vm.region.span.size


def test_a_heap_too_small_to_start_in_is_a_failure_and_a_reset_cures_it(vm: SupervisedVm) -> None:
    for length in (60_000, 2_000):
        vm.region.allocate(length)
        with pytest.raises(FirmwareFailure, match="cannot start"):
            vm.run("pass")
    vm.hard_reset()
    assert files(vm.start()) == ["code.py"]


def test_a_program_that_writes_over_its_heap_loses_what_it_kept_there(vm: SupervisedVm) -> None:
    said(vm, "supervisor.persisted_bytes = b'first'")
    vm.reload()
    said(vm, "supervisor.set_next_code_file('code.py')")
    (node,) = vm.region.embedded()
    vm.run(f"from umachine import mem32\nmem32[{node}] = 1234")
    with pytest.raises(FirmwareFailure, match="0x4d2"):
        vm.reload()
    assert said(vm, "print(supervisor.persisted_bytes)") == "b'first'"
