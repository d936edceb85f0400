"""What the event poller costs for each ready event, in metered instructions, and how much of its time it is idle."""

from __future__ import annotations

from harness.paths import fixtures_dir
from harness.reference.vm import ReferenceVm

_SETUP = """
import gc, uevent
class Thing:
    pass
poller = uevent.poll()
entries = [poller.register(Thing()) for _ in range({n})]
step = max(1, len(entries) // 50)
def deliver(count):
    for k in range(count):
        entries[k * step % len(entries)].notify()
        for entry in poller.poll_ms(-1):
            pass
gc.collect()
gc.disable()
"""
_STREAMS = """
import gc, io, select
class Stream(io.IOBase):
    state = 0
    def ioctl(self, request, argument):
        return self.state & argument if request == 3 else 0
entries = [Stream() for _ in range({n})]
poller = select.poll()
for stream in entries:
    poller.register(stream, 1)
step = max(1, len(entries) // 50)
def deliver(count):
    for k in range(count):
        stream = entries[k * step % len(entries)]
        stream.state = 1
        for found in poller.ipoll(-1):
            found[0].state = 0
gc.collect()
gc.disable()
"""
_IDLE = """
import uevent
from machine import Timer
class Thing:
    pass
poller = uevent.poll()
entry = poller.register(Thing())
Timer(0).init(period={period}, callback=lambda timer: entry.notify())
"""


def _vm() -> ReferenceVm:
    vm = ReferenceVm(chip="esp32", heap_size=12 * 1024 * 1024)
    vm.put("/uevent.py", (fixtures_dir() / "modules" / "uevent.py").read_bytes())
    return vm


def _checked(vm: ReferenceVm, source: str) -> float:
    before = vm.cost
    result = vm.run(source, timeout=120)
    assert not result.stderr, result.stderr
    return vm.cost - before


def _per_event(setup: str, n: int, events: int) -> float:
    with _vm() as vm:
        _checked(vm, setup.format(n=n))
        few, many = _checked(vm, "deliver(5)"), _checked(vm, f"deliver({5 + events})")
        return (many - few) / events


def main() -> dict[str, float]:
    figures: dict[str, float] = {}
    for n in (1, 10, 100, 1000, 10000):
        figures[f"uevent, {n} registered: cost per event"] = _per_event(_SETUP, n, 50)
    for n in (1, 10, 100, 1000):
        figures[f"select.poll, {n} registered: cost per event"] = _per_event(_STREAMS, n, 20)
    for period in (1000, 100, 10):
        with _vm() as vm:
            _checked(vm, _IDLE.format(period=period))
            start, waited = vm.time_us, vm.waited_us
            _checked(vm, "for _ in range(20):\n    for entry in poller.poll_ms(-1): pass")
            figures[f"idle fraction, an event every {period} ms"] = (vm.waited_us - waited) / (vm.time_us - start)
    return figures
