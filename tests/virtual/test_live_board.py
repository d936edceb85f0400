"""The virtual firmware's machine module in the host's time: pins, timers, sleeps, and what ends the VM."""

from collections.abc import Callable, Iterator
from functools import partial
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chips import Reset
from harness.errors import UsageError
from harness.virtual.application import Ended, Exit
from harness.virtual.live_board import LiveBoard, Surroundings
from tests.virtual.vm_rig import Rig

LOOPED = Surroundings(loopback=((4, 5),), button=0)
Make = Callable[..., Rig]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Rig] = []

    def factory(around: Surroundings = LOOPED) -> Rig:
        made.append(Rig(around=around))
        made[-1].raw()
        return made[-1]

    yield factory
    for rig in made:
        rig.stop()


def test_a_looped_back_pin_interrupts(make: Make) -> None:
    program = b"""
from machine import Pin
seen = []
out = Pin(4, Pin.OUT, value=0)
pin = Pin(5, Pin.IN)
pin.irq(lambda p: seen.append(p.value()), Pin.IRQ_RISING | Pin.IRQ_FALLING)
for level in (1, 0, 1):
    out(level)
print(seen)
"""
    assert make().run(program) == b"OK[1, 0, 1]\r\n\x04\x04>"


def test_a_timer_fires_in_a_busy_loop_and_in_a_sleep(make: Make) -> None:
    program = b"""
from machine import Timer
import time
n = 0
def tick(t):
    global n
    n += 1
timer = Timer(0, period=5, callback=tick)
end = time.ticks_add(time.ticks_ms(), 52)
while time.ticks_diff(end, time.ticks_ms()) > 0:
    pass
busy = n
time.sleep_ms(52)
timer.deinit()
print(busy, n - busy in (10, 11))
"""
    assert make().run(program) == b"OK10 True\r\n\x04\x04>"


def test_callbacks_run_while_the_repl_waits(make: Make) -> None:
    rig = make()
    rig.run(b"from machine import Timer\nTimer(0, mode=Timer.ONE_SHOT, period=1, callback=lambda t: print('tick'))")
    assert rig.expect(b"tick\r\n") == b"tick\r\n"
    assert rig.run(b"print(1)") == b"OK1\r\n\x04\x04>"  # and the prompt that stood there was not given twice


def test_a_callbacks_exception_is_printed_at_once_also_at_the_prompt(make: Make) -> None:
    rig = make()
    text = b'Traceback (most recent call last):\r\n  File "<stdin>", line 2, in <lambda>\r\n'
    text += b"ZeroDivisionError: divide by zero\r\n"
    program = b"import micropython\nmicropython.schedule(lambda a: 1/0, 0)\nfor i in range(9): pass\nprint('end')"
    assert rig.run(program) == b"OK" + text + b"end\r\n\x04\x04>"
    rig.run(b"from machine import Timer\nTimer(0, mode=Timer.ONE_SHOT, period=1, callback=lambda t: 1/0)")
    assert rig.expect(b"zero\r\n") == text


def test_ctrl_c_ends_a_wait_for_input(make: Make) -> None:
    rig = make()
    rig.send(b"import sys\nprint('on')\nsys.stdin.read(1)\x04")
    rig.expect(b"on\r\n")
    rig.send(b"\x03")
    assert b"KeyboardInterrupt" in rig.expect(b"\x04>")


def test_callbacks_run_during_a_poll_which_is_as_long_as_asked_for(make: Make) -> None:
    program = b"""
import select, sys, time
from machine import Timer
n = 0
def tick(t):
    global n
    n += 1
timer = Timer(0, period=10, callback=tick)
poller = select.poll()
poller.register(sys.stdin, select.POLLIN)
start = time.ticks_ms()
found = poller.poll(105)
timer.deinit()
print(found, n, 105 <= time.ticks_diff(time.ticks_ms(), start) < 120)
"""
    assert make(Surroundings(fast=True)).run(program) == b"OK[] 10 True\r\n\x04\x04>"


def test_callbacks_run_while_a_program_reads_the_console(make: Make) -> None:
    rig = make()
    rig.send(
        b"import sys\nfrom machine import Timer\n"
        b"Timer(0, mode=Timer.ONE_SHOT, period=1, callback=lambda t: print('tick'))\nprint(sys.stdin.read(2))\x04"
    )
    rig.expect(b"tick\r\n")
    rig.send(b"ab")
    assert rig.expect(b"\x04>") == b"ab\r\n\x04\x04>"


def test_a_level_from_outside_reaches_a_busy_program(make: Make) -> None:
    rig = make()
    rig.send(
        b"from machine import Pin\np = Pin(0, Pin.IN, Pin.PULL_UP)\nprint(p())\nwhile p(): pass\nprint('pressed')\x04"
    )
    rig.expect(b"1\r\n")
    rig.board.press(True)
    rig.expect(b"pressed\r\n\x04\x04>")
    rig.board.press(False)
    assert rig.run(b"print(p())") == b"OK1\r\n\x04\x04>"


def test_a_soft_reset_stops_timers_and_interrupts_and_keeps_rtc_memory(make: Make) -> None:
    rig = make()
    rig.run(
        b"import machine\nmachine.RTC().memory(b'kept')\n"
        b"machine.Timer(0, period=1, callback=lambda t: print('left over'))"
    )
    rig.send(b"\x04")
    rig.expect(b"soft reboot\r\nraw REPL; CTRL-B to exit\r\n>")
    after = b"import machine, time; time.sleep_ms(20); print(machine.reset_cause(), machine.RTC().memory())"
    assert rig.run(after) == b"OK5 b'kept'\r\n\x04\x04>"


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("machine.reset()", Ended.HARD_RESET),
        ("machine.deepsleep(10)", Ended.DEEP_SLEEP),
        ("machine.WDT(timeout=5)\nwhile True: pass", Ended.WATCHDOG),
        ("machine.WDT(timeout=5)\nimport time; time.sleep(100)", Ended.WATCHDOG),
        ("machine.WDT(timeout=5)", Ended.WATCHDOG),  # the REPL does not feed it
    ],
)
def test_what_ends_the_vm_is_told_to_the_chip(make: Make, call: str, why: Ended) -> None:
    rig = make()
    rig.send(f"import machine\n{call}\x04".encode())
    rig.thread.join(5)
    assert rig.exit == Exit(why)


@given(
    due=st.lists(st.integers(0, 10_000_000), max_size=8),
    waits=st.lists(st.integers(0, 4_000_000), min_size=1, max_size=6),
)
def test_waits_end_at_their_moment_and_what_is_due_comes_in_order_at_its_own(due: list[int], waits: list[int]) -> None:
    board = LiveBoard("esp32", Surroundings(fast=True))
    seen: list[tuple[int, int]] = []

    def rings(at: int) -> None:
        seen.append((at, board.clock.now_ns))

    for at in due:
        board.timeline.at(at, partial(rings, at))
    for wait in waits:
        until = board.clock.now_ns + wait
        board.pass_time(until, lambda: False)
        assert board.clock.now_ns == until
    assert seen == [(at, at) for at in sorted(due) if at <= sum(waits)]


def test_a_bell_that_rang_before_a_wait_is_heard_in_it() -> None:
    board = LiveBoard("esp32")
    asked = []

    def done() -> bool:
        asked.append(True)
        return True

    board.ring()
    board.pass_time(None, done)
    assert asked == [True]


def test_levels_given_while_the_chip_is_held_in_reset_are_there_when_it_starts() -> None:
    board = LiveBoard("esp32", Surroundings(loopback=((4, 5),)))
    board.lead(4, 1)
    board.restart(Reset.PIN)
    assert board.pins is not None
    assert board.pins.pin(5).level == 1


def test_a_board_without_a_button_says_so() -> None:
    with pytest.raises(UsageError, match="no button"):
        LiveBoard("esp32").press(True)


class RingsBetween(Event):
    """A bell that somebody rings just after it was looked at."""

    rang = False

    def is_set(self) -> bool:
        seen = super().is_set()
        if not self.rang:
            self.rang = True
            self.set()
        return seen


def test_a_bell_that_rings_while_a_wait_ends_is_heard_by_the_next_one() -> None:
    board = LiveBoard("esp32", LOOPED)
    board._bell = RingsBetween()
    assert not board._wait(board.clock.now_ns, jump=False)
    assert board._wait(board.clock.now_ns + 2_000_000_000, jump=False)
