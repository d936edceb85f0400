"""Time, sleep and resets of the reference VM: what each chip's port of MicroPython says about them."""

import contextlib
import time
from collections.abc import Iterator

import pytest

from harness.chips import CHIPS, Reset
from harness.errors import FirmwareFailure, UsageError
from harness.reference.guest_rom import Service
from harness.reference.vm import ReferenceVm

#: What MicroPython's ports promise, of every chip of which that is known.
PORTS = {chip.name: chip.port for chip in CHIPS.values() if chip.port is not None}


def lines(vm: ReferenceVm, source: str) -> list[str]:
    result = vm.run(source)
    assert result.stderr == b""
    return result.stdout.decode().split("\r\n")[:-1]


@pytest.fixture
def esp32() -> Iterator[ReferenceVm]:
    with ReferenceVm(chip="esp32") as vm:
        yield vm


@pytest.mark.parametrize("call", ["time.sleep(10)", "time.sleep_ms(10000)", "machine.lightsleep(10000)"])
def test_ten_seconds_of_sleep_are_ten_seconds_and_take_no_time(esp32: ReferenceVm, call: str) -> None:
    started = time.perf_counter()
    [passed] = lines(
        esp32,
        f"import time, machine\nt = time.ticks_us()\n{call}\nprint(time.ticks_diff(time.ticks_us(), t))",
    )
    assert 10_000_000 <= int(passed) < 10_001_000
    assert time.perf_counter() - started < 2


def test_executing_takes_time_in_proportion(esp32: ReferenceVm) -> None:
    source = "import time\nt = time.ticks_us()\nfor i in range({}): pass\nprint(time.ticks_diff(time.ticks_us(), t))"
    short, long = (int(lines(esp32, source.format(n))[0]) for n in (1000, 10000))
    assert 9 < long / short < 11


def test_a_timer_neither_shortens_nor_delays_a_sleep(esp32: ReferenceVm) -> None:
    rang, slept_ms, slept_us = lines(
        esp32,
        "import time\nfrom machine import Timer\nrang = 0\n"
        "def ring(t):\n    global rang\n    rang += 1\n"
        "timer = Timer(0, period=7, mode=Timer.PERIODIC, callback=ring)\n"
        "t = time.ticks_us()\ntime.sleep_ms(100)\na = time.ticks_diff(time.ticks_us(), t)\n"
        "timer.deinit()\nprint(rang)\nprint(a)\n"
        "timer.init(period=7, mode=Timer.PERIODIC, callback=ring)\n"
        "t = time.ticks_us()\ntime.sleep_us(20000)\nprint(time.ticks_diff(time.ticks_us(), t))",
    )
    assert int(rang) == 14  # in 100 ms, every 7 ms
    assert 100_000 <= int(slept_ms) < 100_500
    assert 20_000 <= int(slept_us) < 20_500


def test_a_timer_in_a_sleep_rings_at_its_moment(esp32: ReferenceVm) -> None:
    source = (
        "import time\nfrom machine import Timer\nat = []\n"
        "Timer(1).init(mode=Timer.ONE_SHOT, period=250, callback=lambda t: at.append(time.ticks_us()))\n"
        "t = time.ticks_us()\ntime.sleep(1)\nprint(time.ticks_diff(at[0], t), len(at))"
    )
    after, count = map(int, lines(esp32, source)[0].split())
    assert 249_000 < after < 250_500
    assert count == 1


def test_idle_returns_at_the_next_event_or_tick(esp32: ReferenceVm) -> None:
    source = (
        "import time, machine\n"
        "t = time.ticks_us()\nmachine.idle()\nprint(time.ticks_diff(time.ticks_us(), t))\n"
        "machine.Timer(0, mode=machine.Timer.ONE_SHOT, freq=2000, callback=lambda t: None)\n"
        "t = time.ticks_us()\nmachine.idle()\nprint(time.ticks_diff(time.ticks_us(), t))"
    )
    alone, with_timer = map(int, lines(esp32, source))
    assert 1000 <= alone < 1600  # a tick is a millisecond
    assert with_timer < 1000


def test_waiting_with_nothing_to_wait_for_is_said(esp32: ReferenceVm) -> None:
    with pytest.raises(FirmwareFailure, match=r"waits for ever.*\n.*vm\.drive"):
        esp32.run("import machine\nmachine.lightsleep()")
    assert lines(esp32, "print('alive')") == ["alive"]


def test_an_endless_light_sleep_with_a_timer_ends_with_the_time_limit(esp32: ReferenceVm) -> None:
    source = "import machine\nmachine.Timer(0, period=1, callback=lambda t: None)\nmachine.lightsleep()"
    with pytest.raises(FirmwareFailure, match="did not end within"):
        esp32.run(source, timeout=0.3)
    assert lines(esp32, "print('alive')") == ["alive"]


@pytest.mark.parametrize("name", PORTS)
def test_deep_sleep_ends_the_vm_and_the_clock_runs_on(name: str) -> None:
    with ReferenceVm(chip=name) as vm:
        result = vm.run("import machine\nx = 1\nprint('before')\nmachine.deepsleep(10_000)\nprint('never')")
        assert (result.stdout, vm.ended_by, vm.asleep) == (b"before\r\n", Reset.DEEP_SLEEP, True)
        asleep_since = vm.time_us
        output = lines(
            vm,
            "import machine, time\nprint(machine.reset_cause() == machine.DEEPSLEEP_RESET, 'x' in globals())\n"
            "print(time.ticks_ms() < 1000)",
        )
        assert output == ["True False", "True"]  # RAM is gone, and ticks start from zero
        assert 10e6 < vm.time_us - asleep_since < 10.5e6


@pytest.mark.parametrize("name", PORTS)
def test_reset_causes_are_the_ports_numbers(name: str) -> None:
    ask = "import machine\nprint(machine.reset_cause())"
    causes = PORTS[name].cause_of
    with ReferenceVm(chip=name) as vm:

        def seen() -> list[str]:
            return [*lines(vm, ask)]

        def ended(source: str) -> Reset | None:
            vm.run(source)
            return vm.ended_by

        assert seen() == [str(causes[Reset.POWER_ON])]
        vm.soft_reset()
        assert seen() == [str(causes[Reset.SOFT])]
        vm.hard_reset()
        assert seen() == [str(causes[Reset.PIN])]
        assert ended("machine.reset()") is Reset.MACHINE
        assert seen() == [str(causes[Reset.MACHINE])]
        assert ended("w = machine.WDT(timeout=50)\nwhile True: pass") is Reset.WATCHDOG
        assert seen() == [str(causes[Reset.WATCHDOG])]
        vm.run("machine.deepsleep(10)")
        assert seen() == [str(causes[Reset.DEEP_SLEEP])]
        vm.run("machine.soft_reset()")
        assert seen() == [str(causes[Reset.SOFT])]
        vm.power_cycle()
        assert seen() == [str(causes[Reset.POWER_ON])]


def test_a_watchdog_that_is_fed_does_not_bark(esp32: ReferenceVm) -> None:
    source = (
        "import machine, time\nw = machine.WDT(timeout=50)\n"
        "for i in range(9):\n    time.sleep_ms(40)\n    w.feed()\nprint('fed')"
    )
    assert lines(esp32, source) == ["fed"]


@pytest.mark.parametrize(("name", "size"), [("esp32", 2048), ("esp8266", 492)])
def test_rtc_memory_holds_what_the_port_says_and_goes_with_the_power(name: str, size: int) -> None:
    with ReferenceVm(chip=name) as vm:
        head = "import machine\nm = machine.RTC().memory\n"
        assert lines(vm, head + "print(m())") == ["b''"]
        assert lines(vm, head + f"m(bytes(i & 255 for i in range({size})))\nprint(len(m()))") == [str(size)]
        error = vm.run(head + f"m(bytes({size + 1}))").stderr
        assert b"ValueError: buffer too long" in error
        for end in ("machine.deepsleep(1)", "machine.reset()", "machine.soft_reset()"):
            vm.run("import machine\n" + end)
            assert lines(vm, head + f"print(m() == bytes(i & 255 for i in range({size})))") == ["True"]
        vm.power_cycle()
        assert lines(vm, head + "print(m())") == ["b''"]


@pytest.mark.parametrize(("name", "registers"), [("stm32f405", 20), ("stm32l476", 32)])
def test_backup_registers_outlive_standby(name: str, registers: int) -> None:
    last = f"stm.mem32[stm.RTC + stm.RTC_BKP{registers - 1}R]"
    with ReferenceVm(chip=name) as vm:
        vm.run(f"import stm, machine\n{last} = 0x12345678\nmachine.deepsleep(5)")
        assert lines(vm, f"import stm\nprint(hex({last}))") == ["0x12345678"]
        vm.power_cycle()
        assert lines(vm, f"import stm\nprint({last}, hasattr(stm, 'RTC_BKP{registers}R'))") == ["0 False"]
        assert lines(vm, "import machine\nprint(hasattr(machine.RTC(), 'memory'))") == ["False"]


def test_a_pin_ends_deep_sleep_and_is_the_reason(esp32: ReferenceVm) -> None:
    esp32.drive(4, 1, after_us=2_500_000)
    esp32.run("import machine, esp32\nesp32.wake_on_ext0(machine.Pin(4), True)\nmachine.deepsleep(60_000)")
    began = esp32.time_us
    assert lines(esp32, "import machine\nprint(machine.wake_reason() == machine.EXT0_WAKE)") == ["True"]
    assert esp32.time_us - began < 3e6
    esp32.run("machine.deepsleep(100)")
    assert lines(esp32, "import machine\nprint(machine.wake_reason() == machine.TIMER_WAKE)") == ["True"]


def test_the_host_wakes_a_sleeping_chip(esp32: ReferenceVm) -> None:
    esp32.run("import machine, esp32\nesp32.wake_on_ext0(machine.Pin(4), True)\nmachine.deepsleep()")
    with pytest.raises(FirmwareFailure, match="nothing will wake it"):
        esp32.run("print(1)")
    esp32.drive(4, 1)
    assert lines(esp32, "import machine\nprint(machine.wake_reason() == machine.EXT0_WAKE)") == ["True"]


def test_a_soft_reset_leaves_outputs_and_a_hard_one_does_not(esp32: ReferenceVm) -> None:
    esp32.run("from machine import Pin\nPin(4, Pin.OUT, value=1)")
    esp32.soft_reset()
    assert esp32.level(4) == 1
    esp32.hard_reset()
    assert esp32.level(4) == 0


def test_nonsense_in_the_page_of_registers_harms_nobody(esp32: ReferenceVm) -> None:
    ends = {int(n) for n in (Service.IDLE, Service.LIGHT_SLEEP, Service.DEEP_SLEEP, Service.RESET)}
    for value in (-1, 0x7FFFFFFF, 12345):
        with contextlib.suppress(FirmwareFailure):  # its own VM may well crash
            esp32.run(
                f"import _board, umachine, time\nfor n in range(60):\n    if n in {ends}: continue\n"
                f"    for r in (4, 8, 12): umachine.mem32[_board.BASE + r] = {value}\n"
                "    umachine.mem32[_board.BASE] = n\n    time.ticks_us()"
            )
        esp32.power_cycle()
        assert lines(esp32, "print('alive')") == ["alive"]


@pytest.mark.parametrize(
    ("level", "steps", "wakes"),
    [
        ("ANY_HIGH", {4: 1}, True),
        ("ANY_HIGH", {5: 1}, True),
        ("ALL_LOW", {4: 0}, False),
        ("ALL_LOW", {4: 0, 5: 0}, True),
    ],
)
def test_ext1_wakes_on_any_high_or_all_low(esp32: ReferenceVm, level: str, steps: dict[int, int], wakes: bool) -> None:
    for pin in (4, 5):
        esp32.drive(pin, int(level == "ALL_LOW"))
    for pin, value in steps.items():
        esp32.drive(pin, value, after_us=1e6)
    esp32.run(
        "import machine, esp32\n"
        f"esp32.wake_on_ext1((machine.Pin(4), machine.Pin(5)), esp32.WAKEUP_{level})\nmachine.deepsleep(9000)"
    )
    reason = lines(esp32, "import machine\nprint(machine.wake_reason(), machine.wake_pins())")
    if wakes:
        assert reason == [f"3 {tuple(sorted(steps))}"]
    else:
        assert reason == ["4 ()"]


def test_a_pin_ends_light_sleep_at_its_moment() -> None:
    with ReferenceVm(chip="stm32f405") as vm:
        vm.drive("A1", 1, after_us=300_000)
        vm.run(
            "import machine\nmachine.Pin('A1').irq(lambda p: None, machine.Pin.IRQ_RISING)\nmachine.lightsleep(5000)"
        )
        [edge], [awake] = vm.trace.matching("pin A1 high"), vm.trace.matching("awake")
        [start] = vm.trace.matching("program")[:1]
    assert edge.time_ns == awake.time_ns == start.time_ns + 300_000_000


def test_the_esp8266_wakes_by_its_timer_only_when_gpio16_is_wired_to_rst() -> None:
    with ReferenceVm(chip="esp8266") as vm:
        vm.unwire(16, "RST")
        vm.run("import machine\nmachine.deepsleep(1000)")
        with pytest.raises(FirmwareFailure, match="nothing will wake it"):
            vm.run("print(1)")
        vm.drive("RST", 0)
        assert lines(vm, "import machine\nprint(machine.reset_cause() == machine.HARD_RESET)") == ["True"]


def test_the_esp8266_alarm_wakes_when_it_is_told_to() -> None:
    with ReferenceVm(chip="esp8266") as vm:
        vm.run(
            "import machine\nrtc = machine.RTC()\nrtc.irq(trigger=rtc.ALARM0, wake=machine.DEEPSLEEP)\n"
            "rtc.alarm(rtc.ALARM0, 10000)\nprint(9000 < rtc.alarm_left() <= 10000)\nmachine.deepsleep()"
        )
        began = vm.time_us
        assert lines(vm, "import machine\nprint(machine.reset_cause())") == ["5"]
        assert 9.9e6 < vm.time_us - began < 10.5e6


def test_the_real_time_clock_survives_all_but_power_off(esp32: ReferenceVm) -> None:
    now = "import machine, time\nprint(machine.RTC().datetime()[:7])"
    esp32.run("import machine\nmachine.RTC().datetime((2024, 2, 29, 3, 23, 59, 50, 0))\nmachine.deepsleep(20_000)")
    assert lines(esp32, now) == ["(2024, 3, 1, 4, 0, 0, 10)"]
    assert lines(esp32, "print(time.localtime()[:3] == (2024, 3, 1))") == ["True"]
    esp32.power_cycle()
    assert lines(esp32, now) == ["(2000, 1, 1, 5, 0, 0, 0)"]
    assert b"ValueError" in esp32.run("machine.RTC().datetime((2024, 2, 30, 0, 0, 0, 0, 0))").stderr


def test_boot_is_the_start_after_a_wake(esp32: ReferenceVm) -> None:
    esp32.put(
        "/main.py",
        b"import machine\nm = machine.RTC().memory\nn = len(m()) + 1\nm(b'.' * n)\n"
        b"print('wake', n)\nmachine.deepsleep(60_000)",
    )
    outputs = [esp32.boot().stdout for _ in range(4)]
    assert outputs == [b"wake %d\r\n" % n for n in (1, 2, 3, 4)]
    assert 180e6 < esp32.time_us < 180e6 + 5 * 0.5e6  # three sleeps, and five starts of at most half a second


def test_without_a_chip_there_are_no_pins() -> None:
    with ReferenceVm() as vm:
        assert lines(vm, "import machine\nprint(hasattr(machine, 'deepsleep'))") == ["False"]
        with pytest.raises(UsageError, match="no pins"):
            vm.drive(1, 1)
    with pytest.raises(UsageError, match="there is no chip 'z80'; expected one of esp32, "):
        ReferenceVm(chip="z80")


def test_the_built_in_module_is_still_there(esp32: ReferenceVm) -> None:
    assert lines(esp32, "import umachine, machine\nprint(machine.mem8 is umachine.mem8)") == ["True"]


def test_a_program_may_bring_its_own_machine_module(esp32: ReferenceVm) -> None:
    esp32.put("/machine.py", b"WHO = 'mine'\n")
    assert lines(esp32, "import machine\nprint(machine.WHO)") == ["mine"]


def test_frequencies_are_those_of_the_port(esp32: ReferenceVm) -> None:
    assert lines(esp32, "import machine\nmachine.freq(240000000)\nprint(machine.freq())") == ["240000000"]
    assert b"ValueError" in esp32.run("machine.freq(123456000)").stderr
    assert lines(esp32, "print(len(machine.unique_id()))") == ["6"]
