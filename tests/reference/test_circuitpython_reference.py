"""The reference of a CircuitPython board: code files, resets, sleep and wakes in virtual time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.errors import BenchFault, FirmwareFailure
from harness.reference.circuitpython_reference import CircuitPythonReference
from harness.runtimes.interface import ChipRuntime, CodeRuntime, Intervention

LOOK = (
    "import alarm, microcontroller as m, supervisor as s\n"
    "print(str(m.cpu.reset_reason)[28:], type(alarm.wake_alarm).__name__, str(s.runtime.run_reason)[21:],"
    " alarm.sleep_memory[0])\n"
)
SLEEP = "import alarm, time, microcontroller as m\nalarm.sleep_memory[0] = 9\nprint('bye')\n"
SLEEP += "alarm.exit_and_deep_sleep_until_alarms({})"
LONG = "alarm.time.TimeAlarm(monotonic_time=time.monotonic() + 60)"


@pytest.fixture
def vm() -> Iterator[CircuitPythonReference]:
    with CircuitPythonReference(region_size=98304, sleep_memory=64, chip="esp32") as made:
        made.put("code.py", LOOK.encode())
        yield made


def _said(vm: CircuitPythonReference, source: str) -> str:
    result = vm.run(source)
    assert not result.stderr, result.stderr.decode()
    return result.stdout.decode().strip()


def test_it_is_what_scenarios_ask_for(vm: CircuitPythonReference) -> None:
    assert isinstance(vm, ChipRuntime) and isinstance(vm, CodeRuntime)
    assert vm.facts.name == "circuitpython"


def test_a_time_alarm_ends_a_sleep_after_its_time(vm: CircuitPythonReference) -> None:
    restart = vm.run_to_reset(SLEEP.format(LONG), within=90)
    assert restart.boot == b"DEEP_SLEEP_ALARM TimeAlarm STARTUP 9\r\n"
    assert restart.silent == pytest.approx(60, abs=0.1)


@pytest.mark.parametrize(
    ("intervention", "alarms", "boot"),
    [
        (
            Intervention(2.0, "pin", 33, 1),
            "alarm.pin.PinAlarm(m.pin.GPIO33, True), " + LONG,
            b"DEEP_SLEEP_ALARM PinAlarm",
        ),
        (Intervention(2.0, "reset"), LONG, b"POWER_ON NoneType STARTUP 0"),
        (Intervention(2.0, "power"), LONG, b"POWER_ON NoneType STARTUP 0"),
    ],
)
def test_an_intervention_ends_a_sleep(
    vm: CircuitPythonReference, intervention: Intervention, alarms: str, boot: bytes
) -> None:
    restart = vm.run_to_reset(SLEEP.format(alarms), intervention=intervention)
    assert restart.boot.startswith(boot)
    assert restart.silent == pytest.approx(2, abs=0.1)


def test_only_the_first_code_after_a_wake_hears_of_its_alarm(vm: CircuitPythonReference) -> None:
    assert b"TimeAlarm" in vm.run_to_reset(SLEEP.format(LONG), within=90).boot
    assert _said(vm, "import alarm\nprint(alarm.wake_alarm)") == "None"


def test_a_software_reset_keeps_sleep_memory_and_a_program_that_ends_is_none(vm: CircuitPythonReference) -> None:
    restart = vm.run_to_reset("import alarm, microcontroller\nalarm.sleep_memory[0] = 9\nmicrocontroller.reset()")
    assert restart.boot == b"SOFTWARE NoneType STARTUP 9\r\n"
    with pytest.raises(FirmwareFailure, match="did not reset"):
        vm.run_to_reset("1/0")


def test_code_runs_apart_from_the_repl_and_the_boards_own_comes_after_it(vm: CircuitPythonReference) -> None:
    vm.run("x = 1")
    (said,) = vm.run_code("print('x' in globals())\n1/0")
    assert said.startswith(b"False\r\nTraceback") and said.endswith(b"ZeroDivisionError: divide by zero\r\n")
    assert vm.reload_while_waiting() == (b"POWER_ON NoneType REPL_RELOAD 0\r\n",)
    vm.run("pass")
    with pytest.raises(BenchFault, match="does not wait"):
        vm.reload_while_waiting()


def test_a_restart_must_be_one(vm: CircuitPythonReference) -> None:
    vm.run("x = 1")
    vm.restart_by("import supervisor\nsupervisor.reload()")
    assert b"NameError" in vm.run("print(x)").stderr
    with pytest.raises(FirmwareFailure, match="did not restart"):
        vm.restart_by("x = 1")


def test_a_restart_lets_go_of_pins_and_ends_counters(vm: CircuitPythonReference) -> None:
    pins = vm.vm.board.pins
    assert pins is not None
    pins.wire(14, 32)
    count = (
        "import countio, digitalio, microcontroller as m\nc = countio.Counter(m.pin.GPIO32, edge=countio.Edge.RISE)\n"
    )
    count += "o = digitalio.DigitalInOut(m.pin.GPIO14)\no.switch_to_output(False)\n"
    count += "for _ in range(6): o.value = not o.value\no.value = True\nprint(c.count)"
    assert _said(vm, count) == "4"
    assert pins.pin(32).level == 1
    vm.soft_reset()
    assert _said(vm, "print(1)") == "1"
    assert pins.pin(32).level == 0


def test_light_sleep_tells_which_alarm_ended_it(vm: CircuitPythonReference) -> None:
    pins = vm.vm.board.pins
    assert pins is not None
    pins.wire(14, 32)
    sleep = "import alarm, time, digitalio, microcontroller as m\n"
    sleep += "t = alarm.time.TimeAlarm(monotonic_time=time.monotonic() + 0.25)\n"
    sleep += "p = alarm.pin.PinAlarm(m.pin.GPIO32, True)\n"
    assert _said(vm, sleep + "print(alarm.light_sleep_until_alarms(t, p) is t)") == "True"
    drive = "o = digitalio.DigitalInOut(m.pin.GPIO14)\no.switch_to_output(True)\n"
    assert _said(vm, sleep + drive + "print(alarm.light_sleep_until_alarms(t, p) is p)") == "True"


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("alarm.time.TimeAlarm()", b"ValueError: Supply one of"),
        ("alarm.time.TimeAlarm(monotonic_time=-1)", b"ValueError: Time is in the past."),
        ("alarm.light_sleep_until_alarms(5)", b"TypeError: Expected an alarm"),
        ("m.nvm[8192] = 1", b"IndexError"),
        ("m.nvm[0:2] = b'abc'", b"ValueError: Slice and value different lengths."),
        ("m.pin.GPIO99", b"AttributeError: no pin GPIO99"),
        ("m.on_next_reset(5)", b"ValueError: Invalid run mode"),
    ],
)
def test_what_cannot_be_is_refused(vm: CircuitPythonReference, source: str, error: bytes) -> None:
    assert error in vm.run("import alarm, microcontroller as m\n" + source).stderr


def test_nvm_and_files_outlive_a_power_cut(vm: CircuitPythonReference) -> None:
    vm.run("import microcontroller as m\nm.nvm[5:8] = b'abc'")
    vm.vm.power_cycle()
    assert _said(vm, "import microcontroller as m\nprint(bytes(m.nvm[4:9]))") == "b'\\xffabc\\xff'"
    assert vm.get("code.py") == LOOK.encode()
