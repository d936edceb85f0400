"""Interrupts of the reference VM: MicroPython's scheduler rules (py/scheduler.c, shared/runtime/mpirq.c)."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from harness.chips import CHIPS
from harness.errors import UsageError
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


@pytest.fixture
def stm32() -> Iterator[ReferenceVm]:
    with ReferenceVm(chip="stm32f405") as vm:
        vm.wire("A0", "A1")
        vm.run(
            "import machine, micropython, time\nfrom machine import Pin, Timer\n"
            "out = Pin('A0', Pin.OUT, value=0)\npin = Pin('A1')\ngot = []"
        )
        yield vm


PULSE = "out.on()\nout.off()\n"
CHECKS = "for i in range(20): pass\n"


# -- the queue ------------------------------------------------------------------------------------


@pytest.mark.holds("events.queue")
@pytest.mark.parametrize("name", PORTS)
def test_schedule_takes_as_many_as_the_port_has_room_for(name: str) -> None:
    depth = PORTS[name].queue_depth
    calls = "".join(f"    f(cb, {n})\n" for n in range(depth))
    with ReferenceVm(chip=name) as vm:
        output = lines(
            vm,
            "import micropython\ngot = []\ndef cb(n): got.append(n)\ndef fill(f):\n"
            f"{calls}    try: f(cb, 99)\n    except RuntimeError as e: print(e)\n"
            f"fill(micropython.schedule)\n{CHECKS}print(got)",
        )
    assert output == ["schedule queue full", str(list(range(depth)))]


@pytest.mark.holds("events.queue")
@pytest.mark.parametrize("name", PORTS)
def test_a_soft_interrupt_that_finds_the_queue_full_is_lost_without_a_word(name: str) -> None:
    depth = PORTS[name].queue_depth
    a, b = ("'A0'", "'A1'") if name.startswith("stm32") else ("4", "5")
    with ReferenceVm(chip=name) as vm:
        vm.wire(a.strip("'"), b.strip("'"))
        output = lines(
            vm,
            f"from machine import Pin\nout, pin = Pin({a}, Pin.OUT, value=0), Pin({b})\nn = 0\n"
            "def count(p):\n    global n\n    n += 1\n"
            "pin.irq(count, Pin.IRQ_RISING)\n" + PULSE * (depth + 3) + CHECKS + "print(n)",
        )
        assert output == [str(depth)]
        assert vm.lost_interrupts == 3
        assert len(vm.trace.matching("callback lost")) == 3


@pytest.mark.holds("events.order", "events.soft")
def test_callbacks_run_in_order_and_one_at_each_check(esp32: ReferenceVm) -> None:
    output = lines(
        esp32,
        "import micropython\ngot = []\ndef cb(n): got.append((n, i))\ni = -1\n"
        "def fill(f):\n    f(cb, 'a')\n    f(cb, 'b')\n    f(cb, 'c')\n    f(cb, 'd')\n    f(cb, 'e')\n    f(cb, 'f')\n"
        "fill(micropython.schedule)\nfor i in range(9): pass\nprint(got)",
    )
    # A for loop over a range has one jump, and so one check, in each round and one on entry.
    rounds = eval(output[0])
    assert [name for name, _ in rounds] == list("abcdef")
    assert all(0 <= later[1] - sooner[1] <= 1 for sooner, later in pairwise(rounds))
    assert rounds[-1][1] >= 3


def test_what_waits_beyond_the_builds_own_queue_is_kept_alive(esp32: ReferenceVm) -> None:
    output = lines(
        esp32,
        "import micropython, gc\ngot = []\ndef cb(x): got.append(x[0])\n"
        "def fill(f):\n"
        + "".join(f"    f(cb, ['object {n}' + chr(65 + {n})])\n" for n in range(8))
        + "    gc.collect()\nfill(micropython.schedule)\n"
        "junk = [bytes(40) for _ in range(50)]\n" + CHECKS + "print(got)",
    )
    assert output == [str([f"object {n}{chr(65 + n)}" for n in range(8)])]


@pytest.mark.holds("events.soft-in-soft")
def test_no_callback_runs_inside_another(esp32: ReferenceVm) -> None:
    output = lines(
        esp32,
        "import micropython\ngot = []\n"
        "def outer(f):\n    f(inner, 0)\n    for i in range(50): pass\n    got.append('outer')\n"
        "def inner(_): got.append('inner')\n"
        f"micropython.schedule(outer, micropython.schedule)\n{CHECKS}print(got)",
    )
    assert output == ["['outer', 'inner']"]


def test_an_exception_in_a_callback_is_printed_and_swallowed(esp32: ReferenceVm) -> None:
    result = esp32.run(f"import micropython\nmicropython.schedule(lambda x: 1 // x, 0)\n{CHECKS}print('on')")
    assert b"ZeroDivisionError" in result.stdout + result.stderr
    assert result.stdout.endswith(b"on\r\n")


# -- pins and timers ------------------------------------------------------------------------------


@pytest.mark.parametrize(("trigger", "expected"), [("RISING", "[1, 1]"), ("FALLING", "[0, 0]")])
def test_a_pin_fires_at_its_edges(stm32: ReferenceVm, trigger: str, expected: str) -> None:
    step = f"out.on()\n{CHECKS}out.off()\n{CHECKS}"
    source = f"def f(p): got.append(level)\npin.irq(f, Pin.IRQ_{trigger})\n"
    source += f"level = 1\nout.on()\n{CHECKS}level = 0\nout.off()\n{CHECKS}" * 2
    assert lines(stm32, source + "print(got)") == [expected]
    assert lines(stm32, f"got.clear()\npin.irq(None)\n{step}print(got)") == ["[]"]


def test_the_handler_gets_the_pin_or_the_timer(stm32: ReferenceVm) -> None:
    source = (
        f"pin.irq(lambda p: got.append(p is pin), Pin.IRQ_RISING)\n{PULSE}{CHECKS}"
        "t = Timer(-1)\nt.init(mode=Timer.ONE_SHOT, period=1, callback=lambda x: got.append(x is t))\n"
        "time.sleep_ms(3)\nprint(got)"
    )
    assert lines(stm32, source) == ["[True, True]"]


def test_the_host_drives_a_pin_at_its_moment(esp32: ReferenceVm) -> None:
    esp32.drive(12, 1, after_us=400_000)
    esp32.drive(12, 0, after_us=700_000)
    esp32.run(
        "from machine import Pin\nimport time\np = Pin(12)\np.irq(lambda p: None, Pin.IRQ_RISING | Pin.IRQ_FALLING)\n"
        "while not p.value(): pass\ntime.sleep(1)"
    )
    start = esp32.trace.matching("program")[0].time_ns
    up, down = (event.time_ns - start for event in esp32.trace.matching("interrupt: callback queued"))
    assert 400_000_000 <= up < 400_010_000  # at the first interruptible point from its moment on
    assert down == 700_000_000  # a wait ends exactly there


def test_a_periodic_timer_does_not_drift(esp32: ReferenceVm) -> None:
    esp32.run(
        "from machine import Timer\nimport time\n"
        "t = Timer(2, period=10, callback=lambda t: None)\nend = time.ticks_ms() + 205\n"
        "while time.ticks_ms() < end: pass\nt.deinit()"
    )
    at = [event.time_ns for event in esp32.trace.matching("timer")]
    assert len(at) == 20
    assert all(abs((later - at[0]) - 10_000_000 * n) < 10_000 for n, later in enumerate(at))


def test_disabled_interrupts_come_when_they_are_enabled(stm32: ReferenceVm) -> None:
    source = (
        f"pin.irq(lambda p: got.append(1), Pin.IRQ_RISING)\nstate = machine.disable_irq()\n{PULSE}{CHECKS}"
        f"print(got)\nmachine.enable_irq(state)\n{CHECKS}print(got)"
    )
    assert lines(stm32, source) == ["[]", "[1]"]


@pytest.mark.parametrize(
    ("name", "call", "error"),
    [
        ("esp32", "Pin(4).irq(print, hard=True)", b"TypeError"),
        ("esp8266", "Pin(4).irq(print, hard=True)", b"ValueError: hard IRQ not supported"),
        ("esp8266", "Pin(16).irq(print)", b"OSError: pin does not have IRQ capabilities"),
        ("esp32", "Pin(40)", b"ValueError: invalid pin"),
        ("esp32", "Timer(0, callback=print, period=9, hard=True)", b"ValueError: hard Timers are not implemented"),
        ("stm32l476", "Timer(1)", b"ValueError: Timer doesn't exist"),
    ],
)
def test_what_a_port_refuses(name: str, call: str, error: bytes) -> None:
    with ReferenceVm(chip=name) as vm:
        assert error in vm.run(f"from machine import Pin, Timer\n{call}").stderr


# -- the hard level -------------------------------------------------------------------------------


@pytest.mark.holds("events.schedule")
def test_a_hard_handler_sets_flags_and_schedules(stm32: ReferenceVm) -> None:
    source = (
        "flags = bytearray(2)\n"
        "def soft(n): got.append((n, bytes(flags)))\n"
        "def hard(p):\n    flags[0] += 1\n    flags[1] = p.value()\n    micropython.schedule(soft, flags[0])\n"
        f"pin.irq(hard, Pin.IRQ_RISING, hard=True)\nout.on()\n{CHECKS}print(got)"
    )
    assert lines(stm32, source) == [r"[(1, b'\x01\x01')]"]


def test_a_hard_handler_runs_before_what_was_scheduled_and_is_never_lost(stm32: ReferenceVm) -> None:
    schedule = "".join(f"    f(soft, {n})\n" for n in range(8))
    source = (
        "order = bytearray(16)\nn = 0\n"
        "def note(c):\n    global n\n    order[n] = c\n    n += 1\n"
        "def soft(k): note(48 + k)\n"
        "def hard(p): note(72)\n"
        "pin.irq(hard, Pin.IRQ_RISING, hard=True)\n"
        f"def fill(f):\n{schedule}    out.on()\n    out.off()\n    out.on()\n"
        f"fill(micropython.schedule)\n{CHECKS}print(bytes(order[:n]))"
    )
    [order] = lines(stm32, source)
    # The full queue takes the hard ones as soon as an entry of the build's own queue is free.
    assert sorted(eval(order).decode()) == sorted("01234567HH")
    assert eval(order).decode().index("H") <= 2
    assert eval(order).decode().replace("H", "") == "01234567"


@pytest.mark.holds("events.hard")
def test_a_hard_handler_may_not_allocate_and_is_disabled_when_it_does(stm32: ReferenceVm) -> None:
    source = (
        "calls = bytearray(1)\ndef bad(p):\n    calls[0] += 1\n    return [p]\n"
        f"pin.irq(bad, Pin.IRQ_RISING, hard=True)\n{PULSE}{CHECKS}{PULSE}{CHECKS}print(calls[0])"
    )
    output = lines(stm32, source)
    assert output[0] == "uncaught exception in ExtInt interrupt handler line 1"
    assert "MemoryError: memory allocation failed, heap is locked" in output
    assert output[-1] == "1"
    assert not any("<board>" in line for line in output)


# -- chosen moments -------------------------------------------------------------------------------


LOOP = "got = []\ndef isr(n): got.append((n, i))\nfor i in range(3000): pass\nprint(got)"


def test_the_same_moment_gives_the_same_result(esp32: ReferenceVm) -> None:
    seen = set()
    for _ in range(2):
        for moment in ({"cost": 2_500_000}, {"point": 60_000}):
            esp32.power_cycle()
            esp32.interrupt_at("isr", 7, **moment)
            seen.add((str(moment), *lines(esp32, LOOP)))
    assert len(seen) == 2
    assert all(output.startswith("[(7, ") for _, output in seen)


def test_a_later_cost_strikes_later(esp32: ReferenceVm) -> None:
    rounds = []
    for cost in (2_000_000, 2_500_000, 3_000_000):
        esp32.interrupt_at("isr", cost=cost)
        rounds.append(eval(lines(esp32, LOOP)[0])[0][1])
    assert rounds == sorted(set(rounds))


def test_a_function_that_is_not_there_yet_is_noted(esp32: ReferenceVm) -> None:
    esp32.interrupt_at("isr", cost=0)
    assert lines(esp32, LOOP) == ["[]"]
    assert len(esp32.trace.matching("isr(0): not defined yet")) == 1


def test_a_strike_beyond_the_programs_end_is_told_and_the_last_point_strikes(esp32: ReferenceVm) -> None:
    points: list[int] = []
    esp32.interrupt_at("isr", point=10**9)  # its name is known from here on: what follows has the same points
    lines(esp32, LOOP)
    esp32.soft_reset()
    esp32.at_every_point(points.append)
    esp32.interrupt_at("isr", point=10**9)
    lines(esp32, LOOP)
    esp32.at_every_point(None)
    assert len(esp32.trace.matching("isr(0): the program had ended before")) == 2
    for point, queued in ((points[-1], 1), (points[-1] + 1, 0)):
        esp32.soft_reset()
        esp32.trace.clear()
        esp32.interrupt_at("isr", point=point)
        lines(esp32, LOOP)
        assert len(esp32.trace.matching("isr(0): callback queued")) == queued
        assert len(esp32.trace.matching("had ended before")) == 1 - queued


def test_an_interrupt_needs_one_moment_and_a_name(esp32: ReferenceVm) -> None:
    for moment in ({}, {"cost": 1, "point": 1}, {"cost": -1}):
        with pytest.raises(UsageError):
            esp32.interrupt_at("isr", **moment)
    with pytest.raises(UsageError, match="not the name of a function"):
        esp32.interrupt_at("print('x')", cost=1)


def test_control_c_at_a_chosen_moment_and_in_a_sleep(esp32: ReferenceVm) -> None:
    source = "import time\ni = 0\ntry:\n    while True: i += 1\nexcept KeyboardInterrupt: print(i)"
    outputs = []
    for _ in range(2):
        esp32.power_cycle()
        esp32.control_c_at(cost=2_000_000)
        outputs.append(lines(esp32, source))
    assert outputs[0] == outputs[1]
    esp32.control_c_at(cost=2_000_000)
    assert b"KeyboardInterrupt" in esp32.run("while True: time.sleep(3600)").stderr


def test_no_callback_is_lost_or_doubled_wherever_it_strikes() -> None:
    """The queue is written at any point of the VM's code, also while the VM itself works on the queue."""
    program = "for i in range(3): schedule(own, i)\nfor i in range(5): pass"
    points: list[int] = []
    with ReferenceVm() as vm:
        vm.run(
            "import micropython\ngot = []\ndef own(n): got.append(n)\ndef isr(n): got.append(n)\n"
            "schedule = micropython.schedule"
        )
        vm.run(program)  # the first run also takes in the names
        vm.at_every_point(points.append)
        vm.run(program)
        vm.at_every_point(None)
        assert points == list(range(len(points)))
        struck = 0
        for point in range(0, len(points), 11):
            vm.run("got.clear()")
            vm.trace.clear()
            vm.interrupt_at("isr", 99, point=point)
            vm.run(program)
            [output] = lines(vm, f"{CHECKS}print(got)")
            got = eval(output)
            struck += bool(vm.trace.matching("isr(99): callback queued"))
            assert got.count(99) == len(vm.trace.matching("isr(99): callback queued")), point
            assert [n for n in got if n != 99] == [0, 1, 2], point
        assert struck > 0.99 * len(points) / 11


def test_a_strike_on_a_full_queue_is_lost(esp32: ReferenceVm) -> None:
    fill = "import micropython\ngot = []\ndef isr(n): got.append(n)\ndef fill(f):\n"
    fill += "".join(f"    f(isr, {n})\n" for n in range(8)) + "    sum(range(20000))\n"
    esp32.run(fill)
    esp32.interrupt_at("isr", 99, cost=4_000_000)
    assert lines(esp32, f"fill(micropython.schedule)\n{CHECKS}print(got)") == [str(list(range(8)))]
    assert len(esp32.trace.matching("isr(99): callback lost")) == 1


def test_machine_calls_allocate_nothing(stm32: ReferenceVm) -> None:
    source = (
        "import gc\ngc.collect()\na = gc.mem_alloc()\nout.on()\nout.value(0)\npin.value()\npin()\nmachine.idle()\n"
        "machine.enable_irq(machine.disable_irq())\ntime.sleep_ms(3)\nmicropython.schedule(got.append, 1)\n"
        "print(gc.mem_alloc() - a)"
    )
    [allocated] = lines(stm32, source)
    assert int(allocated) <= 16  # the bound method got.append
