"""One life of the reference VM, from start to reset, on a thread of its own; also the VM's port."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from harness.chips import Reset
from harness.errors import FirmwareFailure
from harness.reference.chip_board import Board, ChipReset
from harness.reference.engine.engine_vm import VmConfig, without_port_frames
from harness.reference.engine.guest_files import Files
from harness.reference.engine.tree_vm import Moment, TreeVm
from harness.reference.engine.vm_of import vm_of
from harness.reference.engine.wasm_machine import HostOutOfMemory, OutOfFuel, Stopped
from harness.reference.interrupts import Interrupts, Strike
from harness.reference.machine_services import Services
from harness.reference.timeline import Metered
from harness.runtimes.interface import RunResult

#: A program that prints more than this is cut off and reported, in bytes.
OUTPUT_LIMIT = 4 * 1024 * 1024
#: Seconds within which a VM that was interrupted, or told to stop, must have done so.
_GRACE = 2.0
#: Where the real-time clock's zero, the year 2000, stands on the guest's clock, which counts from 1970.
_YEAR_2000_NS = 946_684_800 * 1_000_000_000


class Flooded(Exception):
    """The program printed more than the limit."""


class Life:
    """Starts at once, runs ``config``'s start files, then one program after another.

    ``ended_by`` is the reset that ended it, once ``ended``. ``weights`` are for a counted build (see :class:`Machine`).
    """

    #: Whether its maker still reads the memory of a life that has ended, and closes its machine itself.
    memory_outlives_it = False

    def __init__(
        self, module: bytes, config: VmConfig, files: Files, board: Board, *, weights: Sequence[float] = ()
    ) -> None:
        self.files = files
        self.ended = False
        self.ended_by = Reset.SOFT
        #: When the program last printed something, in virtual nanoseconds since power-on.
        self.last_output_ns = 0
        #: Called at every interruptible point of a program with the point's number.
        self.at_every_point: Callable[[int], None] | None = None
        self._board = board
        self._out = bytearray()
        self._err = bytearray()
        self._program: bytes | None = None
        self._turn = threading.Condition()
        self._idle = False
        self._closing = False
        self._failure: Exception | None = None
        self._strikes: list[Strike] = []
        self._interrupt_at = b""
        self._names: dict[str, int] = {}
        self._globals = 0
        self._program_cost = 0
        self._yields_before = 0
        #: Of a counted build: the work that was done by each time that the guest looked at its clock.
        self.readings: list[tuple[int, ...]] = []
        self.vm = vm_of(module, self, config, self._host_call, alarm=self._alarm, weights=weights)
        self._tree = self.vm if isinstance(self.vm, TreeVm) else None
        if self._tree is not None:
            self._tree.on_moment = self._moment
        board.clock.start(self._meter())
        board.check = self._check
        chip = board.chip
        depth = chip.queue_depth if chip and self._tree is None else None
        self.interrupts = Interrupts(self.vm, depth, board.note)
        self._services = Services(board, chip, self.vm, self.interrupts) if chip else None
        self._thread = threading.Thread(target=self._live, name="reference-vm", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as problem:  # no room for its stack
            self.vm.machine.close()
            raise HostOutOfMemory(str(problem)) from None

    def _meter(self) -> Metered:
        """What the board's clock goes on by."""
        return self.vm.machine

    def _live(self) -> None:
        try:
            self.vm.run()
        except Stopped:
            pass
        except ChipReset as reset:
            self.ended_by = reset.cause
        except Exception as failure:  # whatever it was, the program has not ended by itself
            self._failure = failure
        finally:
            if self._services is not None:
                self._services.end()
            if not self.memory_outlives_it:
                self.vm.machine.close()
            with self._turn:
                self.ended = True
                self._turn.notify_all()

    # -- programs --------------------------------------------------------------------------------

    def execute(
        self, source: bytes, timeout: float, strikes: list[Strike] | None = None, interrupt_at: bytes = b""
    ) -> RunResult:
        """Run a program; raises FirmwareFailure when it does not end in time, or ends the VM by a fault.

        Ctrl-C comes as soon as its output contains ``interrupt_at``.
        """
        for name in {strike.call for strike in strikes or () if strike.call is not None} - self._names.keys():
            self._run(f'__import__("host").call("name", "%d {name}" % id("{name}"))'.encode(), timeout)
        self._strikes = list(strikes or ())
        self._interrupt_at = interrupt_at
        try:
            return self._run(source, timeout)
        finally:
            for strike in self._strikes:
                self.interrupts.came_too_late(strike)
            self._strikes, self._interrupt_at = [], b""

    def _run(self, source: bytes, timeout: float) -> RunResult:
        with self._turn:
            self._out.clear()
            self._err.clear()
            self._program = source
            self._idle = False
            self._turn.notify_all()
        return self.result(timeout)

    def result(self, timeout: float) -> RunResult:
        """Wait until what runs now has ended, and say what it printed."""
        started = time.perf_counter()
        if not self._wait_idle(timeout):
            self.vm.interrupt()
            if not self._wait_idle(_GRACE):
                self.end()
            tail = self._out[-200:].decode("utf-8", "replace")
            raise FirmwareFailure(
                f"the program did not end within {timeout:g} s on the reference VM; last output: {tail!r}"
            )
        if isinstance(self._failure, FirmwareFailure | HostOutOfMemory):
            raise self._failure
        if isinstance(self._failure, Flooded):
            raise FirmwareFailure(f"the program printed more than {OUTPUT_LIMIT // 1024} kB")
        if isinstance(self._failure, OutOfFuel):
            raise FirmwareFailure(f"the program used up its instructions: {self._failure}")
        if self._failure is not None:
            raise FirmwareFailure(f"the reference VM crashed: {self._failure}") from self._failure
        return RunResult(bytes(self._out), without_port_frames(self._err), time.perf_counter() - started)

    def _wait_idle(self, timeout: float) -> bool:
        with self._turn:
            return self._turn.wait_for(lambda: self._idle or self.ended, timeout)

    def end(self) -> None:
        with self._turn:
            self._closing = True
            self._turn.notify_all()
        self.vm.machine.stop()
        self._thread.join(_GRACE)

    # -- interrupts ------------------------------------------------------------------------------

    def _host_call(self, name: str, argument: str) -> str:
        if name == "rom":
            return "-22"  # EINVAL: the reference's image is the host's affair
        if name == "board" and self._services is not None:
            return self._services.attach(argument)
        if name == "name":
            address, text = argument.split()
            self._names[text] = int(address)
        return ""

    def _alarm(self) -> None:
        """At an interruptible point: something may be due."""
        self.interrupts.serve()
        self._board.timeline.run_due(self._board.clock.now_ns)
        if self.at_every_point is not None:
            self.at_every_point(self._point)
        for strike in [strike for strike in self._strikes if self._has_come(strike)]:
            self._strikes.remove(strike)
            self.interrupts.strike(strike, self._names.get(strike.call or "", 0), self._globals)
        self._arm()

    @property
    def _point(self) -> int:
        """The number of the present point in the program; right as long as there is a yield at each."""
        return self.vm.machine.yields - self._yields_before - 1

    def _moment(self, kind: Moment) -> None:
        """A moment of a build from a source tree that a strike asked for."""
        assert self._tree is not None
        number = self._tree.moments(kind) - 1
        for strike in [strike for strike in self._strikes if strike.moment is kind and (strike.number or 0) <= number]:
            self._strikes.remove(strike)
            self.interrupts.strike(strike, self._names.get(strike.call or "", 0), self._globals)
        self._arm()

    def _has_come(self, strike: Strike) -> bool:
        if strike.moment is not None:
            return False
        if strike.point is not None:
            return strike.point <= self._point
        return self._program_cost + (strike.cost or 0) <= self._board.clock.cost

    def _arm(self) -> None:
        """Set the alarm to the next moment at which something must be done."""
        machine, clock = self.vm.machine, self._board.clock
        due = self._board.timeline.next_due
        costs = [self._program_cost + strike.cost for strike in self._strikes if strike.cost is not None]
        points = [strike.point for strike in self._strikes if strike.point is not None]
        if self._tree is not None:
            for kind in Moment:
                numbers = [strike.number or 0 for strike in self._strikes if strike.moment is kind]
                self._tree.stop_at(kind, min(numbers, default=None))
        if self.interrupts.busy or self.at_every_point:
            machine.step()
        elif points:
            machine.step(0 if costs or due is not None else max(0, min(points) - self._point - 1))
        elif costs or due is not None:
            if due is not None:
                costs.append(clock.cost_at(due))
            machine.set_alarm(min(costs))
        else:
            machine.set_alarm(None)

    # -- Port ------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        # A board's terminal layer sends CR LF; so that outputs compare, the reference does too.
        self.write_raw(data.replace(b"\n", b"\r\n"))

    def write_raw(self, data: bytes) -> None:
        if len(self._out) + len(data) > OUTPUT_LIMIT:
            raise Flooded
        self._out += data
        self.last_output_ns = self._board.clock.now_ns
        if self._interrupt_at and self._interrupt_at in self._out:
            self._interrupt_at = b""
            self.interrupts.control_c()

    def write_error(self, data: bytes) -> None:
        if len(self._err) + len(data) <= OUTPUT_LIMIT:
            self._err += data.replace(b"\n", b"\r\n")

    def read(self, size: int) -> bytes:
        return b""  # nobody types at the reference VM: end of file

    def poll_input(self, timeout_ns: int | None) -> bool:
        self._wait(None if timeout_ns is None else self._board.clock.now_ns + timeout_ns, self._served)
        return False

    def next_program(self) -> bytes:
        with self._turn:
            self.vm.withdraw_interrupt()
            self._idle = True
            self._turn.notify_all()
            self._turn.wait_for(lambda: self._program is not None or self._closing)
            if self._closing or self._program is None:
                raise Stopped
            program, self._program = self._program, None
        self._globals = self.vm.layout.main_globals(self.vm.machine.memory)
        if self._tree is not None:
            self._tree.count_from_here()
        self._program_cost, self._yields_before = self._board.clock.cost, self.vm.machine.yields
        self._arm()
        return program

    def clock_ns(self) -> int:
        if work := self.vm.machine.work:
            self.readings.append(work)
        if self._services is not None and self._services.ring():
            self._arm()
        return self._board.clock.since_start_ns

    def real_time_ns(self) -> int:
        return _YEAR_2000_NS + self._board.rtc_ns

    def sleep_ns(self, duration: int) -> None:
        until, by_callback = self._board.clock.now_ns + duration, False
        if self._services is not None:
            until, by_callback = self._services.end_of_wait(duration)
        self._wait(until, self._served if by_callback else lambda: False)

    def wait_ns(self, duration: int | None, events: bool) -> None:
        """A build from a source tree waits; ``events``: no longer than until there is something to serve."""
        until = None if duration is None else self._board.clock.now_ns + duration
        self._wait(until, self._served if events else lambda: False)

    def _wait(self, until_ns: int | None, stop: Callable[[], bool]) -> None:
        if not stop():
            self._board.pass_time(until_ns, stop)
        self._arm()

    def _check(self) -> None:
        if self._closing:
            raise Stopped

    def _served(self) -> bool:
        return self.interrupts.callbacks_waiting
