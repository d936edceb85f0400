"""Reset causes, deep sleep, watchdog and brown-out of whole virtual chips: boot ROM text, VM and RTC domain."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.formats.virtual_image import flash_offset
from harness.virtual import esp_chip as chip_module
from harness.virtual.application import Ended, Exit
from harness.virtual.cpu import create
from harness.virtual.esp_chip import Chip
from harness.virtual.live_board import Surroundings
from harness.virtual.nor_flash import Flash
from tests.virtual.chip_clients import MAC, Device, esp_reset_pulse

ESP32_WAKE = b"rst:0x5 (DEEPSLEEP_RESET),boot:0x13 (SPI_FAST_FLASH_BOOT)"
STATE = "import machine as m\nprint('cause', m.reset_cause(), m.RTC().memory())"

Make = Callable[..., Device]


@pytest.fixture
def make(firmware_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(chip_module, "EN_DELAY", 0.01)
    made: list[Device] = []

    def factory(kind: str = "esp32", around: Surroundings | None = None) -> Device:
        flash = Flash(4 << 20)
        flash.program(flash_offset(kind), firmware_files[kind].read_bytes())
        made.append(Device(Chip(kind, flash, MAC, create, around or Surroundings())))
        return made[-1]

    yield factory
    for device in made:
        device.chip.power_off()


@pytest.mark.parametrize(
    ("kind", "causes"),
    [
        ("esp32", {"power": 1, "EN": 1, "machine": 2, "soft": 5}),
        ("esp32s3", {"power": 1, "EN": 1, "machine": 2, "soft": 5}),
        ("esp32c3", {"power": 1, "EN": 1, "machine": 2, "soft": 5}),
        ("esp8266", {"power": 0, "EN": 6, "machine": 4, "soft": 4}),
    ],
)
def test_each_reset_has_its_cause_and_rtc_memory_is_kept_or_lost_with_it(
    make: Make, kind: str, causes: dict[str, int]
) -> None:
    device = make(kind)

    def after(cause: str, memory: bytes) -> None:
        assert device.run(STATE) == f"cause {causes[cause]} {memory!r}\n".encode()
        device.run("m.RTC().memory(b'kept')")

    after("power", b"")
    device.start("m.reset()")
    device.raw()
    after("machine", b"kept")
    device.wire.clear()
    device.type(b"\x04")
    device.wire.wait(b"soft reboot\r\nraw REPL; CTRL-B to exit\r\n>")
    after("soft", b"kept")
    device.wire.clear()
    esp_reset_pulse(device.chip)
    device.raw()
    after("EN", b"kept" if kind == "esp8266" else b"")  # EN low powers an ESP32's RTC domain down
    device.wire.clear()
    device.chip.power_off()
    device.chip.power_on()
    device.raw()
    after("power", b"")


def test_deep_sleep_is_silent_and_deaf_and_ends_with_the_roms_text_and_main_py(make: Make) -> None:
    device = make(around=Surroundings(button=4))
    device.run(
        "import machine as m, esp32\nm.RTC().memory(b'kept')\nleft = 1\n"
        "with open('main.py', 'w') as f: n = f.write('print(\"main ran\")')"
    )
    device.start("esp32.wake_on_ext0(m.Pin(4, m.Pin.IN), 1)\nm.deepsleep(600000)")
    device.wait_asleep()
    device.wire.clear()
    device.type(b"print('heard')\x04\x03\x04")
    device.turn()
    assert device.wire.heard == b""
    device.chip.board.lead(4, 1)
    device.wire.wait(b">>> ")
    text = device.wire.heard
    assert ESP32_WAKE in text
    assert text.index(ESP32_WAKE) < text.index(b"main ran")
    assert b"heard" not in text
    device.raw()
    assert device.run(STATE + "\nprint('left' in globals())") == b"cause 4 b'kept'\nFalse\n"


def test_a_timed_deep_sleep_takes_its_time_by_the_clock_that_goes_on(make: Make) -> None:
    device = make()
    device.run("import machine as m\nm.RTC().memory(str(m.RTC().datetime()[6:]).encode())")
    device.start("m.deepsleep(300)")
    device.wire.wait(ESP32_WAKE)
    device.raw()
    slept = device.run(
        "import machine as m\ns, us = eval(m.RTC().memory())\nn = m.RTC().datetime()\n"
        "print(((n[6] - s) % 60 * 1000000 + n[7] - us) // 1000)"
    )
    assert 300 <= int(slept) < 1500


def test_a_pin_wakes_an_esp32_and_says_that_it_did(make: Make) -> None:
    device = make(around=Surroundings(button=4))
    device.start("import machine as m, esp32\nesp32.wake_on_ext0(m.Pin(4, m.Pin.IN, m.Pin.PULL_UP), 1)\nm.deepsleep()")
    device.wait_asleep()
    device.chip.board.lead(4, 1)
    device.wire.wait(ESP32_WAKE)
    device.raw()
    assert device.run("import machine as m; print(m.reset_cause(), m.wake_reason() == m.EXT0_WAKE)") == b"4 True\n"


@pytest.mark.parametrize(
    ("kind", "how", "says"),
    [
        (
            "esp32s3",
            "esp32.wake_on_ext0(m.Pin(4, m.Pin.IN, m.Pin.PULL_DOWN), 1)\nm.deepsleep(600000)",
            b"rst:0x5 (DSLEEP),boot:0x8 ",
        ),
        ("esp32c3", "m.deepsleep(20)", b"rst:0x5 (DSLEEP),boot:0xc "),
    ],
)
def test_a_newer_chip_wakes_with_its_roms_words(make: Make, kind: str, how: str, says: bytes) -> None:
    device = make(kind, around=Surroundings(button=4))
    device.start(f"import machine as m, esp32\nm.RTC().memory(b'kept')\n{how}")
    if kind == "esp32s3":
        device.wait_asleep()
        device.chip.board.lead(4, 1)
    device.wire.wait(says)
    device.raw()
    assert device.run(STATE) == b"cause 4 b'kept'\n"


def test_a_crash_on_risc_v_is_told_as_one() -> None:
    risc_v, xtensa = (Chip(kind, Flash(4 << 20), MAC, create) for kind in ("esp32c3", "esp32s3"))
    assert "(Store access fault)" in risc_v.last_words(Exit(Ended.CRASH, "here"))[0]
    assert "(StoreProhibited)" in xtensa.last_words(Exit(Ended.CRASH, "here"))[0]


def test_an_esp8266_wakes_through_gpio16_as_an_external_reset(make: Make) -> None:
    device = make("esp8266", around=Surroundings(gpio16_rst=True))
    device.start("import machine as m\nm.deepsleep(10)")
    device.wire.wait(b" ets Jan  8 2013,rst cause:2, boot mode:(3,6)")
    device.raw()
    assert device.run(STATE) == b"cause 5 b''\n"


def test_an_esp8266_without_that_wire_sleeps_until_en(make: Make) -> None:
    device = make("esp8266", around=Surroundings(fast=True))
    device.start("import machine as m\nm.deepsleep(1)")
    device.wait_asleep()
    assert b"ets Jan" not in device.wire.heard
    esp_reset_pulse(device.chip)
    device.raw()
    assert device.run(STATE) == b"cause 6 b''\n"


def test_an_esp8266_that_pulls_gpio16_low_resets_itself(make: Make) -> None:
    device = make("esp8266", around=Surroundings(gpio16_rst=True))
    device.start("import machine as m\nm.Pin(16, m.Pin.OUT, value=0)")
    device.wire.wait(b"rst cause:2")
    device.raw()
    assert device.run(STATE) == b"cause 6 b''\n"


@pytest.mark.parametrize(
    ("kind", "text", "cause"),
    [
        ("esp32", (b"task_wdt: Task watchdog got triggered.", b"rst:0xc (SW_CPU_RESET)"), 3),
        ("esp32s3", (b"CPU 1: mp_task", b"rst:0xc (RTC_SW_CPU_RST),boot:0x8", b"Saved PC:0x"), 3),
        ("esp32c3", (b"CPU 0: mp_task", b"rst:0x3 (RTC_SW_SYS_RST),boot:0xc", b"Saved PC:0x"), 3),
        ("esp8266", (b"rst cause:4",), 1),
    ],
)
def test_a_watchdog_that_is_not_fed_resets_with_its_text_and_cause(
    make: Make, kind: str, text: tuple[bytes, ...], cause: int
) -> None:
    device = make(kind, around=Surroundings(fast=True))
    device.start(
        "import machine as m, time\nw = m.WDT(timeout=2000)\nfor i in range(3): time.sleep(1); w.feed()\ntime.sleep(9)"
    )
    for part in text:
        device.wire.wait(part)
    device.raw()
    assert device.run(STATE).startswith(f"cause {cause} ".encode())


def test_a_brown_out_is_told_and_resets(make: Make) -> None:
    device = make()
    device.start("import machine as m\nm.RTC().memory(b'x')\nwhile True: pass")
    device.chip.brown_out()
    device.wire.wait(b"Brownout detector was triggered")
    device.wire.wait(b"rst:0xf (RTCWDT_BROWN_OUT_RESET)")
    device.raw()
    assert device.run(STATE) == b"cause 1 b''\n"


def test_light_sleep_keeps_ram_and_ends_at_its_time_or_by_a_pin(make: Make) -> None:
    device = make(around=Surroundings(button=4))
    timed = device.run(
        "import machine as m, time\nkept = 'here'\nt = time.ticks_ms()\nm.lightsleep(40)\n"
        "print(kept, 40 <= time.ticks_diff(time.ticks_ms(), t), m.wake_reason() == m.TIMER_WAKE)"
    )
    assert timed == b"here True True\n"
    device.start(
        "import esp32\nesp32.wake_on_ext0(m.Pin(4, m.Pin.IN, m.Pin.PULL_UP), 0)\nprint('going')\nm.lightsleep()\n"
        "print(kept, m.wake_reason() == m.EXT0_WAKE)"
    )
    device.wire.wait(b"going")
    device.chip.board.press(True)
    device.wire.wait(b"here True")
    assert device.chip.board.cause.value == "power on"


def test_at_the_fast_pace_an_hour_of_sleeps_passes_at_once_on_the_boards_clock(make: Make) -> None:
    device = make(around=Surroundings(fast=True))
    hour = device.run(
        "import time\nt = time.ticks_ms()\nfor i in range(60): time.sleep(60)\n"
        "print(time.ticks_diff(time.ticks_ms(), t))"
    )
    assert 3_600_000 <= int(hour) < 3_600_100
    device.run("import machine as m\ns = m.RTC().datetime()\nm.RTC().memory(str(s[4] * 60 + s[5]).encode())")
    device.start("m.deepsleep(60 * 60000)")
    device.wire.wait(ESP32_WAKE)
    device.raw()
    assert (
        device.run(
            "import machine as m\ns = m.RTC().datetime()\nprint((s[4] * 60 + s[5] - int(m.RTC().memory())) % 1440)"
        )
        == b"60\n"
    )
