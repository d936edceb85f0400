"""The event poller (MicroPython's ``uevent`` proposal): fixtures/modules/uevent.py on the reference VM."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.reference.engine.asyncio_package import asyncio_files
from harness.reference.engine.prepare import vm_module
from harness.reference.explore.explorer import Limits, explore
from harness.reference.explore.rewind import Rewinder
from harness.reference.vm import ReferenceVm

FIXTURES = Path(__file__).parents[2] / "fixtures"
SOURCE = (FIXTURES / "modules" / "uevent.py").read_bytes()
SETUP = """
import io, time, uevent
class Thing:
    pass
def ready(timeout):
    return [(e.data, e.flags) for e in poller.poll_ms(timeout)]
poller = uevent.poll()
a, b = Thing(), Thing()
ea, eb = poller.register(a), poller.register(b)
ea.data, eb.data = "a", "b"
"""


def made(chip: str | None) -> ReferenceVm:
    vm = ReferenceVm(chip=chip)
    vm.put("uevent.py", SOURCE)
    if chip == "esp32":
        vm.wire(4, 5)
    elif chip:
        vm.wire("A0", "A1")
    assert vm.run(SETUP).stderr == b""
    return vm


@pytest.fixture(params=[None, "esp32"])
def vm(request: pytest.FixtureRequest) -> Iterator[ReferenceVm]:
    """With the build's own select.poll, and with the reference's wait for the next event."""
    with made(request.param) as vm:
        yield vm


@pytest.fixture
def esp32() -> Iterator[ReferenceVm]:
    with made("esp32") as vm:
        yield vm


def output(vm: ReferenceVm, source: str) -> list[str]:
    result = vm.run(source)
    assert result.stderr == b"", result.stderr.decode()
    return result.stdout.decode().split("\r\n")[:-1]


# -- entries --------------------------------------------------------------------------------------


@pytest.mark.holds("events.once")
def test_an_object_registered_twice_has_one_entry_with_both_masks(vm: ReferenceVm) -> None:
    source = "c = Thing()\ne = poller.register(c, uevent.READ)\n"
    source += "print(poller.register(c, uevent.WRITE) is e, e.mask == uevent.READ | uevent.WRITE)"
    assert output(vm, source) == ["True True"]


@pytest.mark.holds("events.flags")
def test_entries_come_in_the_order_in_which_they_became_ready_each_once_with_all_its_flags(vm: ReferenceVm) -> None:
    source = "eb.notify(uevent.READ); ea.notify(); eb.notify(uevent.WRITE)\nprint(ready(0)); print(ready(0))"
    assert output(vm, source) == ["[('b', 5), ('a', 16)]", "[]"]


@pytest.mark.holds("events.mask")
def test_flags_outside_the_mask_are_no_event(vm: ReferenceVm) -> None:
    source = "c = Thing()\ne = poller.register(c, uevent.READ)\ne.notify(uevent.WRITE)\nprint(ready(0))\n"
    assert output(vm, source + "e.notify(uevent.WRITE | uevent.READ)\nprint(ready(0))") == ["[]", "[(None, 1)]"]


@pytest.mark.holds("events.unregister")
def test_an_unregistered_object_is_heard_of_no_more(vm: ReferenceVm) -> None:
    source = "ea.notify(); poller.unregister(a); ea.notify(); eb.notify()\nprint(ready(0))\n"
    source += "try: poller.unregister(a)\nexcept KeyError: print('not registered')"
    assert output(vm, source) == ["[('b', 16)]", "not registered"]


def test_an_iteration_that_was_left_goes_on_where_it_was(vm: ReferenceVm) -> None:
    source = "ea.notify(); eb.notify()\nfor e in poller.poll_ms(0): print(e.data); break\nprint(ready(-1))"
    assert output(vm, source) == ["a", "[('b', 16)]"]


def test_an_event_during_the_iteration_comes_with_the_next_one(vm: ReferenceVm) -> None:
    source = "ea.notify()\nfor e in poller.poll_ms(0): ea.notify(uevent.READ)\nprint(ready(0))"
    assert output(vm, source) == ["[('a', 1)]"]


# -- the three kinds of objects -------------------------------------------------------------------


@pytest.mark.holds("events.checked")
def test_objects_polled_one_by_one_are_checked_with_their_mask(vm: ReferenceVm) -> None:
    source = """
class Counter:
    n = 0
    def check(self, mask):
        self.n += 1
        return mask if self.n % 3 == 0 else 0
c = Counter()
poller.register(c, uevent.READ)
t = time.ticks_ms()
print(ready(-1), c.n)
waited = time.ticks_diff(time.ticks_ms(), t)
assert poller.period_ms < waited < 3 * poller.period_ms, waited
"""
    assert output(vm, source) == ["[(None, 1)] 3"]


@pytest.mark.holds("events.streams")
def test_streams_are_polled_all_at_once_and_stay_ready_until_they_are_served(vm: ReferenceVm) -> None:
    source = """
class Stream(io.IOBase):
    state = 0
    def ioctl(self, request, argument):
        return self.state & argument if request == 3 else 0
s = Stream()
e = poller.register(s, uevent.READ)
print(ready(3))
s.state = 5
ea.notify()
print(ready(-1)); print(ready(-1))
poller.register(s, uevent.WRITE)
print(ready(-1))
poller.unregister(s)
print(ready(3))
"""
    assert output(vm, source) == ["[]", "[('a', 16), (None, 1)]", "[(None, 1)]", "[(None, 5)]", "[]"]


def test_what_wakes_the_selector_is_no_file_of_the_system(vm: ReferenceVm) -> None:
    """A port on POSIX asks a stream for its descriptor (request 10), and 0 is the console."""
    source = "alarm = uevent._Alarm(bytearray([1]))\nprint([alarm.ioctl(n, 1) for n in (3, 10, 4)])"
    assert output(vm, source) == ["[1, -1, -1]"]


@pytest.mark.holds("events.driven", "events.any-source")
def test_an_object_that_has_events_is_given_its_entrys_notify(vm: ReferenceVm) -> None:
    source = """
class Source:
    def set_event_callback(self, callback):
        self.tell = callback
s = Source()
poller.register(s).data = "s"
s.tell(uevent.READ)
print(ready(0))
poller.unregister(s)
print(s.tell)
"""
    assert output(vm, source) == ["[('s', 1)]", "None"]


@pytest.mark.holds("events.nested")
def test_a_poller_inside_another_one(vm: ReferenceVm) -> None:
    source = "inner = uevent.poll()\ne = inner.register(Thing())\npoller.register(inner).data = 'inner'\n"
    source += "print(ready(0))\ne.notify(); e.notify(uevent.READ)\nprint(ready(0), [x.flags for x in inner.poll_ms(0)])"
    assert output(vm, source) == ["[]", "[('inner', 1)] [17]"]


# -- waiting --------------------------------------------------------------------------------------


@pytest.mark.holds("events.timeout")
def test_poll_ms_without_an_event_returns_when_its_time_is_over(vm: ReferenceVm) -> None:
    source = "for ms in (0, 1, 10, 250):\n    t = time.ticks_ms()\n    print(ready(ms))\n"
    source += "    d = time.ticks_diff(time.ticks_ms(), t)\n    assert ms <= d <= ms + 3, (ms, d)\n"
    assert output(vm, source) == ["[]"] * 4


@pytest.mark.holds("events.named")
def test_a_notification_from_a_callback_ends_the_wait(vm: ReferenceVm) -> None:
    vm.interrupt_at("tell", 3, cost=600_000)  # in the loop: 15 ms of computing, the compiler's among them
    source = "def tell(flags): eb.notify(uevent.READ)\nfor _ in range(300): pass\nprint(ready(-1))"
    assert output(vm, source) == ["[('b', 1)]"]


TIMERS = """
from machine import Pin, Timer
out = Pin(4, Pin.OUT, value=0)
pin = Pin(5)
pin.irq(lambda p: ea.notify(), Pin.IRQ_RISING)
ticks = 0
def tick(timer):
    global ticks
    ticks += 1
    if ticks % 10 == 0:
        out.on(); out.off()
Timer(0).init(period=10, callback=tick)
"""


@pytest.mark.holds("events.explicit")
def test_soft_callbacks_that_concern_nobody_run_and_do_not_return(esp32: ReferenceVm) -> None:
    source = TIMERS + "t = time.ticks_ms()\nfor _ in range(3):\n"
    source += "    print(ready(-1), (time.ticks_diff(time.ticks_ms(), t) + 5) // 10 * 10, ticks)"
    assert output(esp32, source) == [f"[('a', 16)] {n * 100} {n * 10}" for n in (1, 2, 3)]


@pytest.mark.holds("events.two-pollers")
def test_a_second_poller_is_not_woken_by_what_concerns_the_first(esp32: ReferenceVm) -> None:
    source = TIMERS + "second = uevent.poll()\nsecond.register(Thing())\nt = time.ticks_ms()\n"
    source += "print(len(list(second.poll_ms(450))), time.ticks_diff(time.ticks_ms(), t) // 10 * 10)\nprint(ready(0))"
    assert output(esp32, source) == ["0 450", "[('a', 16)]"]


@pytest.mark.holds("events.no-polling", "events.asleep")
def test_it_sleeps_for_all_but_the_events(esp32: ReferenceVm) -> None:
    output(esp32, TIMERS)
    before, start = esp32.waited_us, esp32.time_us
    source = "ready(-1)\nw, ticks = poller.wakes, 0\nfor _ in range(5): ready(-1)\nprint(poller.wakes - w, ticks)"
    assert output(esp32, source) == ["50 50"]  # one wake for each event there was, and none besides
    assert (esp32.waited_us - before) / (esp32.time_us - start) > 0.85


def test_the_host_wakes_it_by_a_pin(esp32: ReferenceVm) -> None:
    esp32.drive(5, 1, after_us=2_000_000)
    source = "from machine import Pin\nPin(5).irq(lambda p: eb.notify(), Pin.IRQ_RISING)\nt = time.ticks_ms()\n"
    assert output(esp32, source + "print(ready(-1), time.ticks_diff(time.ticks_ms(), t) // 100)") == ["[('b', 16)] 19"]


# -- awaited in asyncio ---------------------------------------------------------------------------

AWAITED = """
import asyncio, uevent
from machine import Timer
event = uevent.Event()
async def woken(count):
    for _ in range(count):
        await event.wait()
    return asyncio.core._io_queue.poller
"""


def with_asyncio(vm: ReferenceVm) -> ReferenceVm:
    """With the Python part of asyncio, which the prepared build lacks."""
    folder = vm.run("import os\nprint(os.getcwd())").stdout.decode().strip().rstrip("/")
    assert output(vm, "os.mkdir('asyncio')") == []
    for name, data in asyncio_files().items():
        vm.put(f"{folder}/{name}", data)
    assert output(vm, AWAITED) == []
    return vm


@pytest.fixture
def awaited(esp32: ReferenceVm) -> ReferenceVm:
    return with_asyncio(esp32)


def test_a_task_that_awaits_an_event_is_woken_once_for_each_and_sleeps_in_between(awaited: ReferenceVm) -> None:
    before, start = awaited.waited_us, awaited.time_us
    source = "timer = Timer(0)\ntimer.init(period=100, callback=lambda t: event.set())\n"
    source += "poller = asyncio.run(woken(20))\ntimer.deinit()\nprint(poller.wakes)"
    assert output(awaited, source) == ["20"]
    assert (awaited.waited_us - before) / (awaited.time_us - start) > 0.9


def test_an_event_that_is_set_before_a_task_waits_is_kept_and_cleared_by_the_wait(awaited: ReferenceVm) -> None:
    source = "event.set(); event.set()\nasyncio.run(woken(1))\nprint(event.is_set())\n"
    source += "event.set(); event.clear()\nprint(event.is_set())"
    assert output(awaited, source) == ["False", "False"]


def test_an_event_is_awaited_again_after_a_wait_that_was_cancelled(awaited: ReferenceVm) -> None:
    source = """
async def both():
    try:
        await asyncio.wait_for(event.wait(), 0.05)
    except asyncio.TimeoutError:
        print("timed out", len(asyncio.core._io_queue.map))
    event.set()
    await event.wait()
    print("woken", len(asyncio.core._io_queue.map))
asyncio.run(both())
"""
    assert output(awaited, source) == ["timed out 0", "woken 0"]


def test_streams_that_were_awaited_before_go_on_in_the_events_poller(awaited: ReferenceVm) -> None:
    source = """
class Stream(io.IOBase):
    state = 0
    def ioctl(self, request, argument):
        return self.state & argument if request == 3 else 0
stream = Stream()
async def reader():
    await asyncio.core._io_queue.queue_read(stream)
    print("read")
async def both():
    task = asyncio.create_task(reader())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    timer = Timer(0)
    timer.init(mode=Timer.ONE_SHOT, period=20, callback=lambda t: event.set())
    await event.wait()
    print("woken")
    stream.state = 1
    await task
asyncio.run(both())
"""
    assert output(awaited, source) == ["woken", "read"]


def test_a_hard_handler_wakes_a_task_once_for_each_event() -> None:
    with made("stm32f405") as vm:
        source = "timer = Timer(-1, period=100, hard=True, callback=lambda t: event.set_hard())\n"
        source += "poller = asyncio.run(woken(5))\ntimer.deinit()\nprint(poller.wakes)"
        assert output(with_asyncio(vm), source) == ["5"]


# -- from a hard handler --------------------------------------------------------------------------


@pytest.mark.holds("events.hard-safe")
def test_a_hard_handler_notifies_without_an_allocation() -> None:
    with made("stm32f405") as vm:
        source = "from machine import Pin\nout = Pin('A0', Pin.OUT, value=0)\n"
        source += "Pin('A1').irq(lambda p: ea.notify_hard(uevent.READ), Pin.IRQ_RISING, hard=True)\n"
        source += "for _ in range(3):\n    out.on(); out.off()\n    print(ready(100))"
        assert output(vm, source) == ["[('a', 1)]"] * 3


FULL_QUEUE = """import micropython
from machine import Pin
out = Pin('A0', Pin.OUT, value=0)
refused = 0
def full(pin):
    global refused
    try:
        while True:
            micropython.schedule(print_nothing, 0)
    except RuntimeError:
        refused += 1
    ea.notify_hard(uevent.READ)
def print_nothing(_): pass
Pin('A1').irq(full, Pin.IRQ_RISING, hard=True)
out.on()
print(ready(100), refused)
"""


@pytest.mark.holds("events.hard-safe")
def test_a_hard_notification_is_not_lost_when_the_queue_is_full() -> None:
    with made("stm32f405") as vm:
        assert output(vm, FULL_QUEUE) == ["[('a', 1)] 1"]


def test_a_full_queue_in_an_inner_poller_wakes_the_outer_one() -> None:
    with made("stm32f405") as vm:
        source = FULL_QUEUE.replace("ea.notify_hard", "e.notify_hard")
        source = "inner = uevent.poll()\ne = inner.register(Thing())\npoller.register(inner).data = 'inner'\n" + source
        source += "print([x.flags for x in inner.poll_ms(0)])"
        assert output(vm, source) == ["[('inner', 1)] 1", "[1]"]


def test_many_hard_notifications_take_one_place_in_the_schedulers_queue() -> None:
    with made("stm32f405") as vm:
        source = """
from machine import Pin
out = Pin('A0', Pin.OUT, value=0)
def often(pin):
    for _ in range(100):
        ea.notify_hard(uevent.READ)
        eb.notify_hard(uevent.EVENT)
    full.append(poller._bell[1])
full = []
for _ in range(9): full.append(0)
full.clear()
Pin('A1').irq(often, Pin.IRQ_RISING, hard=True)
out.on()
print(ready(100), full)
"""
        assert output(vm, source) == ["[('a', 1), ('b', 16)] [0]"]


@pytest.mark.holds("events.no-lost-wake")
def test_no_wake_is_lost_and_none_comes_twice_at_any_point_of_interruption() -> None:
    program = (FIXTURES / "explore" / "uevent_notify.py").read_text()
    result = explore(Rewinder(vm_module(), program, heap_size=57344, files={"/lib/uevent.py": SOURCE}), Limits())
    assert result.safe and result.points > 3000
