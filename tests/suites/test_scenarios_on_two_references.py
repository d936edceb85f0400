"""Every scenario with a reference VM in the board's place: whatever it says then is the scenario's own fault."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.chips import CHIPS, chip_named
from harness.errors import FirmwareFailure, Unsuitable
from harness.judging.limits import Limit
from harness.judging.outcome import Outcome
from harness.judging.scenario import Scenario
from harness.reference.vm import ReferenceVm
from harness.runtimes.program import Program
from tests.suites.two_sides import micropython_bench, micropython_scenario, scenarios, suite

FILES = ["reload/test_soft_reset.py", "deep_sleep/test_deep_sleep.py", "flash_execution/test_import.py"]
FILES += [
    "interrupt/test_callbacks.py",
    "interrupt/test_sources.py",
    "interrupt/test_timing.py",
    "interrupt/test_waits.py",
    "interrupt/test_line.py",
]
FILES += ["calibration/test_values.py", "calibration/test_heap_rules.py"]
#: Rescues need a board that runs main.py; times need a calibration, which is a board's.
NOT_HERE = ("test_a_board_is_rescued", "test_from_", "test_in_place")


SCENARIOS = list(scenarios(FILES, NOT_HERE))


@pytest.mark.parametrize("chip", ["esp32", "esp8266", "stm32f405"])
@pytest.mark.parametrize(("function", "arguments"), SCENARIOS)
def test_it_passes(chip: str, function: Any, arguments: dict[str, Any]) -> None:
    has = {"pin_loopback", "romfs"} | ({"rtc_memory"} if chip_named(chip).promised().kept_bytes else set())
    has |= {"hard_irq"} if chip_named(chip).promised().hard_pin_irq else set()
    needs = {need for mark in getattr(function, "pytestmark", []) if mark.name == "needs" for need in mark.args}
    if needs - has:
        pytest.skip(f"{chip} has no {', '.join(sorted(needs - has))}")
    scenario = micropython_scenario(chip)
    function(scenario, **arguments)
    assert scenario.outcome is Outcome.PASS, [m for m in scenario.measurements if m.verdict is not Outcome.PASS]


def test_asyncio_that_one_scenario_was_given_is_not_taken_for_the_vms_own_by_the_next() -> None:
    bench = micropython_bench("esp32")
    for name in ("test_an_asyncio_task_sleeps_until_its_event", "test_an_asyncio_task_is_woken_from_a_handler"):
        scenario = Scenario(bench)
        getattr(suite("interrupt/test_sources.py"), name)(scenario)
        assert scenario.outcome is Outcome.PASS


#: One scenario for each thing that a port promises.
PROMISES = (
    "test_the_queue_holds_what_the_port_says", "test_sleeps_as_long_as_it_says_and_wakes_by_its_timer",
    "test_machine_reset_is_told_from_a_wake", "test_a_reset_pulse_ends_a_sleep", "test_cycles_lose_nothing",
    "test_single_operations_are_atomic", "test_rtc_memory_and_clock_are_kept",
)  # fmt: skip
_OF_PROMISES = [param for param in SCENARIOS if str(param.id).removesuffix("-50") in PROMISES]


@pytest.mark.parametrize("chip", [name for name in CHIPS if name not in ("esp32", "esp8266", "stm32f405")])
@pytest.mark.parametrize(("function", "arguments"), _OF_PROMISES)
def test_every_chip_is_judged_by_its_ports_promises(chip: str, function: Any, arguments: dict[str, Any]) -> None:
    """What nobody promises is left out with the reason, and what is left passes."""
    scenario = micropython_scenario(chip)
    try:
        function(scenario, **arguments)
    except Unsuitable as reason:
        assert "not known: " in reason.message or CHIPS[chip].port is None
        return
    assert {m.verdict for m in scenario.measurements} <= {Outcome.PASS, Outcome.SKIPPED}, scenario.measurements
    for figure in scenario.measurements:
        assert figure.verdict is Outcome.PASS or "not known: " in figure.reason


@pytest.mark.parametrize("chip", CHIPS)
@pytest.mark.parametrize(("function", "arguments"), _OF_PROMISES[:2])
def test_a_board_that_is_another_chip_than_it_says_fails_and_is_no_error(
    chip: str, function: Any, arguments: dict[str, Any]
) -> None:
    scenario = micropython_scenario(chip, "esp32")
    try:
        function(scenario, **arguments)
    except Unsuitable as reason:
        assert "not known: " in reason.message or CHIPS[chip].port is None
    except FirmwareFailure:
        pass
    else:
        assert scenario.measurements


class QueueOf:
    """A scenario's board of unknown port with a queue of ``depth``: what it is asked, and what is taken and skipped."""

    port_is_unknown = True

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.calls: list[int] = []
        self.taken: dict[str, float] = {}
        self.compared: list[str] = []
        self.skipped: list[str] = []

    def run(self, program: Program) -> Any:
        calls = program.inputs["calls"]
        assert isinstance(calls, int)
        self.calls.append(calls)
        accepted = float(min(calls, self.depth))
        observations = [SimpleNamespace(name=name) for name in ("accepted", "order", "error")]
        board = SimpleNamespace(value=lambda _name: accepted, observations=observations)
        return SimpleNamespace(board=board, value=lambda _name: (accepted, 4.0))

    def take(self, figure: Any, measured: float, _reference: float, *, limit: Limit) -> None:
        assert limit.judge(measured) is Outcome.PASS
        self.taken[figure.name] = measured

    def compare(self, _pair: object, *, prefix: str, only: list[str], **_held_against: object) -> None:
        self.compared += [f"{prefix}{name}" for name in only]

    def skip_figure(self, figure: Any, reason: str) -> None:
        self.skipped.append(f"{figure.name}: {reason}")


@pytest.mark.parametrize(
    ("depth", "calls", "full"),
    [(2, [16], True), (16, [16, 64], True), (100, [16, 64, 256], True), (300, [16, 64, 256], False)],
)
def test_a_queue_of_any_depth_passes_where_nobody_promises_one(depth: int, calls: list[int], full: bool) -> None:
    """A queue that takes all callbacks says of none that it is full: it is given more, and not held against the VM."""
    scenario = QueueOf(depth)
    suite("interrupt/test_callbacks.py").test_the_queue_holds_what_the_port_says(scenario)
    assert scenario.calls == calls
    assert scenario.taken == {"queue.depth": min(depth, 256)}
    assert ("queue.error" in scenario.compared) is full
    assert bool(scenario.skipped) is not full


def test_a_reference_without_romfs_is_told_and_not_the_firmwares_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reference that was built from a tree may have none, where the board's VM has one."""
    scenario = micropython_scenario("esp32")
    assert scenario.no_romfs == ""
    assert not ReferenceVm(chip="esp32").mounts_romfs
    monkeypatch.setattr(ReferenceVm, "mounts_romfs", False)
    assert "mounts no ROMFS; 'reference' in boards.yaml names another" in scenario.no_romfs
