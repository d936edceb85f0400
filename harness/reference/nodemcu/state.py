"""A Lua 5.1 state that is metered, bounded and closed to the host: the interpreter of the virtual NodeMCU.

The interpreter is lupa's build of PUC Lua 5.1, unmodified. Its count hook calls :meth:`LuaState._step`, from which
come the clock, the watchdog, the memory limit and the end of a run. A hook's error can be caught by the program, so
once the chip is to stop the hook raises it again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

from lupa import lua51

from harness.reference.nodemcu.lua_heap import FLOAT, LuaHeap, Sizes

#: Lua instructions between two looks at what happens outside.
STEP = 1000
#: Units of cost of one Lua instruction, and nanoseconds of one unit (the virtual ESP8266's pace). That makes 0.9 µs: a
#: round figure of the order of what 80 MHz do from flash, and no claim about silicon.
INSTRUCTION, PACE_NS = 30, 30
#: A second bound, in bytes of the host, for what a single library call can ask for.
_HOST_LIMIT = 16 * 1024 * 1024
#: What the program can catch, and cannot escape: see the module's text.
STOP = b"\0the chip stops"
NO_MEMORY = b"not enough memory"

Results = tuple[Any, ...]


class LuaFault(Exception):
    """A host function refuses: the text becomes a Lua error where the program called it."""


class Halt(Exception):
    """Raised by a host function or a look outside: Lua ends now, and nothing of it runs again."""


def _closed(_object: object, _name: object, _setting: bool) -> str:
    raise AttributeError("the host is not to be looked into")


class LuaState:
    """``host`` are the functions that the prelude finds in its table; ``outside`` is called every :data:`STEP`
    instructions. Both may raise :class:`Halt`. ``heap`` is the size of the target's heap in bytes.
    """

    def __init__(
        self,
        host: dict[str, Callable[..., Any]],
        outside: Callable[[], None],
        heap: int,
        sizes: Sizes = FLOAT,
    ) -> None:
        self._outside = outside
        self._steps = 0
        self._looked_at = 0  # host bytes at which the next look at the heap is due
        self._final_cost: int | None = 0  # none is counted until the firmware is there
        self.halted = False
        #: An exception of the host's own that came up inside Lua.
        self.problem: BaseException | None = None
        self.size = heap
        self.heap: LuaHeap
        self._entries: dict[str, Any] = {}
        self._runtime = lua51.LuaRuntime(
            encoding=None,
            unpack_returned_tuples=True,
            register_eval=False,
            register_builtins=False,
            attribute_filter=_closed,
            max_memory=_HOST_LIMIT,
        )
        table: dict[bytes, Any] = {name.encode(): self._guarded(function) for name, function in host.items()}
        table |= {b"stop": STOP, b"step": self._step, b"full": self._full, b"over": self._over, b"bind": self._bind}
        table |= {b"used": lambda: self.heap.used(), b"free": lambda: self.free}
        text = files("harness.reference.nodemcu").joinpath("prelude.lua").read_bytes()
        prelude = self._runtime.eval(b"function(text, ...) return assert(loadstring(text, '=prelude'))(...) end")
        self._collect: Any = self._runtime.execute(b"local c = collectgarbage return function() c() c() end")
        thread, empty, *alive = prelude(text, self._runtime.table_from(table), STEP)
        del prelude
        self.heap = LuaHeap(_address(thread), _address(empty), sizes)
        del alive
        self._entries["hooked"]()
        self._collect()
        self.heap.mark_rom()
        self._host_base = self.heap.host_bytes
        self._entries["start"]()
        self._steps, self._final_cost = 0, None

    def _bind(self, name: bytes, function: Any) -> None:
        self._entries[name.decode()] = function

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Results]:
        def call(*arguments: Any) -> Results:
            try:
                if self.halted:
                    return (None,)
                result = function(*arguments)
                return (True, *result) if isinstance(result, tuple) else (True, result)
            except Halt:
                self._halt()
                return (None,)
            except LuaFault as fault:
                return (False, str(fault).encode())
            except (TypeError, ValueError, KeyError, AttributeError, IndexError, OverflowError):
                return (False, b"bad argument")
            except BaseException as problem:
                self.problem = problem
                self._halt()
                return (None,)

        return call

    def _halt(self) -> None:
        if not self.halted:
            self._final_cost = self.cost  # what unwinds from here on is no work of the chip's
            self.halted = True

    # -- the hook --------------------------------------------------------------------------------

    @property
    def cost(self) -> int:
        """Executed instructions in units of :data:`INSTRUCTION`, since the state was made."""
        if self._final_cost is not None:
            return self._final_cost
        return (self._steps * STEP + STEP - self.heap.hook_count) * INSTRUCTION

    def _step(self) -> bytes | int | None:
        self._steps += 1
        if self.halted:
            return STOP
        try:
            self._outside()
        except Halt:
            self._halt()
            return STOP
        except BaseException as problem:
            self.problem = problem
            self._halt()
            return STOP
        return 1 if self._over() else None

    def _over(self) -> bool:
        """Whether the heap is more than full. Host objects are never smaller, so that a look can wait."""
        bytes_now = self.heap.host_bytes
        if bytes_now < self._looked_at or bytes_now - self._host_base < self.size // 2:
            return False
        free = self.free
        self._looked_at = bytes_now + max(free, 256)
        return free < 0

    def _full(self) -> bytes | None:
        """After a collection: the error, when that did not help."""
        self._looked_at = 0
        return NO_MEMORY if self._over() else None

    @property
    def free(self) -> int:
        """Bytes of the target's heap that are left; negative: more was taken than there is."""
        return self.size - self.heap.used()

    # -- calls -----------------------------------------------------------------------------------

    def call(self, name: str, *arguments: Any) -> Results:
        """Call an entry of the prelude. Raises Halt when the chip stops meanwhile, and what the host raised inside."""
        if self.halted:
            raise Halt
        try:
            result = self._entries[name](*arguments)
        except (lua51.LuaError, MemoryError) as error:
            result = (False, str(error).encode())
        if self.problem is not None:
            cause, self.problem = self.problem, None
            raise cause
        if self.halted:
            raise Halt
        return result if isinstance(result, tuple) else (result,)

    def forget(self, reference: int) -> None:
        self._entries["forget"](reference)

    def collect(self) -> None:
        self._collect()


def _address(text: bytes) -> int:
    return int(text.split(b"0x")[1], 16)
