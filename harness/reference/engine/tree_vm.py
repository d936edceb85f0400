"""A VM that was built from a source tree with the harness's own port (``harness/reference/own_tree``).

It runs no script of ours inside the guest: console, clock, waits, programs and the start are functions that it
imports, and it says itself where its scheduler, its collector and its counters are. docs/own-tree-reference.md has
the interface.
"""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from harness.reference.engine.engine_vm import VmConfig
from harness.reference.engine.guest_memory import GuestFault
from harness.reference.engine.heap_map import HeapMap, read_heap
from harness.reference.engine.memory_layout import Layout
from harness.reference.engine.wasi import Port
from harness.reference.engine.wasm_machine import Machine
from harness.reference.engine.wasm_module import compiled, one_custom_section

#: Custom section of such a build: what it was made of, as JSON.
TREE_SECTION = "harness.tree"
_NEVER = 0
_COUNTS = struct.Struct("<5I")


class Moment(IntEnum):
    """The kinds of moments at which the guest can be struck; the order is that of the port's ``mpconfigport.h``."""

    BYTECODE = 0
    C_CODE = 1
    POLL = 2
    COLLECTION = 3
    WAIT = 4


class Level(IntEnum):
    """How a handler is called: with the heap locked, without, or not at all: ``function`` is an exception, to be raised
    there; this between two bytecodes only. The port's ``hal.c`` has the same numbers."""

    HARD = 0
    SOFT = 1
    RAISE = 2


@dataclass(frozen=True)
class HardCall:
    """A handler to be called now: guest objects. ``ended`` hears of its exception, or 0. Any ``level`` but the hard one
    needs a build whose port has version 2."""

    function: int
    argument: int
    ended: Callable[[int], None]
    level: Level = Level.HARD


def tree_section(module: bytes) -> dict[str, object] | None:
    """What a build of ours says of itself; None for any other module. Raises ValueError when it is damaged."""
    raw = one_custom_section(module, TREE_SECTION)
    if raw is None:
        return None
    said = json.loads(raw)
    if not isinstance(said, dict):
        raise ValueError(f"section {TREE_SECTION} holds no table")
    return said


def is_from_tree(module: bytes) -> bool:
    """Whether ``module`` is a build of ours from a source tree."""
    return one_custom_section(module, TREE_SECTION) is not None


class TreeVm:
    """One life of such a VM: the same to its users as :class:`harness.reference.engine.engine_vm.Vm`.

    Besides, :meth:`strike_hard` calls a handler at the next moment, wherever that is, and :meth:`moments` counts.
    ``on_moment`` is called when a moment comes that :meth:`stop_at` asked for.
    """

    def __init__(
        self,
        module: bytes,
        port: Port,
        config: VmConfig,
        call: Callable[[str, str], str] = lambda _name, _argument: "",
        *,
        alarm: Callable[[], None] | None = None,
        weights: Sequence[float] = (),
    ) -> None:
        self._port = port
        self._config = config
        self._call = call
        self._program = b""
        self._words: tuple[int, ...] = ()
        self._found: Layout | None = None
        self._interrupt_char = -1
        self._hard: deque[HardCall] = deque()
        self._running: list[HardCall] = []
        self._pair = 0
        self._wanted: list[int | None] = [None] * len(Moment)
        self._armed = [_NEVER] * len(Moment)
        self._passed = [0] * len(Moment)
        #: A handler has ended by an exception, and the port prints that now.
        self.tells_exception = False
        self.on_moment: Callable[[Moment], None] = lambda _moment: None
        self.romfs_address = 0
        self.machine = Machine(
            compiled(module),
            port,
            argv=["reference", "-X", f"heapsize={config.heap_size}"],
            call=lambda _name, _argument: "",
            fuel=config.fuel,
            alarm=alarm,
            weights=weights,
            imports={
                "call": self._host_call,
                "program": self._next_program,
                "program_text": lambda to: self.machine.memory.write(to, self._program),
                "out": lambda at, size: port.write_raw(self.machine.memory.read(at, size)),
                "error_out": lambda at, size: port.write_error(self.machine.memory.read(at, size)),
                "input": self._input,
                "input_within": lambda ns: int(port.poll_input(None if ns < 0 else ns)),
                "clock": port.clock_ns,
                "real_time": lambda: int(getattr(port, "real_time_ns", port.clock_ns)()),
                "wait": self._wait,
                "moment": self._moment,
                "handler_ended": self._handler_ended,
                "interrupt_char": self._set_interrupt_char,
                "layout": self._take_layout,
                "random": lambda: 4,
            },
        )

    def run(self) -> int:
        """Run until the VM ends; see :meth:`Machine.run` for what it raises."""
        return self.machine.run()

    # -- what the guest asks for -----------------------------------------------------------------

    def _host_call(self, name: int, name_size: int, text: int, size: int, reply: int, cap: int) -> int:
        memory = self.machine.memory
        asked = memory.read(name, name_size).decode("utf-8", "replace")
        answer = self._answer(asked, memory.read(text, size).decode("utf-8", "replace")).encode()
        if len(answer) > cap:
            return -1
        memory.write(reply, answer)
        return len(answer)

    def _answer(self, name: str, argument: str) -> str:
        config = self._config
        if name == "begin":
            self.romfs_address = self._map(config.romfs)
            rom = self._map(config.system_rom)
            place = config.files_at or "-"
            return f"{place} {self.romfs_address} {len(config.romfs)} {rom} {len(config.system_rom)}"
        if name == "path":
            return " ".join(entry for entry in config.path if entry)
        if name == "modules":
            return " ".join(config.modules)
        if name == "start_files":
            return " ".join(config.start_files)
        if name == "region":
            size = len(config.romfs) if config.rom_ioctl else 0
            return f"{self.romfs_address if size else 0} {size}"
        if name == "identity":
            # The build has its own names; only the content of `machine` is the chip's.
            words = [int(word) for word in argument.split()]
            built_in, own = words[3:5]
            self.machine.memory.write_u32(built_in + 4, self.machine.memory.read_u32(own + 4))
            return ""
        return self._call(name, argument)

    def _map(self, image: bytes) -> int:
        if not image:
            return 0
        address = self.machine.memory.grow(len(image))
        self.machine.memory.write(address, image)
        return address

    def _next_program(self) -> int:
        self._program = self._port.next_program()
        return len(self._program)

    def _input(self) -> int:
        if not self._port.poll_input(0):
            return -1
        data = self._port.read(1)
        return data[0] if data else -1

    def _wait(self, ns: int, events: int) -> None:
        wait = getattr(self._port, "wait_ns", None)
        if wait is not None:
            wait(None if ns < 0 else ns, bool(events))
        elif ns > 0:
            self._port.sleep_ns(ns)

    def _set_interrupt_char(self, char: int) -> None:
        self._call("kbd_intr", str(char))
        self._interrupt_char = char

    def _take_layout(self, at: int, count: int) -> None:
        self._words = struct.unpack(f"<{count}I", self.machine.memory.read(at, 4 * count))
        queue, depth, state, length, index, pending, namespace = self._words[:7]
        self._found = Layout(queue, state, length, index, pending, namespace, depth)
        self._pair = self.machine.memory.grow(12)

    # -- the same as of any VM -------------------------------------------------------------------

    @property
    def layout(self) -> Layout:
        """Where the build keeps its scheduler's queue; known once it has started."""
        if self._found is None:
            raise GuestFault("the VM has not started yet")
        return self._found

    @property
    def _interrupt_object(self) -> int:
        return self._words[7] if self._words else 0

    def interrupt(self) -> None:
        """Ctrl-C. From any thread."""
        self.machine.at_next_point(self.raise_interrupt)

    def raise_interrupt(self) -> None:
        """The same on the VM's own thread. No effect while the VM has another interrupt character, or none."""
        if self._interrupt_object and self._interrupt_char == 3:
            self.layout.raise_exception(self.machine.memory, self._interrupt_object)

    @property
    def interrupt_pending(self) -> bool:
        return self.layout.exception_pending(self.machine.memory)

    def withdraw_interrupt(self) -> None:
        """Forget a Ctrl-C that came too late for the program it was meant for."""
        self.machine.cancel_point()
        if self._found is not None and not self.machine.closed:
            self._found.withdraw_exception(self.machine.memory)

    def heap_map(self) -> HeapMap:
        """The collector's tables as they are now."""
        return read_heap(self.machine.memory, self._words[8], block=self._words[10])

    def charge_open_file(self, size: int) -> None:
        """Nothing: an open file of a build from the tree costs what it costs there."""

    def replace_functions(self, words: list[int]) -> None:
        """Nothing: the port's own functions do what those of another build have to be replaced for."""

    def say(self, text: bytes) -> None:
        """Print what the port itself has to say."""
        self._port.write_raw(text)

    # -- moments ---------------------------------------------------------------------------------

    def moments(self, kind: Moment) -> int:
        """How many moments of that kind there were since :meth:`count_from_here`."""
        left = self.machine.memory.read_u32(self._words[9] + 4 * kind)
        return self._passed[kind] + (self._armed[kind] - left & 0xFFFF_FFFF)

    def all_moments(self) -> list[int]:
        """The same of each kind."""
        left = _COUNTS.unpack(self.machine.memory.read(self._words[9], _COUNTS.size))
        return [p + (a - n & 0xFFFF_FFFF) for p, a, n in zip(self._passed, self._armed, left, strict=True)]

    def count_from_here(self) -> None:
        """Start counting the moments from 0, and stop at none."""
        self._wanted = [None] * len(Moment)
        self._hard.clear()
        self._passed = [0] * len(Moment)
        self._set([_NEVER] * len(Moment))

    def stop_at(self, kind: Moment, number: int | None) -> None:
        """Call ``on_moment`` at the moment of that number, counted from 0, or at the next one when that is past;
        None: at none."""
        self._wanted[kind] = number
        self._arm()

    def stop_only_at(self, kind: Moment | None, number: int = 0) -> None:
        """The same, and at no other; None: at none at all."""
        self._wanted = [number if each is kind else None for each in Moment]
        self._arm()

    def _arm(self) -> None:
        self._passed = self.all_moments()
        self._set(
            [
                1 if self._hard else _NEVER if wanted is None else max(1, wanted + 1 - passed)
                for wanted, passed in zip(self._wanted, self._passed, strict=True)
            ]
        )

    def strike_hard(self, call: HardCall) -> None:
        """Call a handler at the very next moment, of whatever kind it is."""
        self._hard.append(call)
        self._arm()

    def _set(self, counts: list[int]) -> None:
        self._armed = counts
        self.machine.memory.write(self._words[9], _COUNTS.pack(*counts))

    def _moment(self, kind: int) -> int:
        moment, wanted = Moment(kind), self._wanted[kind]
        self.tells_exception = False
        if wanted is not None and self.moments(moment) > wanted:
            self._wanted[kind] = None
            self.on_moment(moment)
        call = self._hard.popleft() if self._hard else None
        self._arm()
        if call is None:
            return 0
        if call.level is not Level.RAISE:
            self._running.append(call)
        self.machine.memory.write(self._pair, struct.pack("<III", call.function, call.argument, call.level))
        return self._pair

    def _handler_ended(self, exception: int) -> None:
        self.tells_exception = bool(exception)
        self._running.pop().ended(exception)
