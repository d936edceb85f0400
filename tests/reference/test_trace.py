"""The trace of a reference VM, and that it is the same wherever and whenever the program runs."""

import os
import subprocess
import sys

from harness.reference.trace import TRACE_LIMIT, Trace
from harness.reference.vm import ReferenceVm

#: Timers, pins, sleep and collections in one program, and interrupts from the host besides.
PROGRAM = """
import gc, machine, time
from machine import Pin, Timer
out, pin = Pin(4, Pin.OUT, value=0), Pin(5)
seen = []
pin.irq(lambda p: seen.append(time.ticks_us()), Pin.IRQ_RISING)
def tick(t):
    out.on()
    out.off()
t = Timer(0, period=3, callback=tick)
gc.threshold(2000)
for i in range(300):
    junk = {n: str(n) for n in range(20)}
time.sleep_ms(50)
machine.lightsleep(40)
gc.collect()
t.deinit()
def isr(n): seen.append(n)
for i in range(500): pass
print(len(seen), sum(seen) & 0xffffff, gc.mem_alloc())
machine.deepsleep(1000)
"""

RUN = """
import sys
from harness.reference.vm import ReferenceVm
with ReferenceVm(chip="esp32") as vm:
    vm.wire(4, 5)
    vm.drive(9, 1, after_us=1234.5)
    vm.interrupt_at("isr", 5, cost=30_000_000)
    result = vm.run(sys.stdin.read())
    vm.run("print('awake')")
    sys.stdout.buffer.write(result.stdout + result.stderr + str(vm.trace).encode())
"""


def traced(seed: str) -> bytes:
    # Another hash seed would show an order that comes from a set of strings.
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=PROGRAM.encode(),
        env=environment,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_processes_give_the_same_trace_to_the_byte() -> None:
    first, second = traced("1"), traced("2")
    assert first == second
    text = first.decode()
    assert "Traceback" not in text
    for what in ("timer 1: callback queued", "pin 5 interrupt", "light sleep", "deep sleep", "start after deep sleep"):
        assert what in text


def test_events_stand_in_the_order_of_time() -> None:
    with ReferenceVm(chip="esp32") as vm:
        vm.wire(4, 5)
        vm.run(PROGRAM)
        vm.run("1")
        times = [event.time_ns for event in vm.trace]
    assert times == sorted(times)
    assert len(times) > 100


def test_a_trace_is_bounded_and_says_what_it_left_out() -> None:
    trace = Trace()
    for n in range(TRACE_LIMIT + 7):
        trace.add(n, n, "x")
    assert len(trace) == TRACE_LIMIT
    assert str(trace).endswith("... and 7 more events")
    trace.clear()
    assert str(trace) == ""
