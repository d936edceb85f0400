"""NodeMCU's scenarios with a reference in the board's place: a sound one passes, and one with a defect is caught."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from harness.errors import FirmwareFailure
from harness.judging.outcome import Outcome
from harness.reference.nodemcu.hardware import Gpio, Timers
from harness.reference.nodemcu.lfs_region import LfsRegion
from harness.reference.nodemcu.lua_heap import LuaHeap
from harness.reference.nodemcu.nodemcu_machine import NodeMcu
from tests.suites.two_sides import lua_scenario, scenarios, suite

RELOAD = "reload/test_nodemcu_reload.py"
SLEEP = "deep_sleep/test_nodemcu_sleep.py"
EVENTS = "interrupt/test_nodemcu_events.py"
LFS = "flash_execution/test_nodemcu_lfs.py"
OBJECTS = "calibration/test_nodemcu_objects.py"
FILES = (RELOAD, SLEEP, EVENTS, LFS, OBJECTS)


@pytest.mark.parametrize(("function", "arguments"), list(scenarios(FILES)))
def test_it_passes(function: Any, arguments: dict[str, Any]) -> None:
    scenario = lua_scenario()
    try:
        function(scenario, **arguments)
    except pytest.skip.Exception as reason:
        assert "power" in str(reason)  # a reference lives through no power cut in the middle of a call
        return
    assert scenario.outcome is Outcome.PASS, [m for m in scenario.measurements if m.verdict is not Outcome.PASS]


def test_what_modules_save_does_not_hang_on_what_lfs_held_before() -> None:
    """A board that was tested before holds another image than one that comes new."""
    module, figures = suite(LFS), []
    scenario = lua_scenario()
    for _ in range(2):  # a new board, then the same one with the image of the last scenario
        module.test_each_module_takes_less_heap_from_lfs(scenario)
        figures.append({m.name: m.measured for m in scenario.measurements})
        module._load(scenario, module._probe("x"))
        scenario = scenario.again()
    assert figures[0] == figures[1]


# -- defects -------------------------------------------------------------------------------------------


def _leak(patch: pytest.MonkeyPatch) -> None:
    lost = [0]
    used = LuaHeap.used

    def start(self: NodeMcu) -> None:
        lost[0] += 20
        boot(self)

    boot = NodeMcu.boot
    patch.setattr(NodeMcu, "boot", start)
    patch.setattr(LuaHeap, "used", lambda self: used(self) + lost[0])


def _rtc_lost(patch: pytest.MonkeyPatch) -> None:
    def start(self: NodeMcu) -> None:
        self.board.backup = b""
        boot(self)

    boot = NodeMcu.boot
    patch.setattr(NodeMcu, "boot", start)


def _short_queue(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("harness.reference.nodemcu.nodemcu_machine.QUEUE_LIMIT", 7)


def _edges_merged(patch: pytest.MonkeyPatch) -> None:
    take = Gpio.take
    patch.setattr(Gpio, "take", lambda self, reference: [*take(self, reference)[:2], 1])


def _slow_timers(patch: pytest.MonkeyPatch) -> None:
    register = Timers._register

    def slow(self: Timers, reference: int, interval: int, mode: int) -> None:
        register(self, reference, round(interval * 1.2), mode)

    patch.setattr(Timers, "_register", slow)


def _short_sleep(patch: pytest.MonkeyPatch) -> None:
    sleep = NodeMcu._deep_sleep
    patch.setattr(NodeMcu, "_deep_sleep", lambda self, us, *rest: sleep(self, us * 0.8, *rest))


def _copied_to_ram(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LuaHeap, "mark_flash", lambda self, root, strings: None)


def _all_taken(patch: pytest.MonkeyPatch) -> None:
    refuses = LfsRegion.refuses

    def lenient(self: LfsRegion, image: bytes | None, free: int) -> str:
        said = refuses(self, image, free)
        return "" if said == "LFS length mismatch" else said

    patch.setattr(LfsRegion, "refuses", lenient)
    patch.setattr(LfsRegion, "write", lambda self, image, busy: None)


def _written_once(patch: pytest.MonkeyPatch) -> None:
    write = LfsRegion.write
    written: list[bool] = []

    def once(self: LfsRegion, image: bytes, busy: Callable[[int], None]) -> None:
        if len(written) < 2:  # the first image, on both sides
            write(self, image, busy)
        written.append(True)

    patch.setattr(LfsRegion, "write", once)


@pytest.mark.parametrize(
    ("defect", "file", "name", "arguments"),
    [
        (_leak, RELOAD, "test_restarts_leave_the_heap_as_it_was", {}),
        (_rtc_lost, RELOAD, "test_rtc_memory_and_files_outlive_a_restart", {}),
        (_rtc_lost, SLEEP, "test_dsleep_cycles_lose_nothing", {}),
        (_short_sleep, SLEEP, "test_dsleep_lasts_as_long_as_it_says", {"ms": 1500}),
        (_short_sleep, SLEEP, "test_the_dsleep_clock_runs_at_its_speed", {}),
        (_short_queue, EVENTS, "test_tasks_run_by_priority_and_a_full_queue_refuses", {}),
        (_edges_merged, EVENTS, "test_every_edge_is_counted", {}),
        (_slow_timers, EVENTS, "test_timers_call_as_often_as_they_should", {}),
        (_copied_to_ram, LFS, "test_each_module_takes_less_heap_from_lfs", {}),
        (_all_taken, LFS, "test_bad_images_are_refused_and_change_nothing", {}),
        (_written_once, LFS, "test_a_reload_replaces_the_image", {}),
    ],
)
def test_a_defect_is_caught(
    monkeypatch: pytest.MonkeyPatch,
    defect: Callable[[pytest.MonkeyPatch], None],
    file: str,
    name: str,
    arguments: dict[str, Any],
) -> None:
    defect(monkeypatch)
    scenario = lua_scenario()
    try:
        vars(suite(file))[name](scenario, **arguments)
    except (FirmwareFailure, AssertionError):
        return
    assert scenario.outcome is Outcome.FAIL
