"""What is printed beside a board's pins, and the drawings of what to connect, which are those that the script makes."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from pydantic import ValidationError

from harness.chips import CHIPS
from harness.chips.silk import SILKS, label, with_labels
from harness.inventory.model import Board, Wiring

DOCS = Path(__file__).parents[2] / "docs"


def _script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_wiring", DOCS / "make_wiring.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["make_wiring"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


make_wiring = _script()
DRAWN = [(family.name, board) for family in make_wiring.FAMILIES for board in family.boards]


@pytest.mark.parametrize(
    ("chip", "pin", "silk", "printed"),
    [
        ("esp8266", 4, "nodemcu", "D2"),
        ("esp8266", 16, None, "D0 on a NodeMCU or D1 mini"),
        ("esp32", 18, "esp32-devkit", "IO18"),
        ("esp32", 26, "feather-esp32-v2", "A0"),
        ("esp32", 14, "feather-esp32-v2", ""),  # printed as it is
        ("stm32f405", "A0", "pyboard", "X1"),
        ("stm32l476", "PA8", "nucleo-64", "D7, CN10-23"),
        ("stm32l476", "PC13", "nucleo-64", "CN7-23"),
        ("esp32c6", 4, None, ""),
    ],
)
def test_a_pin_is_told_as_it_is_printed(chip: str, pin: int | str, silk: str | None, printed: str) -> None:
    assert label(chip, pin, silk) == printed


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("pin 4 does not reach pin 5: missing", "pin 4 (D2) does not reach pin 5 (D1): missing"),
        ("pins 4 and 5 are connected", "pins 4 (D2) and 5 (D1) are connected"),
        ("GPIO16 does not reset the chip", "GPIO16 (D0) does not reset the chip"),
        ("connect GPIO16 (D0) with RST", "connect GPIO16 (D0) with RST"),
        ("pin is held", "pin is held"),
    ],
)
def test_words_about_pins_have_the_labels_besides(text: str, told: str) -> None:
    assert with_labels(text, "esp8266", "nodemcu") == told


def test_a_board_that_was_not_named_is_named_once() -> None:
    told = with_labels("pin 18 drives pin 19", "esp32")
    assert told == "pin 18 (IO18 on an ESP32-DevKitC) drives pin 19 (IO19)"


def test_labels_in_the_bench_file_are_those_of_a_known_board() -> None:
    assert Wiring.model_validate({"labels": "nodemcu"}).labels == "nodemcu"
    with pytest.raises(ValidationError, match="nodemcu"):
        Wiring.model_validate({"labels": "nodemcuu"})


def test_every_known_board_is_of_chips_that_there_are() -> None:
    assert {chip for silk in SILKS.values() for chip in silk.chips} <= set(CHIPS)


@pytest.mark.parametrize("name", make_wiring.made())
def test_pages_and_drawings_are_what_the_script_makes(name: str) -> None:
    assert (DOCS / name).read_text("utf-8") == make_wiring.made()[name], "python docs/make_wiring.py"


def test_what_the_suites_read_of_the_wiring_is_drawn_for_each_family() -> None:
    asked = make_wiring.needs()
    assert {"loopback", "uart", "gpio16_rst"} <= set(asked)
    drawn = {(family, wire.kind) for family, board in DRAWN for wire in board.wires}
    for kind in asked:
        families = {"esp8266"} if kind == "gpio16_rst" else {"esp32", "stm32"} if kind == "uart" else None
        assert families is None or {(family, kind) for family in families} <= drawn
    assert {family for family, kind in drawn if kind == "loopback"} == {"esp8266", "esp32", "stm32"}


@pytest.mark.parametrize(("family", "board"), DRAWN, ids=[board.name for _, board in DRAWN])
def test_a_drawn_wire_joins_the_pins_that_its_line_of_boards_yaml_names(family: str, board: object) -> None:
    import yaml

    silk = SILKS[board.name]  # type: ignore[attr-defined]
    for wire in board.wires:  # type: ignore[attr-defined]
        wiring = yaml.safe_load(wire.yaml)
        entry = {"id": "b", "chip": silk.chips[0], "runtime": "micropython", "identity": {"port": "/dev/x"}}
        claimed = Board.model_validate({**entry, "wiring": wiring}).wiring
        for pins in claimed.loopback:
            printed = [(label(silk.chips[0], pin, silk.name) or str(pin)).partition(",")[0] for pin in pins]
            assert printed == list(wire.ends)
        if claimed.gpio16_rst:
            assert wire.ends == (label("esp8266", 16, silk.name), "RST")
        assert set(wire.ends) <= {*board.left, *board.right}  # type: ignore[attr-defined]
        assert claimed.loopback or claimed.gpio16_rst or claimed.uart is not None


def test_a_scenario_that_reads_another_wire_is_found(tmp_path: Path) -> None:
    suite = tmp_path / "own"
    suite.mkdir()
    (suite / "test_own.py").write_text(
        "import pytest\npytestmark = [pytest.mark.needs('deep_sleep')]\n"
        "def helper(scenario): return scenario.wiring.button\n"
        "@pytest.mark.runtime('nodemcu')\ndef test_it_does(scenario): helper(scenario)\n"
    )
    one = make_wiring.Asked("nodemcu", "own", "it does")
    assert make_wiring.needs(tmp_path) == {"button": [one], "gpio16_rst": [one]}
