"""Interrupts of the reference VM: callbacks put into the real VM's scheduler queue, at exact moments.

A *soft* interrupt is queued as ``mp_sched_schedule`` does (MicroPython ``py/scheduler.c``): lost without a
word when the queue is full, run first-in first-out, one at each of the VM's checks, none while the scheduler
is locked. A *hard* one stands before all soft ones and is never lost; its handler runs at the VM's next check
with the heap locked, so it may not allocate, and it waits while another callback runs. What is not modelled
is that a real hard interrupt strikes between machine instructions, and inside a running callback.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import UsageError
from harness.reference.engine.engine_vm import Vm
from harness.reference.engine.tree_vm import HardCall, Moment, TreeVm

_WORD = struct.Struct("<I")


@dataclass(frozen=True)
class Strike:
    """One interrupt at a chosen moment of the next program.

    ``cost`` counts instructions, ``point`` interruptible points and ``number`` moments of the kind ``moment`` from the
    program's start; one of them is given. ``call`` is the name of a global function of the program, or None for
    Ctrl-C; ``hard``: it is called there and then, with the heap locked, and not queued.
    """

    cost: int | None
    point: int | None
    call: str | None
    argument: int = 0
    moment: Moment | None = None
    number: int | None = None
    hard: bool = False

    def __post_init__(self) -> None:
        given = [n for n in (self.cost, self.point, self.number) if n is not None]
        if len(given) != 1:
            raise UsageError("an interrupt needs one moment: a cost, a point, or the number of a moment")
        if given[0] < 0:
            raise UsageError("an interrupt cannot strike before the program starts")
        if not -(1 << 30) <= self.argument < 1 << 30:
            raise UsageError(f"the argument {self.argument} is not a small integer of the VM")

    def __str__(self) -> str:
        return "Ctrl-C" if self.call is None else f"{self.call}({self.argument})"


class Interrupts:
    """The scheduler queue of one VM, seen from the port's side.

    ``depth`` is the port's queue depth; None: the build's own. What a build's shorter queue cannot take waits here,
    kept alive by ``slots``, a guest list of two words for each entry; ``dispatcher`` is the guest function that
    runs the hard handlers. Both are guest addresses, and 0 as long as they are not known.
    """

    def __init__(self, vm: Vm | TreeVm, depth: int | None, note: Callable[[str], None]) -> None:
        self._vm = vm
        self._port_depth = depth
        self._note = note
        self._waiting: deque[tuple[int, int]] = deque()
        self._hard: deque[int] = deque()
        self._none = 0
        self._dispatcher = 0
        self._items = 0
        #: Interrupts that were lost because the queue was full.
        self.lost = 0

    @property
    def _depth(self) -> int:
        return self._vm.layout.depth if self._port_depth is None else self._port_depth

    def attach(self, slots: int, dispatcher: int) -> None:
        memory = self._vm.machine.memory
        self._items = memory.read_u32(slots + 12)  # mp_obj_list_t is {type, alloc, len, items}
        self._none = memory.read_u32(self._items)
        self._dispatcher = dispatcher

    @property
    def busy(self) -> bool:
        """Something waits for room in the VM's queue: to be served at each point."""
        return bool(self._waiting or self._hard)

    @property
    def locked(self) -> bool:
        """The scheduler is locked: a callback is running, or the program locked it."""
        return self._vm.layout.queue_state(self._vm.machine.memory)[0] < 0

    @property
    def callbacks_waiting(self) -> bool:
        """Something is to be done at the VM's next check, if the scheduler is not locked then."""
        memory = self._vm.machine.memory
        state, length, _ = self._vm.layout.queue_state(memory)
        return state >= 0 and (length > 0 or self._vm.layout.exception_pending(memory))

    def passed_objects(self) -> tuple[int, int]:
        """The two objects that a guest passed in the last slots."""
        at = self._items + 8 * self._depth
        memory = self._vm.machine.memory
        return memory.read_u32(at), memory.read_u32(at + 4)

    def soft(self, function: int, argument: int, what: str = "") -> bool:
        """Schedule ``function(argument)``; False and no effect when the queue is full."""
        memory = self._vm.machine.memory
        length = self._vm.layout.queue_state(memory)[1]
        accepted = False
        if length + len(self._waiting) < self._depth:
            accepted = not self._waiting and self._vm.layout.schedule(memory, function, argument)
            if not accepted and self._items:
                self._waiting.append((function, argument))
                self._keep()
                accepted = True
        if what:
            self._note(f"{what}: callback queued" if accepted else f"{what}: callback lost, the queue is full")
            self.lost += not accepted
        return accepted

    def hard(self, index: int, call: HardCall, what: str) -> None:
        """Call a handler at the hard level: at once where the build can, else the guest's dispatcher runs handler
        ``index`` before anything soft."""
        self._note(f"{what}: hard handler due")
        if isinstance(self._vm, TreeVm):
            self._vm.strike_hard(call)
            return
        self._hard.append(index)
        self.serve()

    def serve(self) -> None:
        """Move what waits into the VM's queue as far as there is room."""
        memory, layout = self._vm.machine.memory, self._vm.layout
        while self._hard:
            first = layout.leading(memory, self._dispatcher)
            if not layout.schedule(memory, self._dispatcher, self._hard[0] << 1 | 1, at=first):
                break
            self._hard.popleft()
        moved = False
        while self._waiting and not self._hard and layout.schedule(memory, *self._waiting[0]):
            self._waiting.popleft()
            moved = True
        if moved:
            self._keep()

    def control_c(self, what: str = "Ctrl-C") -> None:
        """Make ``KeyboardInterrupt`` pending, as the port does when the character comes in."""
        self._vm.raise_interrupt()
        self._note(f"{what}: KeyboardInterrupt pending")

    def strike(self, strike: Strike, name: int, namespace: int) -> None:
        """Do what ``strike`` says. ``name`` is the guest's object for the name, ``namespace`` its dict."""
        if strike.call is None:
            self.control_c()
            return
        function = self.lookup(namespace, name)
        if function and strike.hard:
            argument = (strike.argument << 1 | 1) & 0xFFFFFFFF
            if not isinstance(self._vm, TreeVm):
                raise UsageError(
                    "this build of the VM has no hard level", hint="build the reference from the firmware's source tree"
                )
            self._vm.strike_hard(HardCall(function, argument, lambda raised: self._note_failure(strike, raised)))
        elif function:
            self.soft(function, (strike.argument << 1 | 1) & 0xFFFFFFFF, str(strike))
        else:
            self._note(f"{strike}: not defined yet")

    def came_too_late(self, strike: Strike) -> None:
        """The program had ended before its moment."""
        self._note(f"{strike}: the program had ended before")

    def _note_failure(self, strike: Strike, raised: int) -> None:
        if raised:
            self._note(f"{strike}: the handler raised")

    def lookup(self, namespace: int, name: int) -> int:
        """The object of that name in a guest dict, or 0 (``mp_obj_dict_t`` in ``py/obj.h``)."""
        memory = self._vm.machine.memory
        size, table = struct.unpack("<II", memory.read(namespace + 8, 8))
        for key, value in struct.iter_unpack("<II", memory.read(table, 8 * min(size, 1 << 16))):
            if key == name:
                return int(value)
        return 0

    def _keep(self) -> None:
        words = [word for entry in self._waiting for word in entry]
        words += [self._none] * (2 * self._depth - len(words))
        self._vm.machine.memory.write(self._items, b"".join(map(_WORD.pack, words)))
