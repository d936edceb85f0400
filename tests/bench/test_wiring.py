"""Wires that are missing, swapped or shorted: judged from what the pins did, and found on virtual boards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bench.attach import Options, attach
from harness.bench.finding import Finding
from harness.bench.virtual_device import virtual_spec
from harness.bench.wiring_check import Survey, check_uart, check_wiring, judge, survey
from harness.errors import BenchFault, UsageError
from harness.inventory.model import Board
from harness.reference.vm import ReferenceVm
from harness.runtimes.interface import Restart, RunResult
from harness.virtual.bench import start


def board(*loopback: tuple[int, int], chip: str = "esp32", **wiring: object) -> Board:
    return Board.model_validate(
        {
            "id": "w",
            "chip": chip,
            "runtime": "micropython",
            "virtual": {"pace": "fast"},
            "firmware": {"build": "virtual"},
            "wiring": {"loopback": loopback, **wiring},
        }
    )


def problems(claimed: Board, vm: ReferenceVm) -> list[str]:
    pins = list(dict.fromkeys(pin for pair in claimed.wiring.loopback for pin in pair))
    return [finding.what for finding in judge(claimed, survey(vm, pins)) if finding.severity == "problem"]


@pytest.fixture
def vm() -> Iterator[ReferenceVm]:
    """An ESP32 without wires."""
    with ReferenceVm(chip="esp32") as made:
        yield made


def test_wires_as_claimed_are_all_right(vm: ReferenceVm) -> None:
    vm.wire(18, 19)
    vm.wire(4, 5)
    assert problems(board((18, 19), (4, 5)), vm) == []


def test_a_missing_wire_is_told_and_the_other_is_not(vm: ReferenceVm) -> None:
    vm.wire(4, 5)
    assert problems(board((18, 19), (4, 5)), vm) == [
        "pin 18 does not reach pin 19: the wire is missing, or ends at a pin that is not in the file"
    ]


def test_two_wires_that_changed_places_are_told_as_swapped(vm: ReferenceVm) -> None:
    vm.wire(18, 5)
    vm.wire(4, 19)
    assert problems(board((18, 19), (4, 5)), vm) == [
        "pin 18 drives pin 5 and not pin 19: swapped",
        "pin 4 drives pin 19 and not pin 5: swapped",
    ]


def test_a_bridge_between_two_wires_is_a_short(vm: ReferenceVm) -> None:
    for a, b in ((18, 19), (4, 5), (19, 4)):
        vm.wire(a, b)
    told = problems(board((18, 19), (4, 5)), vm)
    assert "pins 18 and 4 are connected, and boards.yaml does not say so: shorted" in told
    assert len(told) == 4  # each pin of the one wire with each of the other


def test_one_output_may_go_to_two_inputs(vm: ReferenceVm) -> None:
    vm.wire(18, 19)
    vm.wire(18, 21)
    assert problems(board((18, 19), (18, 21)), vm) == []


def test_a_pin_that_is_held_low_is_shorted_to_ground(vm: ReferenceVm) -> None:
    vm.wire(18, 19)
    vm.drive(18, 0)
    assert problems(board((18, 19)), vm) == ["pin 18 stays low whatever it drives: shorted to ground"]


def test_an_input_that_is_held_low_while_its_output_is_free_is_told_by_that_pin(vm: ReferenceVm) -> None:
    vm.drive(19, 0)
    assert problems(board((18, 19)), vm) == ["pin 19 stays low when pin 18 is driven"]


def test_a_uart_that_hears_itself_and_one_whose_wire_is_missing(vm: ReferenceVm) -> None:
    claimed = board((18, 19), uart=1)
    assert check_uart(vm, claimed).what == "UART 1 hears nothing"
    vm.wire(18, 19)
    assert check_uart(vm, claimed).severity == "ok"
    assert check_uart(vm, board(uart=2)).what == "UART 2 hears nothing"
    vm.wire_uart(2)
    assert check_uart(vm, board(uart=2)).severity == "ok"


def test_a_uart_that_the_board_has_not_is_told_in_the_vms_words(vm: ReferenceVm) -> None:
    told = check_uart(vm, board(uart=7))
    assert (told.severity, told.what) == ("problem", "UART 7 cannot be used: ValueError: UART(7) does not exist")


@given(
    claims=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=4, unique=True),
    wires=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_no_problem_means_exactly_the_claimed_nets(claims: list[tuple[int, int]], wires: list[tuple[int, int]]) -> None:
    """Ideal pins: each follows what its net is driven to."""
    claims = [(a, b) for a, b in claims if a != b] or [(0, 1)]
    claimed = board(*claims)
    pins = tuple(dict.fromkeys(pin for pair in claims for pin in pair))

    def nets(pairs: list[tuple[int, int]]) -> dict[int, frozenset[int]]:
        net = {pin: frozenset({pin}) for pin in range(6)}
        for a, b in pairs:
            joined = net[a] | net[b]
            net.update(dict.fromkeys(joined, joined))
        return net

    real = nets(wires)
    seen = Survey(pins, {a: frozenset(b for b in real[a] if b != a and b in pins) for a in pins}, {})
    wrong = [finding for finding in judge(claimed, seen) if finding.severity == "problem"]
    same = all(real[pin] & set(pins) == nets(claims)[pin] & set(pins) for pin in pins)
    assert (not wrong) is same


class Says:
    def __init__(self, text: bytes) -> None:
        self._text = text

    def run(self, source: str, *, timeout: float = 30.0) -> RunResult:
        return RunResult(self._text, b"", 0.0)

    def run_to_reset(self, source: str, *, within: float = 30.0) -> Restart:
        raise AssertionError("nothing here resets")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"wire 0 010110 11\r\nwires 2\r\n",
        b"wire 0 010110 11\r\nwire 1 010110 1\r\nwires 2\r\n",
        b"wire 0 010110 11\r\nwire 5 010110 11\r\nwires 2\r\n",
        b"wire 0 010110 11\r\nwire 1 010110 11\r\n",
    ],
)
def test_half_an_answer_is_no_answer(text: bytes) -> None:
    with pytest.raises(BenchFault, match="did not say how its pins are"):
        survey(Says(text), [4, 5])


# -- on virtual boards -------------------------------------------------------------------------------


def check(claimed: Board, real: Board, state: Path) -> list[Finding]:
    """The board is wired like ``real``, and its file says ``claimed``."""
    with start(virtual_spec(real, state)) as running:
        attached = attach(claimed, Options(state), lambda *_: None)
        try:
            press = None if real.wiring.button is None else lambda down: running.press(down=down)
            return check_wiring(claimed, attached.runtime, press, within=0.2)
        finally:
            attached.close()


def test_an_esp32_with_a_wire_at_the_wrong_pin(tmp_path: Path) -> None:
    claimed = board((18, 19), (4, 5), button=0)
    findings = check(claimed, board((18, 5), (4, 19), button=0), tmp_path)
    assert [finding.severity for finding in findings] == ["problem", "problem", "ok"]
    assert findings[0].what == "pin 18 drives pin 5 and not pin 19: swapped"
    assert findings[2].what == "the button at pin 0 pulls it low"


def test_an_esp8266_that_cannot_wake_itself(tmp_path: Path) -> None:
    claimed = board((4, 5), chip="esp8266", gpio16_rst=True)
    findings = check(claimed, board((4, 5), chip="esp8266"), tmp_path)
    assert [finding.severity for finding in findings] == ["ok", "problem"]
    assert "GPIO16 does not reset the chip" in findings[1].what


def test_an_esp8266_with_all_its_wires(tmp_path: Path) -> None:
    claimed = board((4, 5), chip="esp8266", gpio16_rst=True)
    assert {finding.severity for finding in check(claimed, claimed, tmp_path)} == {"ok"}


def test_a_board_without_claims_has_nothing_to_check() -> None:
    with pytest.raises(UsageError, match="claims no wiring"):
        check_wiring(board(), Says(b""))
