"""Where a VM build keeps its scheduler queue and its pending exception, found by experiment.

A module without symbols does not say where ``mp_state_ctx`` is. One short guest program gives it away:
a callback scheduled with a known argument stands in the queue, and at module level ``locals`` and
``globals`` are the same dict, so its address stands twice in a row in the thread state
(MicroPython ``py/mpstate.h``, ``mp_state_vm_t`` and ``mp_state_thread_t``). The result is checked
and kept beside the compiled module.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import struct
from dataclasses import asdict, dataclass

from harness.reference.engine.guest_files import Files, MemoryFiles
from harness.reference.engine.guest_memory import Writable
from harness.reference.engine.vm_cache import keep, kept
from harness.reference.engine.wasm_machine import Machine, Stopped
from harness.reference.engine.wasm_module import compiled, without_custom_sections

#: From the first queue entry to the signed 16-bit state, then a byte length, then a byte index.
_STATE_OFFSET = 60
#: From ``dict_locals`` to ``mp_pending_exception`` in the thread state, in bytes.
_PENDING_OFFSET = 16
_IDLE, _PENDING = 1, 0
_ENTRY = 8
_MARKER = 0x1357_9BD

_PROGRAM = f"""
import micropython, host
def callback(argument): pass
micropython.schedule(callback, {_MARKER})
host.call("layout", "%d %d" % (id(callback), id(globals())))
"""


class LayoutUnknown(Exception):
    """The build's scheduler or thread state could not be found; interruption is not possible."""


@dataclass(frozen=True)
class Layout:
    """Guest addresses: the scheduler's queue, its state, length and first index, the thread's pending exception and
    where its globals stand. ``depth`` is the queue's capacity in entries; 0: there is no scheduler."""

    queue: int
    state: int
    length: int
    index: int
    pending_exception: int
    namespace: int
    depth: int = 4

    def schedule(self, memory: Writable, function: int, argument: int, *, at: int | None = None) -> bool:
        """Queue ``function(argument)`` (guest objects) as ``mp_sched_schedule`` in ``py/scheduler.c`` does.

        False when the queue is full. ``at`` puts it before the entry of that number instead of at the end.
        The caller sees to it that the guest keeps the function referenced until it has run.
        """
        state, length, index = self.queue_state(memory)
        if length >= self.depth:
            return False
        place = length if at is None else at
        for n in range(length, place, -1):
            memory.write(self._entry(index + n), memory.read(self._entry(index + n - 1), _ENTRY))
        memory.write(self._entry(index + place), struct.pack("<II", function, argument))
        self._set_state(memory, _PENDING if state == _IDLE else state)
        memory.write(self.length, bytes((length + 1,)))
        return True

    def leading(self, memory: Writable, function: int) -> int:
        """How many entries at the head of the queue call ``function``."""
        _, length, index = self.queue_state(memory)
        count = 0
        while count < length and memory.read_u32(self._entry(index + count)) == function:
            count += 1
        return count

    def _entry(self, number: int) -> int:
        return self.queue + _ENTRY * (number % self.depth)

    def queue_state(self, memory: Writable) -> tuple[int, int, int]:
        """State (1 idle, 0 pending, negative: locked that many times), length and first index of the queue."""
        if not self.depth:
            return _IDLE, 0, 0
        (state,) = struct.unpack("<h", memory.read(self.state, 2))
        return state, memory.read(self.length, 1)[0], memory.read(self.index, 1)[0]

    def _set_state(self, memory: Writable, state: int) -> None:
        if self.depth:
            memory.write(self.state, struct.pack("<h", state))

    def raise_exception(self, memory: Writable, instance: int) -> None:
        """Make the VM raise the exception object at ``instance`` at its next check, as Ctrl-C does.

        The traceback it may carry from an earlier raise is cleared first
        (``mp_sched_keyboard_interrupt`` in ``py/scheduler.c`` does the same).
        """
        memory.write(instance + 4, bytes(8))
        memory.write_u32(self.pending_exception, instance)
        if self.queue_state(memory)[0] == _IDLE:
            self._set_state(memory, _PENDING)

    def lock(self, memory: Writable) -> None:
        """Keep callbacks from running, as ``mp_sched_lock`` does; nests."""
        state = self.queue_state(memory)[0]
        self._set_state(memory, state - 1 if state < 0 else -1)

    def unlock(self, memory: Writable) -> None:
        """Take back one :meth:`lock`, as ``mp_sched_unlock`` does. No effect when the scheduler is not locked."""
        state, length, _ = self.queue_state(memory)
        if state < 0:
            free = _PENDING if length or self.exception_pending(memory) else _IDLE
            self._set_state(memory, state + 1 if state < -1 else free)

    def main_globals(self, memory: Writable) -> int:
        """Address of the running code's globals; at a program's start these are ``__main__``'s."""
        return memory.read_u32(self.namespace)

    def exception_pending(self, memory: Writable) -> bool:
        """Whether an exception waits to be raised."""
        return memory.read_u32(self.pending_exception) != 0

    def withdraw_exception(self, memory: Writable) -> None:
        """Take back an exception that has not been raised yet."""
        memory.write_u32(self.pending_exception, 0)


class _Probe:
    """The port of the probing run: its only service is ``host.call("layout", ...)``."""

    def __init__(self) -> None:
        self.files: Files = MemoryFiles()
        self.machine: Machine
        self.found: Layout | None = None

    def write(self, data: bytes) -> None: ...

    def write_raw(self, data: bytes) -> None: ...

    def write_error(self, data: bytes) -> None: ...

    def read(self, size: int) -> bytes:
        return b""

    def poll_input(self, timeout_ns: int | None) -> bool:
        return False

    def next_program(self) -> bytes:
        raise Stopped

    def clock_ns(self) -> int:
        return 0

    def sleep_ns(self, duration: int) -> None: ...

    def call(self, name: str, argument: str) -> str:
        function, namespace = map(int, argument.split())
        memory = self.machine.memory
        static = memory.read(0, function)  # static data lies below the heap, so below any heap object
        entry = struct.pack("<II", function, _MARKER << 1 | 1)
        queues = [
            at
            for at in _occurrences(static, entry)
            if struct.unpack_from("<hBB", static, at + _STATE_OFFSET)[:2] == (_PENDING, 1)
        ]
        threads = _occurrences(static, struct.pack("<II", namespace, namespace))
        if len(queues) == 1 and len(threads) == 1:
            queue, thread = queues[0], threads[0]
            state = queue + _STATE_OFFSET
            self.found = Layout(queue, state, state + 2, state + 3, thread + _PENDING_OFFSET, thread + 4)
        return ""


def _occurrences(data: bytes, needle: bytes) -> list[int]:
    places, at = [], data.find(needle)
    while at >= 0:
        if at % 4 == 0 and at + _STATE_OFFSET + 4 <= len(data):
            places.append(at)
        at = data.find(needle, at + 1)
    return places


@functools.lru_cache(maxsize=4)
def layout_of(module: bytes) -> Layout:
    """The layout of ``module``, from the cache or by one short run of it. Raises LayoutUnknown."""
    digest = hashlib.sha256(without_custom_sections(module)).hexdigest()
    name = f"{digest[:32]}.layout2.json"
    with contextlib.suppress(ValueError, TypeError):
        return Layout(**json.loads(kept(name) or b""))
    probe = _Probe()
    argv = ["micropython", "-X", "heapsize=65536", "-c", _PROGRAM]
    probe.machine = Machine(compiled(module), probe, argv=argv, call=probe.call, fuel=50_000_000)
    try:
        probe.machine.run()
    finally:
        probe.machine.close()
    if probe.found is None:
        raise LayoutUnknown("the VM build's scheduler state was not found where upstream keeps it")
    keep(name, json.dumps(asdict(probe.found)).encode())
    return probe.found
