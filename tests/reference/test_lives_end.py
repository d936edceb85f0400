"""A life that has ended takes nothing of this computer; one for which there is no room is the bench's fault."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.errors import EXIT_BENCH_FAULT
from harness.reference.engine import wasm_machine
from harness.reference.engine.guest_memory import GuestFault
from harness.reference.engine.wasm_machine import HostOutOfMemory, Machine
from harness.reference.vm import ReferenceVm
from tests.suites.chip_on_a_queue import VirtualChip


def _mappings() -> int:
    return len(Path("/proc/self/maps").read_text().splitlines())


def _flat(restart: Callable[[], None]) -> None:
    for _ in range(5):
        restart()
    before = _mappings()
    for _ in range(20):
        restart()
    assert _mappings() - before < 20  # six for each life that stays


def test_lives_of_the_reference_leave_no_mappings() -> None:
    with ReferenceVm(chip="esp32") as vm:
        _flat(vm.soft_reset)
        _flat(vm.hard_reset)


def test_lives_of_a_virtual_board_leave_no_mappings() -> None:
    with VirtualChip() as chip:
        _flat(chip.client.soft_reset)


def test_a_closed_machine_is_collected_and_its_memory_is_out_of_reach() -> None:
    with ReferenceVm() as vm:
        machine = vm._life.vm.machine
        vm.soft_reset()
        with pytest.raises(GuestFault):
            machine.memory.read(0, 4)
        cost = machine.cost
        assert cost == machine.cost > 0
        gone = weakref.ref(machine)
        del machine
        gc.collect()
        assert gone() is None


_STARVED = """
import resource, sys
from harness.errors import HarnessError
from harness.reference.vm import ReferenceVm
with ReferenceVm(chip="esp32") as vm:
    size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    size += int(sys.argv[1])
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    kept = []
    try:
        for _ in range(50):
            kept.append(ReferenceVm(chip="esp32"))
            kept[-1].__enter__()
    except HarnessError as problem:
        print(type(problem).__name__, problem.exit_code, problem.message, flush=True)
import os
os._exit(0)
"""


@pytest.mark.parametrize("spare", [0, 1 << 28])
def test_a_lack_of_memory_is_the_benchs_fault(spare: int) -> None:
    done = subprocess.run([sys.executable, "-c", _STARVED, str(spare)], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith(f"HostOutOfMemory {EXIT_BENCH_FAULT} this computer has no memory left"), done.stderr


def test_what_the_engine_says_of_a_lack_of_memory_is_told_from_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    def lacking(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Machine, "_run_preemptible", lacking)
    with pytest.raises(HostOutOfMemory, match="no memory left"), ReferenceVm(chip="esp32") as vm:
        vm.run("print(1)")
    assert wasm_machine._of_the_host(ValueError("unreachable")) is None
