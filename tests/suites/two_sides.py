"""Scenarios on two references, one of them in the board's place; code that both sides share is the same for both."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.chips import CHIPS
from harness.formats.suite_romfs import suite_romfs
from harness.judging.board_bench import BoardBench
from harness.judging.scenario import Scenario
from harness.reference.circuitpython_reference import CircuitPythonReference
from harness.reference.nodemcu.lua_reference import LuaReference
from harness.reference.vm import ReferenceVm
from harness.runtimes.abilities import Abilities
from tests.suites.stand_in import StandIn, entry

SUITES = Path(__file__).parents[2] / "suites"
CIRCUITPYTHON = (
    "reload/test_circuitpython_reload.py",
    "deep_sleep/test_circuitpython_sleep.py",
    "interrupt/test_circuitpython_interrupts.py",
)


def suite(file: str) -> ModuleType:
    path = SUITES / file
    spec = importlib.util.spec_from_file_location(f"scenarios_{path.parent.name}_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scenarios(files: Sequence[str], without: tuple[str, ...] = ()) -> Iterator[Any]:
    """Each scenario of ``files`` with each of its parameters, as a parameter of a test."""
    for file in files:
        for name, function in vars(suite(file)).items():
            if not name.startswith("test_") or (without and name.startswith(without)):
                continue
            marks = getattr(function, "pytestmark", [])
            values = next(({mark.args[0]: mark.args[1]} for mark in marks if mark.name == "parametrize"), {"": [None]})
            for parameter, choices in values.items():
                for value in choices:
                    arguments = {parameter: value} if parameter else {}
                    yield pytest.param(function, arguments, id=f"{name}-{value}" if parameter else name)


def lua_scenario() -> Scenario:
    board, reference = LuaReference(), LuaReference()
    for vm in (board, reference):
        vm.wire(4, 5)
    attached = StandIn(entry("esp8266", "nodemcu", loopback=[(4, 5)], gpio16_rst=True), board)
    return Scenario(BoardBench(attached, reference, lambda _text: None))


def circuitpython_scenario() -> Scenario:
    board, reference = (CircuitPythonReference(region_size=327680, sleep_memory=3072, chip="esp32") for _ in range(2))
    for vm in (board, reference):
        pins = vm.vm.board.pins
        assert pins is not None
        pins.wire(14, 32)
    attached = StandIn(
        entry("esp32", "circuitpython", loopback=[(14, 32)]), board, can_intervene=True,
        abilities=Abilities(base="/", paste_window=128),
    )  # fmt: skip
    return Scenario(BoardBench(attached, reference, lambda _text: None))


def micropython_scenario(chip: str, board_chip: str = "") -> Scenario:
    """Of a board that says it has ``chip``, and has ``board_chip`` (default: just that)."""
    return Scenario(micropython_bench(chip, board_chip))


def micropython_bench(chip: str, board_chip: str = "") -> BoardBench:
    pins: Any = ("A0", "A1") if chip.startswith("stm32") else (4, 5)
    board, reference = (ReferenceVm(chip=name, romfs=suite_romfs()) for name in (board_chip or chip, chip))
    uart = {"esp32": 1, "stm32": 4}.get(CHIPS[chip].family)
    if not board_chip and CHIPS[chip].port is not None:
        for vm in (board, reference):
            vm.wire(*pins)
            if uart is not None:
                vm.wire_uart(uart)
    base = "/flash" if CHIPS[chip].family == "stm32" else "/"
    attached = StandIn(
        entry(chip, "micropython", loopback=[pins], uart=uart),
        board,
        romfs=b"in place",
        can_intervene=True,
        abilities=Abilities(base=base, paste_window=128),
    )
    return BoardBench(attached, reference, lambda _text: None)
