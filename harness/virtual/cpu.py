"""The virtual boards' CPU: it executes the WebAssembly module that stands in the flash.

The module carries its port script and a manifest in custom sections, so that everything the board does
after its boot ROM comes from what was flashed; so does the ``machine`` module, the reference VM's. The clock is
the CPU's own: executed instructions times the chip's pace, plus the time spent waiting. It runs as fast as the
host can, so its figures say what the model says, not what silicon does.
"""

from __future__ import annotations

import errno
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from harness.chips import Reset, chip_named
from harness.reference.chip_board import ChipReset
from harness.reference.engine.engine_vm import Vm, VmConfig, without_port_frames
from harness.reference.engine.heap_map import BLOCK
from harness.reference.engine.tree_vm import TreeVm, is_from_tree
from harness.reference.engine.vm_of import built_in_depth, vm_of
from harness.reference.engine.wasm_machine import Crashed, Stopped
from harness.reference.engine.wasm_module import custom_sections
from harness.reference.guest_rom import Service, guest_rom
from harness.reference.interrupts import Interrupts
from harness.reference.machine_services import Services
from harness.reference.vm import port_config
from harness.virtual.application import AppContext, Application, Ended, Exit
from harness.virtual.board_repl import CTRL_C, Repl, SoftReset
from harness.virtual.defects import DEFECTS, HEALTHY
from harness.virtual.flash_files import FlashFiles
from harness.virtual.keyboard import Keyboard
from harness.virtual.live_board import virtual_parts
from harness.virtual.nor_flash import SECTOR as FLASH_SECTOR

MANIFEST_SECTION = "harness.board"
#: Custom section with the ROMFS image of the firmware's own modules. Its name tells by which numbers they ask for
#: services: firmware that was built for others, or has none, gets the modules that fit this chip.
SYSTEM_ROM_SECTION = f"harness.rom.{zlib.crc32(' '.join(Service.__members__).encode()):08x}"

#: An interrupt load that a clock reading may meet, in microseconds (seeded by the MAC address).
_DISTURBANCE_US = (0, 0, 0, 0, 0, 0, 1, 3)
_ERROR_LIMIT = 64 * 1024
#: How often a busy VM looks at what comes from outside its chip, in instructions.
_HEARTBEAT = 1_000_000
#: Where the real-time clock's zero, the year 2000, stands on the guest's clock, which counts from 1970.
_YEAR_2000_NS = 946_684_800 * 1_000_000_000
ENDS = {
    Reset.MACHINE: Ended.HARD_RESET,
    Reset.DEEP_SLEEP: Ended.DEEP_SLEEP,
    Reset.WATCHDOG: Ended.WATCHDOG,
    Reset.PIN: Ended.RESET_PIN,
    Reset.BROWN_OUT: Ended.BROWN_OUT,
}


@dataclass(frozen=True)
class Manifest:
    """What a virtual firmware says about itself: banner line, raw heap size in bytes, and its seeded defect.

    With CircuitPython the supervisor's allocations share the heap's bytes, and ``language`` is what it speaks.
    ``platform`` is its ``sys.platform``; empty: that of the chip's port.
    """

    banner: str
    heap: int
    defect: str = ""
    platform: str = ""
    language: str = ""

    def to_bytes(self) -> bytes:
        fields = {key: value for key, value in asdict(self).items() if key not in ("platform", "language") or value}
        return json.dumps(fields, sort_keys=True).encode()

    @classmethod
    def of(cls, module: bytes) -> Manifest:
        """Raises ValueError when the module carries no manifest."""
        raw = custom_sections(module).get(MANIFEST_SECTION)
        if raw is None:
            raise ValueError("the module carries no board manifest")
        fields = json.loads(raw)
        return cls(
            str(fields["banner"]),
            int(fields["heap"]),
            str(fields.get("defect", "")),
            str(fields.get("platform", "")),
            str(fields.get("language", "")),
        )


def create(context: AppContext) -> Application:
    """The application factory for :mod:`harness.virtual.esp_chip`."""
    return WasmApplication(context)


class WasmApplication:
    """MicroPython running from flash. Also the VM's port: console, clock, filesystem."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._console = context.console
        self.board = context.board
        chip = chip_named(context.chip).promised()
        self._chip = replace(chip, unique_id=context.uid) if context.uid else chip
        self._manifest = Manifest.of(context.payload)
        if self._manifest.platform and chip.manners is not None:
            self._chip = replace(self._chip, manners=replace(chip.manners, platform=self._manifest.platform))
        self._defect = DEFECTS.get(self._manifest.defect, HEALTHY)
        rom = custom_sections(context.payload).get(SYSTEM_ROM_SECTION)
        self._system_rom = rom or guest_rom(chip, built_in_depth(context.payload, chip.queue_depth))
        #: Of a seeded defect: what outlives the chip's resets, what this boot knows, what a soft reset does instead.
        self.noinit = context.noinit
        self.marks: set[str] = set()
        self.at_soft_reset: Callable[[], None] | None = None
        self._random = random.Random(context.mac)
        self.vm: Vm | TreeVm
        self.interrupts: Interrupts
        self.services: Services
        self._running_program = False
        self._keyboard = Keyboard()
        #: A VM from a source tree says itself when it sets the interrupt character.
        self._tells_interrupt_char = is_from_tree(context.payload)
        self._start_files: list[str] = []  # those that have not been opened yet
        self._start_file = ""  # the one that is being read: it does not run yet
        self._stopped = False
        self._error = bytearray()
        self._typed = bytearray()  # read from the console, not yet taken
        self._booted_ns = self.board.clock.now_ns
        self._file_size = chip.manners.open_file - BLOCK if chip.manners is not None else 0
        self.files = self._open_files(*context.partitions["vfs"])
        self._repl = Repl(_Line(self), self._banner().encode())
        self._begin()

    # What another VM's port does in its own way.

    def _open_files(self, offset: int, size: int) -> FlashFiles:
        manners = self._chip.manners
        files = FlashFiles(
            self._context.flash,
            offset,
            size,
            self._opened,
            self._read,
            first=manners.first_files if manners is not None else (),
        )
        if files.fresh and manners is not None:
            self._console.write(manners.first_words)
        return files

    def _banner(self) -> str:
        return f'{self._manifest.banner}\r\nType "help()" for more information.\r\n'

    def _begin(self) -> None:
        self._make_vm()

    # -- Application -----------------------------------------------------------------------------

    def run(self) -> Exit:
        try:
            return self._run()
        finally:
            self.files.cut_off()
            self.vm.machine.close()

    def _run(self) -> Exit:
        while True:
            try:
                if not self._stopped:  # stop() may have come before there was a VM to stop
                    self.vm.run()
            except SoftReset:
                pass
            except Stopped:
                return Exit(Ended.STOPPED)
            except ChipReset as reset:
                return Exit(ENDS[reset.cause])
            except Crashed as crash:
                return Exit(Ended.CRASH, str(crash))
            finally:
                self._keyboard.listen(None)
                self.services.end()
                self.board.vm_ended()
            if self._stopped:
                return Exit(Ended.STOPPED)
            if self._running_program:  # SystemExit: the program is over, then the VM restarts
                self._finish_program()
            self._console.write(self._chip.soft_reset_text)
            self._repl.restart()
            self.board.restart(Reset.SOFT)
            self._make_vm()

    def _make_vm(self) -> None:
        """A new life; what is left of the one before is given back."""
        config = self._config()
        if hasattr(self, "vm"):
            self.vm.machine.close()
        self.vm = vm_of(self._context.payload, self, config, self._host_call, alarm=self._alarm)
        tree = isinstance(self.vm, TreeVm)
        self.board.vm_starts(self.vm.machine)
        self.board.check = self._check_stop
        self.interrupts = Interrupts(self.vm, None if tree else self._chip.queue_depth, self.board.note)
        self.services = Services(self.board, self._chip, self.vm, self.interrupts)
        self._beat = _HEARTBEAT  # the cost at which to look outside next
        self._defect.wire(self)
        self._arm()

    def stop(self) -> None:
        self._stopped = True
        self.board.ring()
        self.vm.machine.stop()

    def received(self, data: bytes) -> bytes:
        kept = self._keyboard.received(data)
        if len(kept) < len(data):
            self.vm.machine.at_next_point(self._raise_interrupt)
            self.board.ring()
        return kept

    def _raise_interrupt(self) -> None:
        if self._keyboard.take():
            self.vm.raise_interrupt()

    # As in upstream's parse_compile_execute() (shared/runtime/pyexec.c) Ctrl-C interrupts a start file while that runs.
    # While the VM restarts, and while a file is read and compiled, it is input.

    def _opened(self, path: str) -> None:
        """A file is opened; is it the next start file, then the one before has ended. Raises OSError (EINTR) when that
        was interrupted: the VM looks at what is pending then, and no other start file is run."""
        if path in self._start_files:
            self._keyboard.listen(None)
            self._raise_interrupt()
            if self.vm.interrupt_pending:
                self._start_files.clear()
                raise InterruptedError(errno.EINTR, "Ctrl-C")
            self._start_files.remove(path)
            self._start_file = path
        if self._file_size:
            self.vm.charge_open_file(self._file_size)

    def _read(self, path: str) -> None:
        """A file has been read to its end, or closed."""
        if path == self._start_file:
            self._start_file = ""
            self._keyboard.listen(CTRL_C)

    def _config(self) -> VmConfig:
        files = ["boot.py"] if self._has("/boot.py") else []
        if not self._repl.raw and self._has("/main.py"):
            files.append("main.py")
        self._running_program = bool(files)
        self._keyboard.listen(None)
        self._start_files = [] if self._tells_interrupt_char else [f"/{name}" for name in files]
        self._start_file = ""
        offset, size = self._context.partitions.get("romfs", (0, 0))
        romfs = self._context.flash.read(offset, size)
        # All of the region is mapped; what is no image is not mounted.
        config = VmConfig(
            heap_size=self._manifest.heap - self._defect.no_heap(self),
            romfs=self._defect.rom(romfs),
            system_rom=self._system_rom,
            start_files=tuple(files),
        )
        machine = self._manifest.banner.partition("; ")[2] or self._manifest.banner
        return port_config(config, self._chip, machine=machine, rom_ioctl=bool(size))

    def _has(self, path: str) -> bool:
        try:
            return not self.files.stat(path).is_dir
        except OSError:
            return False

    def _host_call(self, name: str, argument: str) -> str:
        if name == "board":
            return self.services.attach(argument)
        if name == "rom":
            return str(self._rom_region(*argument.split()))
        if name == "count":  # a counter in RAM that no reset clears; a seeded defect uses it
            count = int.from_bytes(self._context.noinit.get(argument, b"\0"), "little") + 1
            self._context.noinit[argument] = count.to_bytes(4, "little")
            return str(count - 1)
        if name == "kbd_intr":
            self._keyboard.listen(int(argument) if 0 <= int(argument) < 256 else None)
            self._raise_interrupt()
        return ""

    def _rom_region(self, what: str, *words: str) -> int:
        """What the guest's ``vfs.rom_ioctl`` does to the flash; the mapping shows it at once. 0, or an error's number.

        Erasing takes whole sectors, as the STM32's flash has them; they must lie in the region.
        """
        start, size = self._context.partitions["romfs"]
        numbers = [int(word) for word in words]
        sector = self._rom_sector
        if what in ("offset", "sector"):
            return start if what == "offset" else sector
        offset, length = numbers[:2]
        if what == "erase":
            length = -(-length // sector) * sector
        if offset < 0 or length < 0 or offset + length > size or (what == "erase" and offset % sector):
            return -errno.EINVAL
        if what == "erase":
            self._context.flash.erase(start + offset, length)
        else:
            self._context.flash.program(start + offset, self.vm.machine.memory.read(numbers[2], length))
        self.vm.machine.memory.write(self.vm.romfs_address + offset, self._context.flash.read(start + offset, length))
        return 0

    @property
    def _rom_sector(self) -> int:
        """What one erasing clears: 4 KB on an ESP's flash, the largest page on an STM32 (``flash.c``)."""
        view = virtual_parts(self._context.chip).stm32
        return FLASH_SECTOR if view is None else max(view.pages)

    # -- what happens while the VM executes ------------------------------------------------------

    def _alarm(self) -> None:
        """At an interruptible point: something may be due, or come from outside."""
        self.interrupts.serve()
        if self.board.clock.cost >= self._beat:
            self._beat = self.board.clock.cost + _HEARTBEAT
            self.board.attend()
        self.board.timeline.run_due(self.board.clock.now_ns)
        self._arm()

    def _arm(self) -> None:
        machine, clock = self.vm.machine, self.board.clock
        if self.interrupts.busy:
            machine.step()
            return
        due = self.board.timeline.next_due
        machine.set_alarm(self._beat if due is None else min(self._beat, clock.cost_at(due)))

    # -- Port ------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        self._console.write(data.replace(b"\n", b"\r\n"))

    def write_raw(self, data: bytes) -> None:
        self._console.write(data)

    def write_error(self, data: bytes) -> None:
        if len(self._error) < _ERROR_LIMIT:
            self._error += data.replace(b"\n", b"\r\n")

    def read(self, size: int) -> bytes:
        if not self._typed:
            self._wait(None, lambda: self._has_input() or self._served())
            self._take(size)
        if not self._typed:
            raise InterruptedError(errno.EINTR, "something is scheduled")
        data = bytes(self._typed[:size])
        del self._typed[:size]
        return data

    def poll_input(self, timeout_ns: int | None) -> bool:
        until = None if timeout_ns is None else self.board.clock.now_ns + timeout_ns
        self._wait(until, lambda: self._has_input() or self._served())
        return self._has_input()

    def _has_input(self) -> bool:
        return bool(self._typed) or self._console.waiting() > 0

    def sleep_ns(self, duration: int) -> None:
        until, by_callback = self.services.end_of_wait(duration)
        self._wait(until, self._served if by_callback else self._woken)

    def wait_ns(self, duration: int | None, events: bool) -> None:
        """A VM from a source tree waits; ``events``: no longer than until there is something to serve."""
        until = None if duration is None else self.board.clock.now_ns + duration
        self._wait(until, self._served if events else self._woken)

    def _wait(self, until_ns: int | None, stop: Callable[[], bool]) -> None:
        if not stop():
            self.board.pass_time(until_ns, stop)
        self._arm()

    def _woken(self) -> bool:
        """Ctrl-C ends any wait."""
        return self._keyboard.wanted or self.vm.interrupt_pending

    def _served(self) -> bool:
        return self._keyboard.wanted or self.interrupts.callbacks_waiting

    def _check_stop(self) -> None:
        if self._stopped:
            raise Stopped

    def _take(self, size: int) -> None:
        """What has been received so far."""
        self._typed += self._console.read(size, 0)

    def getc(self) -> int:
        """The next character for the REPL."""
        while not self._typed:
            self._wait(None, lambda: self._has_input() or self._to_serve_at_the_prompt)
            self._take(256)
            if not self._typed and self._to_serve_at_the_prompt:
                raise InterruptedError(errno.EINTR, "something is scheduled")
        return self._typed.pop(0)

    @property
    def _to_serve_at_the_prompt(self) -> bool:
        return self._repl.idle and self.interrupts.callbacks_waiting

    def next_program(self) -> bytes:
        if self._running_program:
            self._finish_program()
        source = self._next_source()
        self._running_program = True
        if not self._tells_interrupt_char:
            self._keyboard.listen(CTRL_C)
        self._arm()
        return source

    def _next_source(self) -> bytes:
        while True:
            try:
                return self._repl.next_program()
            except SoftReset:
                if self.at_soft_reset is None:
                    raise
                self.at_soft_reset()
                self._console.write(self._chip.soft_reset_text)
                self._repl.restart()

    def _finish_program(self) -> None:
        self._running_program = False
        self._keyboard.listen(None)
        self._keyboard.take()
        self.vm.withdraw_interrupt()
        error, self._error = bytes(self._error), bytearray()
        self._repl.finished(without_port_frames(error))

    def clock_ns(self) -> int:
        clock = self.board.clock
        if self.services.ring():
            self._arm()
        else:
            clock.pass_for(1000 * self._random.choice(_DISTURBANCE_US))
        return clock.now_ns - self._booted_ns

    def real_time_ns(self) -> int:
        return _YEAR_2000_NS + self.board.rtc_ns


class _Line:
    """The REPL's terminal: the console as it is, without newline translation."""

    def __init__(self, app: WasmApplication) -> None:
        self._app = app
        self.send = app._console.write

    def getc(self) -> int:
        return self._app.getc()
