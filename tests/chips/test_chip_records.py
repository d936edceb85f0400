"""What the records of the chips say, by version, and that the pages made from them are up to date."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness.chips import CHIPS, GENERIC, Chip, Port, Reset, Since, chip_named
from harness.chips.__main__ import renewed
from harness.errors import Unsuitable, UsageError

PAGE = Path(__file__).parents[2] / "docs" / "chips.md"
PORTS = {chip.name: chip.port for chip in CHIPS.values() if chip.port is not None}


def test_every_chip_has_its_port_or_says_why_not() -> None:
    assert set(CHIPS) - set(PORTS) == {GENERIC, "stm32f103"}
    with pytest.raises(
        Unsuitable, match="what MicroPython's port promises of stm32f103 is not known: MicroPython has no"
    ):
        chip_named("stm32f103").promised()


@pytest.mark.parametrize("name", PORTS)
def test_a_port_is_whole(name: str) -> None:
    port = PORTS[name]
    assert port.since and port.sources and port.wakes_by and port.clock_hz and port.unique_id
    assert bool(port.pins) != bool(port.pin_ports)
    assert port.rtc_memory or (port.backup_registers and port.backup_registers_at)
    for reset, cause in port.cause_of.items():
        # What the ESP32's port has no name for is 0 (ports/esp32/modmachine.c, mp_machine_reset_cause).
        assert cause in port.constants.values() or (reset is Reset.USB and cause == 0)
    assert port.queue_depth & (port.queue_depth - 1) == 0  # py/scheduler.c asserts a power of two


def test_a_promise_is_that_of_the_firmwares_version() -> None:
    esp32 = chip_named("esp32")
    newest, older, old = (esp32.promised(version) for version in ("", "1.28.0", "v1.21.0"))
    assert (newest.backup_memory, older.backup_memory) == (2048, 0)
    assert (newest.hard_refused, old.hard_refused) == ("hard Timers are not implemented", "")
    assert Reset.MACHINE in old.memory_lost_at and Reset.MACHINE not in older.memory_lost_at
    assert esp32.promised("1.29.0-preview.415.gabc").backup_memory == 2048
    assert esp32.promised("10.0.3") is newest  # a CircuitPython's
    assert 240_000_000 in chip_named("esp32c3").promised("1.19.1").frequencies
    assert 240_000_000 not in chip_named("esp32c3").promised("1.20").frequencies


def test_what_nobody_promises_has_a_reason() -> None:
    g4 = chip_named("stm32g474").promised()
    with pytest.raises(Unsuitable, match="reset cause after deep sleep is not known: machine_init does not look"):
        g4.cause(Reset.DEEP_SLEEP)
    assert g4.cause(Reset.PIN) == "HARD_RESET"
    c2 = chip_named("esp32c2").promised()
    assert c2.kept_bytes == 0
    with pytest.raises(Unsuitable, match="kept bytes of the esp32c2 is not known: it has no RTC memory"):
        c2.known("kept_bytes")


@pytest.mark.parametrize(
    ("name", "ways"),
    [
        ("esp32", {"ext0", "ext1"}),
        ("esp32s3", {"ext0", "ext1"}),
        ("esp32c3", {"gpio"}),
        ("esp32c6", {"ext1", "gpio"}),
        ("esp32h2", {"ext1"}),
    ],
)
def test_which_pins_end_a_deep_sleep(name: str, ways: set[str]) -> None:
    port = PORTS[name]
    assert set(port.wakes_by) & {"ext0", "ext1", "gpio"} == ways
    assert (port.wake_pin is not None) == ("ext0" in ways)


def test_the_page_on_chips_is_the_one_made_from_the_records() -> None:
    page = PAGE.read_text("utf-8")
    assert renewed(page) == page, "python -m harness.chips docs/chips.md"


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UsageError, match="nearest is 'stm32f405'"):
        chip_named("stm32f4o5")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"name": "Z 80", "family": "generic"}, "lower-case letters and digits"),
        ({"name": "z80", "family": "zilog"}, "expected a family of esp8266, esp32, stm32, generic"),
        ({"name": "z80", "family": "esp32", "port": PORTS["esp32"]}, "its port is that of the esp32 esp32"),
    ],
)
def test_a_record_that_contradicts_itself_is_refused(values: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Chip(boot_offset=0, flash_map=(), **values)  # type: ignore[arg-type]


def test_a_history_of_something_that_a_port_has_not_is_refused() -> None:
    with pytest.raises(ValueError, match="no fact 'queue' changed"):
        Port("z80", "generic", "1.0", {}, {}, 4, 0, history=(Since("1.1", "queue", 4, ""),))


def test_asking_for_a_chip_loads_nothing_heavy() -> None:
    code = "import sys\nfrom harness.chips import CHIPS\nlen(CHIPS)\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"pydantic", "esptool", "wasmtime", "serial", "pytest", "harness.reference"} & set(loaded)
