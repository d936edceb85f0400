"""Reset causes, standby, backup registers, and the modules of the STM32 port, on whole virtual chips."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.virtual.cpu import create
from harness.virtual.live_board import Surroundings
from harness.virtual.stm32.stm32_chip import Stm32Chip, flash_of, unique_id
from tests.virtual.chip_clients import MAC, Device, stm32_reset_pulse

REGISTERS = {"stm32f405": 20, "stm32l476": 32}
STATE = (
    "import machine as m, stm\nat = stm.RTC + stm.RTC_BKP0R\n"
    "print('cause', m.reset_cause(), stm.mem32[at], stm.mem32[at + 4 * %d])"
)
SET = "stm.mem32[at] = 0x49abcdef\nstm.mem32[at + 4 * %d] = 7"

Make = Callable[..., Device]


@pytest.fixture
def make(firmware_files: dict[str, Path]) -> Iterator[Make]:
    made: list[Device] = []

    def factory(kind: str = "stm32f405", around: Surroundings | None = None) -> Device:
        flash = flash_of(kind)
        flash.program(0, firmware_files[kind].read_bytes())
        made.append(Device(Stm32Chip(kind, flash, MAC, create, around or Surroundings())))
        return made[-1]

    yield factory
    for device in made:
        device.chip.power_off()


@pytest.mark.parametrize("kind", REGISTERS)
def test_each_reset_has_its_cause_and_only_power_loses_the_backup_registers(make: Make, kind: str) -> None:
    device = make(kind)
    last = REGISTERS[kind] - 1
    kept = f"{0x49ABCDEF} 7"

    def after(cause: int, registers: str) -> None:
        assert device.run(STATE % last) == f"cause {cause} {registers}\n".encode()
        device.run(SET % last)

    after(1, "0 0")
    device.start("m.reset()")
    device.raw()
    after(2, kept)
    device.wire.clear()
    device.type(b"\x04")
    device.wire.wait(b"MPY: sync filesystems\r\nMPY: soft reboot\r\nraw REPL; CTRL-B to exit\r\n>")
    after(0, kept)
    device.wire.clear()
    stm32_reset_pulse(device.chip)
    device.raw()
    after(2, kept)
    device.start("m.deepsleep(20)")
    device.raw()
    after(4, kept)
    device.start("import time\nm.WDT(timeout=20)\ntime.sleep(5)")
    device.raw()
    after(3, kept)
    device.chip.power_off()
    device.wire.clear()
    device.chip.power_on()
    device.raw()
    after(1, "0 0")


def test_standby_is_silent_loses_ram_and_is_ended_by_the_rtcs_wake_up_timer(make: Make) -> None:
    device = make()
    device.run("import machine as m, pyb\nleft = 1\nm.RTC().datetime((2026, 3, 4, 3, 5, 0, 0, 0))\nm.RTC().wakeup(300)")
    device.start("pyb.standby()")
    device.wait_asleep()
    device.wire.clear()
    device.type(b"print('heard')\x04\x03")
    device.turn()
    assert device.wire.heard == b""
    device.wire.wait(b">>> ")
    assert device.wire.heard.startswith(b"MicroPython v") and b"heard" not in device.wire.heard
    device.raw()
    state = "import machine as m\nprint(m.reset_cause(), 'left' in globals(), m.RTC().datetime()[:6])"
    assert device.run(state) == b"4 False (2026, 3, 4, 3, 5, 0)\n"


def test_the_banner_names_board_and_chip_and_the_id_is_the_boot_loaders(make: Make) -> None:
    device = make("stm32l476")
    device.type(b"\x02")
    device.wire.wait(b"; virtual STM32L476 board with STM32L476RG\r\n")
    device.wire.clear()
    device.type(b"\x01")
    device.wire.wait(b"raw REPL; CTRL-B to exit\r\n>")
    assert device.run("import machine\nprint(machine.unique_id().hex())") == f"{unique_id(MAC).hex()}\n".encode()


def test_an_external_interrupt_runs_hard_for_each_edge_while_enabled_and_may_not_allocate(make: Make) -> None:
    device = make(around=Surroundings(loopback=(("A0", "A1"),), fast=True))
    source = """
from pyb import ExtInt, Pin
out = Pin('A0', Pin.OUT_PP)
seen = bytearray(2)
def hit(line):
    seen[0] += 1
    try:
        bytearray(64)
    except MemoryError:
        seen[1] += 1
ext = ExtInt(Pin('A1'), ExtInt.IRQ_RISING, Pin.PULL_NONE, hit)
def pulse():
    out.on()
    out.off()
    for _ in range(9):  # the VM looks for interrupts at jumps
        pass
pulse()
pulse()
ext.disable()
pulse()
ext.enable()
pulse()
ext.swint()
print(list(seen), ext.line())
"""
    assert device.run(source) == b"[4, 3] 1\n"


def test_pyb_timers_call_back_at_their_rate_and_stop(make: Make) -> None:
    device = make(around=Surroundings(fast=True))
    source = """
import pyb
seen = bytearray(1)
def hit(timer):
    seen[0] += 1
tim = pyb.Timer(4, freq=100, callback=hit)
pyb.delay(105)
print(seen[0], tim, tim.freq())
tim.callback(None)
pyb.delay(100)
print(seen[0])
tim.init(freq=50, callback=hit)
pyb.delay(45)
tim.deinit()
print(seen[0], pyb.elapsed_millis(pyb.millis()) in (0, 1), pyb.unique_id() == __import__('machine').unique_id())
try:
    pyb.Timer(99)
except ValueError as problem:
    print(problem)
"""
    assert device.run(source) == b"10 Timer(4) 100.0\n10\n12 True True\nTimer(99) doesn't exist\n"


def test_a_machine_reset_with_boot0_high_ends_in_the_boot_loader(make: Make) -> None:
    device = make()
    device.chip.set_lines(dtr=False, rts=False)
    device.chip.settled.clear()
    device.start("import machine\nmachine.reset()")
    assert device.chip.settled.wait(5)
    assert device.chip.downloading


def test_files_are_kept_over_a_power_cycle_on_flash_that_is_programmed_once(make: Make) -> None:
    device = make("stm32l476")
    device.run(
        "with open('/flash/data.txt', 'w') as f: n = f.write('x' * 5000)\n"
        "with open('/flash/data.txt', 'a') as f: n = f.write('y')"
    )
    device.chip.power_off()
    device.wire.clear()
    device.chip.power_on()
    device.raw()
    assert device.run("print(open('/flash/data.txt').read() == 'x' * 5000 + 'y')") == b"True\n"
