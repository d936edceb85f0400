"""What the scenarios of values, heap rules and waits say of healthy firmware, and of firmware with a seeded defect."""

from __future__ import annotations

import fnmatch
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from harness.judging.board_bench import BoardBench
from harness.judging.outcome import Outcome
from harness.judging.scenario import Scenario
from harness.reference.vm import ReferenceVm
from harness.runtimes.micropython.ask_abilities import abilities_of
from harness.virtual.defects import DEFECTS
from tests.suites.chip_on_a_queue import CHIP, WIRE, VirtualChip
from tests.suites.stand_in import StandIn, entry

SUITES = Path(__file__).parents[2] / "suites"

#: Scenario, its argument, and the defects that it is there for.
ASKED: list[tuple[str, str, dict[str, Any], tuple[str, ...]]] = [
    ("calibration/test_values", "floats_come_back_from_their_text", {}, ("float_9_digits",)),
    ("calibration/test_values", "long_integers_are_exact", {}, ("product_bit_192",)),
    (
        "calibration/test_heap_rules",
        "containers_grow_in_their_steps",
        {},
        ("list_room_for_12", "dict_room_for_12"),
    ),
    ("calibration/test_heap_rules", "odd_sizes_take_whole_blocks", {}, ("bytearray_block_more",)),
    ("calibration/test_heap_rules", "the_same_name_is_one_object", {}, ("literals_not_interned",)),
    ("calibration/test_heap_rules", "an_exception_costs_itself_and_its_traceback", {}, ("exception_64_more",)),
    ("reload/test_soft_reset", "sys_path_is_what_it_was_at_the_first_start", {}, ("sys_path_lost",)),
    ("interrupt/test_callbacks", "single_operations_are_atomic", {}, ("append_takes_turns",)),
    ("interrupt/test_callbacks", "disable_irq_holds_a_callback_off", {}, ("disable_irq_ignored",)),
    ("interrupt/test_waits", "callbacks_that_wait_together_run_in_order", {}, ("callbacks_swapped",)),
    ("interrupt/test_waits", "ctrl_c_in_a_wait", {"how": "poll"}, ("ctrl_c_lost_in_poll",)),
    ("interrupt/test_waits", "ctrl_c_in_a_wait", {"how": "sleep_ms"}, ("ctrl_c_lost_in_sleep",)),
    ("interrupt/test_waits", "ctrl_c_in_a_wait", {"how": "idle"}, ()),
    ("interrupt/test_waits", "a_timers_period_in_the_long_run", {}, ("timer_3_in_1000_slow",)),
    ("interrupt/test_sources", "the_poller_sleeps_until_its_source", {"source": "timer"}, ("wait_never_sleeps",)),
    ("interrupt/test_sources", "the_poller_sleeps_until_its_source", {"source": "stream"}, ("poll_looks_each_40_ms",)),
    ("interrupt/test_sources", "the_poller_sleeps_until_a_datagram_comes", {}, ("poll_looks_each_40_ms",)),
    ("interrupt/test_sources", "the_poller_sleeps_until_a_uart_has_received", {}, ("uart_drops_a_byte",)),
    (
        "interrupt/test_sources",
        "the_poller_sleeps_until_a_uarts_line_is_idle",
        {},
        ("uart_loses_idle", "uart_idle_at_each_byte", "uart_drops_a_byte"),
    ),
    ("interrupt/test_line", "a_program_at_the_windows_edge_arrives_whole", {}, ("paste_short_at_edge",)),
]
CASES = [
    pytest.param(file, name, arguments, defect, id=f"{name}-{'-'.join(arguments.values())}-{defect or 'healthy'}")
    for file, name, arguments, defects in ASKED
    for defect in ("", *defects)
]


def _scenario(file: str, name: str) -> Any:
    spec = importlib.util.spec_from_file_location(f"asked_{file.replace('/', '_')}", SUITES / f"{file}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, f"test_{name}")


@pytest.mark.parametrize("verified", [False, True], ids=["as usual", "verified"])
@pytest.mark.parametrize(("file", "name", "arguments", "defect"), CASES)
def test_healthy_firmware_passes_and_its_defect_fails(
    file: str, name: str, arguments: dict[str, Any], defect: str, verified: bool
) -> None:
    """Also at the second look at a failure, where programs prove that they arrived."""
    if verified and not defect:
        pytest.skip("healthy firmware is not looked at twice")
    with VirtualChip(defect) as chip, ReferenceVm(chip=CHIP) as reference:
        reference.wire(*WIRE)
        board = StandIn(
            entry(CHIP, "micropython", loopback=[WIRE], uart=1), chip.client, abilities=abilities_of(chip.client)
        )
        assert board.abilities.paste_window == 128
        scenario = Scenario(BoardBench(board, reference, lambda _text: None))
        chip.client.verify_programs(verified)
        _scenario(file, name)(scenario, **arguments)
    bad = [figure for figure in scenario.measurements if figure.verdict is not Outcome.PASS]
    if defect:
        assert scenario.outcome is Outcome.FAIL
        listed = f"{file.partition('/')[0]}: {name.replace('_', ' ')}" + "".join(f"[{a}]" for a in arguments.values())
        assert any(fnmatch.fnmatch(listed, pattern) for pattern in DEFECTS[defect].caught)
    else:
        assert bad == []
