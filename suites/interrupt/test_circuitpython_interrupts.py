"""Interrupts on CircuitPython: there are none in Python. What stands in their place: counters beside the VM, Ctrl-C."""

from __future__ import annotations

from typing import cast

import pytest

from harness.judging.board_bench import Pair
from harness.judging.scenario import Scenario
from harness.runtimes.interface import CodeRuntime
from harness.runtimes.program import Program
from harness.runtimes.records import decode

PULSES = 50

pytestmark = pytest.mark.runtime("circuitpython")


@pytest.mark.needs("pin_loopback")
def test_a_counter_counts_each_edge_while_the_program_computes(scenario: Scenario) -> None:
    """countio.Counter on a wired pin: rising, falling and both, set and gone on."""
    inputs = scenario.wired_pins
    pair = scenario.run(Program.load("cp_count", pulses=PULSES, **inputs))
    asked = {"rise": PULSES, "fall": PULSES, "rise_and_fall": 2 * PULSES}
    asked |= {"rise.goes_on": 5 + 1, "fall.goes_on": 5 + 1, "rise_and_fall.goes_on": 5 + 2}
    scenario.compare(pair, prefix="counter.", asked=asked, source="the edges that the program makes")


@pytest.mark.parametrize("where", ["busy", "sleep"])
def test_ctrl_c_in_a_code_file(scenario: Scenario, where: str) -> None:
    """Ctrl-C ends a loop and a sleep, ``finally`` runs, and the program can go on after it."""
    if where == "sleep" and not scenario.lives_in_host_time:
        pytest.skip("this virtual board's sleeps take no time (pace: fast)")
    source = Program.load("cp_ctrl_c", where=where).whole()
    said = [
        decode(runtime.run_code(source, timeout=20.0, interrupt_at=b"READY\r\n")[0])
        for runtime in cast(tuple[CodeRuntime, CodeRuntime], scenario.both)
    ]
    asked = {"finally": "runs", "ended": "KeyboardInterrupt", "afterwards": "goes on"}
    scenario.compare(Pair(*said), prefix="ctrl_c.", asked=asked, source="the program, and the language")
