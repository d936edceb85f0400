"""The host reference VM as a :class:`harness.runtimes.interface.Runtime`.

Deterministic: the clock is the metered cost plus the sleeps asked for, so two runs of one program give
the same figures to the last digit, on any host. A sleep takes no time and is as long as it says.
"""

from __future__ import annotations

import copy
import errno
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.chips import Port, Reset, chip_named
from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.reference.chip_board import Board, ChipReset
from harness.reference.engine.counted_build import counted
from harness.reference.engine.engine_vm import VmConfig
from harness.reference.engine.guest_files import Files, MemoryFiles, Mode
from harness.reference.engine.guest_objects import Identity
from harness.reference.engine.heap_map import HeapMap
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.tree_vm import Moment, is_from_tree
from harness.reference.engine.vm_of import built_in_depth
from harness.reference.guest_rom import guest_rom, port_modules
from harness.reference.interrupts import Strike
from harness.reference.life import Life
from harness.reference.pins import PinName, Pins
from harness.reference.trace import Trace
from harness.runtimes.ask_names import read_facts
from harness.runtimes.interface import Facts, Intervention, Restart, RunResult

#: Default raw heap in bytes: what MicroPython's ESP32 port starts with.
DEFAULT_HEAP = 57344


def port_config(config: VmConfig, port: Port, *, machine: str, files_at: str = "", rom_ioctl: bool = False) -> VmConfig:
    """``config`` with the manners of ``port``; ``machine`` is what the firmware calls its board."""
    manners = port.manners
    if manners is None:
        return config
    base, path = manners.files_at, manners.path
    if files_at and files_at != base:
        path = tuple(entry.replace(base, files_at, 1) if base != "/" else entry for entry in path)
    return replace(
        config,
        files_at=files_at or base,
        path=path,
        modules=port_modules(port),
        identity=Identity(manners.platform, machine, manners.build, manners.mpy, manners.thread, manners.release),
        rom_ioctl=rom_ioctl,
    )


def configured(config: VmConfig, module: bytes, port: Port | None, files_at: str = "") -> VmConfig:
    """What ``module`` is started with. A build from a source tree has its firmware's own ``sys.path`` and a queue of
    its firmware's own depth."""
    own_tree = is_from_tree(module)
    if port is None:
        return replace(config, path=()) if own_tree else config
    rom = guest_rom(port, built_in_depth(module, port.queue_depth))
    machine = f"reference VM with {port.name.upper()}"
    return port_config(replace(config, system_rom=rom), port, machine=machine, files_at=files_at)


class ReferenceVm:
    """One reference VM. ``progress`` hears about the one-time preparation.

    ``heap_size`` is the raw heap in bytes, tables included; ``romfs`` an image that is mapped at ``/rom``;
    ``boot`` the content of a ``boot.py`` that runs at each start. With ``chip`` (a name of
    :mod:`harness.chips`) it has that chip's ``machine`` module as MicroPython's ``version`` has it: pins, timers,
    sleep, reset causes, RTC; without one, or with one whose port nobody knows, it is the bare language VM. ``module``
    is a WASI build to use instead of the prepared one. The files are where the port has them (``/flash`` on STM32), or
    at ``files_at``; without a chip at ``/``. Raises UsageError for a chip that there is not.
    """

    def __init__(
        self,
        *,
        heap_size: int = DEFAULT_HEAP,
        romfs: bytes = b"",
        boot: bytes | None = None,
        chip: str | None = None,
        version: str = "",
        module: bytes | None = None,
        files_at: str = "",
        progress: Callable[[str], None] = lambda _message: None,
    ) -> None:
        self.files: Files = MemoryFiles()
        #: What the VM was built from, for reports; and whether that is the firmware's own source tree.
        self.build = ""
        self.own_tree = False
        self._module = vm_module(progress) if module is None else module
        port = chip_named(chip).port_at(version) if chip else None
        start_files = ("boot.py",) if boot is not None else ()
        given = VmConfig(heap_size=heap_size, romfs=romfs, start_files=start_files)
        self._configured: Callable[[bytes], VmConfig] = lambda module: configured(given, module, port, files_at)
        self._config = self._configured(self._module)
        if boot is not None:
            self.put("boot.py", boot)
        self._facts: Facts | None = None
        self._board = Board(port)
        self._strikes: list[Strike] = []
        self._hook: Callable[[int], None] | None = None
        self._weights: tuple[float, ...] = ()
        self._board.restart(Reset.POWER_ON)
        self._life = self._start()

    def _start(self, start_files: tuple[str, ...] | None = None) -> Life:
        config = self._config if start_files is None else replace(self._config, start_files=start_files)
        life = Life(self._module, config, self.files, self._board, weights=self._weights)
        life.at_every_point = self._hook
        if start_files is None:
            life.result(10.0)
        return life

    @property
    def from_tree(self) -> bool:
        """Whether it is built from a source tree: then hard handlers preempt."""
        return is_from_tree(self._module)

    def counted(self, weights: Sequence[float] = ()) -> ReferenceVm:
        """The same VM again, just started, in a build that counts its work by kind, with the same files.

        Its clock goes on by the sum of its work by these ``weights``, without any as this one's. Its pins are not
        wired. Raises UsageError for a module that cannot be made to count.
        """
        twin = copy.copy(self)
        try:
            # What the kinds of work cost was found with the prepared build: it counts for builds from a tree, too.
            prepared = vm_module() if self.from_tree else self._module
            twin._module = counted(prepared)
            twin._config = replace(self._configured(prepared), romfs=self._config.romfs)
        except ValueError as problem:
            raise UsageError(
                f"this build of the VM cannot be made to count its work: {problem}", hint="unset HARNESS_VM"
            ) from None
        twin._board = Board(self._board.chip)
        twin._strikes, twin._hook, twin._weights = [], None, tuple(weights)
        twin._board.restart(Reset.POWER_ON)
        twin._life = twin._start()
        return twin

    @property
    def readings(self) -> tuple[tuple[int, ...], ...]:
        """Of a counted VM: its work since its start by each time that programs looked at its clock."""
        return tuple(self._life.readings)

    # -- Runtime ---------------------------------------------------------------------------------

    @property
    def facts(self) -> Facts:
        if self._facts is None:
            self._facts = read_facts(lambda source: self.run(source))
        return self._facts

    @property
    def cost(self) -> int:
        """Instructions executed since the last reset."""
        return self._life.vm.machine.cost

    def heap_map(self) -> HeapMap:
        """Used and free blocks of the heap after the last program, from the collector's own tables."""
        return self._life.vm.heap_map()

    def run(self, source: str, *, timeout: float = 30.0, interrupt_at: bytes = b"") -> RunResult:
        """Execute a program; see :class:`harness.runtimes.interface.Runtime`.

        A program may end in a reset or in deep sleep: see :attr:`ended_by` then. The next call first lets the
        sleep pass and starts the VM again, without ``main.py``.
        """
        if self._life.ended:
            self._after_end()
            self._life = self._start()
        strikes, self._strikes = self._strikes, []
        self._board.note("program")
        try:
            result = self._life.execute(source.encode(), timeout, strikes, interrupt_at)
        finally:
            self._note_end()
        return result

    def run_to_reset(self, source: str, *, within: float = 30.0, intervention: Intervention | None = None) -> Restart:
        """See :class:`harness.runtimes.interface.Runtime`; the times are virtual ones."""
        result = self.run(source)
        if self.ended_by is None:
            last = result.stderr.decode("utf-8", "replace").strip()[-300:]
            raise FirmwareFailure(f"the program did not reset the chip: {last or 'it ended'}")
        printed = self._life.last_output_ns
        if intervention is not None:
            self._board.timeline.at(printed + round(intervention.after * 1e9), lambda: self._intervene(intervention))
        try:
            self._after_end()
        except ChipReset as reset:
            self._board.restart(reset.cause)
        if intervention is not None and intervention.what == "pin":
            self._board.drive(intervention.pin, None)
        silent = self.time_us / 1e6 - printed / 1e9
        self._life = self._start()
        if silent > within:
            raise FirmwareFailure(f"the chip did not start again within {within:g} s")
        return Restart(result.stdout, silent)

    def restart_by(self, source: str) -> None:
        self.run(source)
        if not self._life.ended:
            raise FirmwareFailure("the VM did not restart: the program ended")
        self._after_end()
        self._life = self._start()

    def _intervene(self, intervention: Intervention) -> None:
        if intervention.what == "pin":
            self._board.drive(intervention.pin, intervention.level)
        elif self._board.asleep:
            raise ChipReset(Reset.PIN if intervention.what == "reset" else Reset.POWER_ON)

    def boot(self, *, timeout: float = 30.0) -> RunResult:
        """Start as the chip does by itself: what ``boot.py`` and ``main.py`` print until they have ended.

        After a program that ended in deep sleep or in a reset this is the start that follows, at the moment of
        the wake; otherwise it is a soft reset.
        """
        if not self._life.ended:
            self._life.end()
        self._after_end()
        self._life = self._start(tuple(name for name in ("boot.py", "main.py") if self._has("/" + name)))
        try:
            return self._life.result(timeout)
        finally:
            self._note_end()

    def _after_end(self) -> None:
        if self._board.asleep:
            self._board.sleep_through()
        else:
            self._board.restart(self._life.ended_by)

    def _note_end(self) -> None:
        if self.ended_by is Reset.DEEP_SLEEP:
            self._board.fall_asleep()
        else:
            self._board.note("program ended" if self.ended_by is None else f"ended by {self.ended_by.value}")

    @property
    def ended_by(self) -> Reset | None:
        """The reset with which the last program ended the VM; None: the VM goes on."""
        return self._life.ended_by if self._life.ended else None

    def _has(self, path: str) -> bool:
        try:
            return not self.files.stat(path).is_dir
        except OSError:
            return False

    @property
    def files_at(self) -> str:
        """Where the filesystem is mounted, and the working directory at the start."""
        return self._config.files_at

    def put(self, path: str, data: bytes) -> None:
        """Raises BenchFault where it cannot be written."""
        try:
            self.files.open(self._inside(path), Mode(write=True, create=True, truncate=True)).write(data)
        except OSError as problem:
            raise BenchFault(f"{path} cannot be written for the reference VM: {problem.strerror}") from None

    def get(self, path: str) -> bytes:
        try:
            return self.files.open(self._inside(path), Mode()).read(1 << 30)
        except OSError as problem:
            raise BenchFault(f"the reference VM has no file {path!r}: {problem.strerror}") from None

    def remove(self, path: str) -> None:
        """Raises BenchFault when it is not there."""
        try:
            self.files.remove(self._inside(path))
        except OSError as problem:
            raise BenchFault(f"{path} cannot be removed for the reference VM: {problem.strerror}") from None

    def _inside(self, path: str) -> str:
        """A path of the guest, relative to the working directory or absolute, as one within the filesystem."""
        base = self._config.files_at.rstrip("/")
        if not path.startswith("/"):
            return "/" + path
        if path != base and not path.startswith(base + "/"):
            raise OSError(errno.ENODEV, f"nothing is mounted where {path} would be; the files are at {base}")
        return path[len(base) :] or "/"

    def soft_reset(self) -> None:
        self._reset(Reset.SOFT)

    def hard_reset(self) -> None:
        """A pulse at the reset input."""
        self._reset(Reset.PIN)

    def power_cycle(self) -> None:
        """Power off and on: RTC memory and the real-time clock are lost."""
        self._reset(Reset.POWER_ON)

    def _reset(self, cause: Reset) -> None:
        self._life.end()
        self._board.restart(cause)
        self._life = self._start()

    # -- the world around the chip ---------------------------------------------------------------

    @property
    def time_us(self) -> float:
        """Virtual microseconds since the first power-on."""
        return self._board.clock.now_ns / 1000

    @property
    def waited_us(self) -> float:
        """How many virtual microseconds since its last start the VM has waited: the rest it executed."""
        return self._board.clock.waited_ns / 1000

    @property
    def asleep(self) -> bool:
        """The chip is in deep sleep; the next :meth:`run` or :meth:`boot` lets it pass."""
        return self._board.asleep

    @property
    def trace(self) -> Trace:
        """What happened so far."""
        return self._board.trace

    @property
    def lost_interrupts(self) -> int:
        """How many soft interrupts found the queue full since the last reset."""
        return self._life.interrupts.lost

    def wire(self, a: PinName, b: PinName) -> None:
        """Connect two pins of the chip, or one with ``"RST"``. Raises UsageError for a pin that it has not."""
        self._pins.wire(a, b)

    def wire_uart(self, number: int) -> None:
        """Connect a UART's TX with its own RX, where the program gives it no pins."""
        self._board.uart_loops.add(number)

    def unwire(self, a: PinName, b: PinName) -> None:
        self._pins.unwire(a, b)

    def drive(self, pin: PinName, level: int | None, *, after_us: float = 0) -> None:
        """Hold a pin at a level from outside (None: let it go), ``after_us`` virtual microseconds from now.

        Between programs time stands still, so ``after_us`` counts from the start of the next program, or from
        the beginning of a deep sleep.
        """
        self._pins.pin(pin)
        if after_us > 0:
            at = self._board.clock.now_ns + round(after_us * 1000)
            self._board.timeline.at(at, lambda: self._board.drive(pin, level))
            return
        try:
            self._board.drive(pin, level)
        except ChipReset:
            self.hard_reset()

    def level(self, pin: PinName) -> int:
        """The level on a pin now."""
        return self._pins.pin(pin).level

    @property
    def _pins(self) -> Pins:
        if self._board.pins is None:
            raise UsageError("this reference VM has no pins", hint='ReferenceVm(chip="esp32") has')
        return self._board.pins

    def interrupt_at(self, call: str, argument: int = 0, *, cost: int | None = None, point: int | None = None) -> None:
        """Schedule the next program's global function ``call`` when a moment of that program has come.

        ``cost`` counts executed instructions and ``point`` interruptible points (function entries and loop
        headers of the VM's own code) from the program's start. The VM runs the function at its next check, as
        after any soft interrupt. A name that is not defined by then is noted in the trace. Raises UsageError
        unless exactly one of the two is given.
        """
        if not call.isidentifier():
            raise UsageError(f"{call!r} is not the name of a function")
        self._strikes.append(Strike(cost, point, call, argument))

    def strike_at(self, moment: Moment, number: int, call: str, argument: int = 0, *, hard: bool = False) -> None:
        """The same at the ``moment`` of that ``number`` of the next program, counted from 0; with ``hard`` the function
        is called there and then, with heap and scheduler locked.

        Raises UsageError for a build that is not from a source tree: it has no such moments.
        """
        if not call.isidentifier():
            raise UsageError(f"{call!r} is not the name of a function")
        if not self.from_tree:
            raise UsageError(
                "this build of the VM has no hard level and no such moments",
                hint="build the reference from the firmware's source tree: docs/own-tree-reference.md",
            )
        self._strikes.append(Strike(None, None, call, argument, moment, number, hard))

    def control_c_at(self, *, cost: int | None = None, point: int | None = None) -> None:
        """Ctrl-C at a chosen moment of the next program; see :meth:`interrupt_at`."""
        self._strikes.append(Strike(cost, point, None))

    def at_every_point(self, hook: Callable[[int], None] | None) -> None:
        """Call ``hook`` with the point's number at every interruptible point of the programs to come.

        It runs on the VM's thread while the VM stands still. None: no more. Every point costs some microseconds.
        """
        self._hook = hook
        self._life.at_every_point = hook

    def map_romfs(self, image: bytes) -> None:
        """Put ``image`` in the flash region that is mapped at ``/rom``, and reset."""
        self._config = replace(self._config, romfs=image)
        self.soft_reset()

    @property
    def mounts_romfs(self) -> bool:
        """Whether this build of the VM has mounted the image in its flash: not every tree's has ROMFS."""
        return not self.run("import os\nos.stat('/rom')").stderr

    def close(self) -> None:
        self._life.end()

    def __enter__(self) -> ReferenceVm:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
