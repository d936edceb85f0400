"""The virtual boards' CPU: it executes the WebAssembly module that stands in the flash.

The module carries its port script and a manifest in custom sections, so that everything the board does
after its boot ROM comes from what was flashed. The clock is the CPU's own: executed instructions times
the chip's pace, plus the time spent waiting. It runs as fast as the host can, so its figures say what
the model says, not what silicon does.
"""

from __future__ import annotations

import json
import random
import threading
import time
from dataclasses import dataclass

from harness.engine.files import Files
from harness.engine.machine import Crashed, Stopped
from harness.engine.module import custom_sections
from harness.engine.vm import Vm, VmConfig, without_port_frames
from harness.virtual.application import AppContext, Application, Ended, Exit
from harness.virtual.flash_files import FlashFiles
from harness.virtual.repl import CTRL_C, Repl, SoftReset

MANIFEST_SECTION = "harness.board"

#: Nanoseconds per executed instruction. Round numbers in the proportion of the two chips' speed
#: (240 MHz with cache against 80 MHz); no claim about silicon.
PACE_NS = {"esp32": 10, "esp8266": 30}
#: An interrupt load that a clock reading may meet, in microseconds (seeded by the MAC address).
_DISTURBANCE_US = (0, 0, 0, 0, 0, 0, 1, 3)
_ERROR_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Manifest:
    """What a virtual firmware says about itself: banner line and raw heap size in bytes."""

    banner: str
    heap: int

    def to_bytes(self) -> bytes:
        return json.dumps({"banner": self.banner, "heap": self.heap}, sort_keys=True).encode()

    @classmethod
    def of(cls, module: bytes) -> Manifest:
        """Raises ValueError when the module carries no manifest."""
        raw = custom_sections(module).get(MANIFEST_SECTION)
        if raw is None:
            raise ValueError("the module carries no board manifest")
        fields = json.loads(raw)
        return cls(banner=str(fields["banner"]), heap=int(fields["heap"]))


def create(context: AppContext) -> Application:
    """The application factory for :mod:`harness.virtual.chip`."""
    return WasmApplication(context)


class WasmApplication:
    """MicroPython running from flash. Also the VM's port: console, clock, filesystem."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._console = context.console
        self._manifest = Manifest.of(context.payload)
        self._pace = PACE_NS[context.chip]
        self._random = random.Random(context.mac)
        self._vm: Vm | None = None
        self._running_program = False
        self._interrupt_wanted = False
        self._interrupt_char: int | None = CTRL_C
        self._swallow = 0  # Ctrl-C bytes that acted as an interrupt and must not be read as input
        self._wake = threading.Condition()
        self._stopped = False
        self._error = bytearray()
        self._typed = bytearray()  # read from the console, not yet taken
        self._waited_ns = 0
        self._cost_before = 0
        offset, size = context.partitions["vfs"]
        self.files: Files = FlashFiles(context.flash, offset, size)
        banner = f'{self._manifest.banner}\r\nType "help()" for more information.\r\n'
        self._repl = Repl(_Line(self), banner.encode())

    # -- Application -----------------------------------------------------------------------------

    def run(self) -> Exit:
        while True:
            self._vm = Vm(self._context.payload, self, self._config(), self._host_call)
            if self._stopped:  # stop() came before there was a VM to stop
                return Exit(Ended.STOPPED)
            try:
                self._vm.run()
            except SoftReset:
                pass
            except Stopped:
                return Exit(Ended.STOPPED)
            except Crashed as crash:
                return Exit(Ended.CRASH, str(crash))
            if self._running_program:  # SystemExit: the program is over, then the VM restarts
                self._finish_program()
            self._cost_before += self._vm.machine.cost
            self._console.write(b"MPY: soft reboot\r\n")
            self._repl.restart()

    def stop(self) -> None:
        with self._wake:
            self._stopped = True
            self._wake.notify_all()
        if self._vm is not None:
            self._vm.machine.stop()

    def received(self, data: bytes) -> None:
        char = self._interrupt_char
        if self._running_program and self._vm is not None and char is not None and char in data:
            self._swallow += data.count(char)
            self._interrupt_wanted = True
            self._vm.machine.at_next_point(self._raise_interrupt)
        with self._wake:
            self._wake.notify_all()

    def _raise_interrupt(self) -> None:
        assert self._vm is not None
        self._interrupt_wanted = False
        self._vm.raise_interrupt()

    def _config(self) -> VmConfig:
        files = ["boot.py"] if self._has("/boot.py") else []
        if not self._repl.raw and self._has("/main.py"):
            files.append("main.py")
        self._running_program = bool(files)
        offset, size = self._context.partitions.get("romfs", (0, 0))
        romfs = self._context.flash.read(offset, size)
        # The region is mapped only when it holds an image: magic of a ROMFS filesystem record.
        image = romfs if romfs[:3] == b"\xd2\xcd\x31" else b""
        return VmConfig(heap_size=self._manifest.heap, romfs=image, start_files=tuple(files))

    def _has(self, path: str) -> bool:
        try:
            return not self.files.stat(path).is_dir
        except OSError:
            return False

    def _host_call(self, name: str, argument: str) -> str:
        if name == "count":  # a counter in RAM that no reset clears; a seeded defect uses it
            count = int.from_bytes(self._context.noinit.get(argument, b"\0"), "little") + 1
            self._context.noinit[argument] = count.to_bytes(4, "little")
            return str(count - 1)
        if name == "kbd_intr":
            self._interrupt_char = int(argument) if 0 <= int(argument) < 256 else None
        return ""

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
            while not (data := self._wait_input(size, None)):
                pass
            self._typed += data
        data = bytes(self._typed[:size])
        del self._typed[:size]
        return data

    def poll_input(self, timeout_ns: int | None) -> bool:
        started = time.monotonic_ns()
        with self._wake:
            ready = self._wake.wait_for(
                lambda: self._has_input() or self._woken(),
                None if timeout_ns is None else timeout_ns / 1e9,
            )
        self._waited_ns += time.monotonic_ns() - started
        self._check_stop()
        return bool(ready and self._has_input())

    def _has_input(self) -> bool:
        return bool(self._typed) or self._console.waiting() > 0

    def sleep_ns(self, duration: int) -> None:
        started = time.monotonic_ns()
        with self._wake:
            self._wake.wait_for(self._woken, duration / 1e9)
        self._waited_ns += time.monotonic_ns() - started
        self._check_stop()

    def _woken(self) -> bool:
        assert self._vm is not None
        return self._stopped or self._interrupt_wanted or self._vm.interrupt_pending

    def _check_stop(self) -> None:
        if self._stopped:
            raise Stopped

    def _wait_input(self, size: int, timeout: float | None) -> bytes:
        started = time.monotonic_ns()
        data = self._console.read(size, timeout)
        self._waited_ns += time.monotonic_ns() - started
        self._check_stop()
        while self._swallow and CTRL_C in data:
            self._swallow -= 1
            data = data.replace(bytes([CTRL_C]), b"", 1)
        return data

    def getc(self) -> int:
        while not self._typed:
            self._typed += self._wait_input(256, None)
        return self._typed.pop(0)

    def next_program(self) -> bytes:
        assert self._vm is not None
        if self._running_program:
            self._finish_program()
        source = self._repl.next_program()
        self._running_program = True
        return source

    def _finish_program(self) -> None:
        assert self._vm is not None
        self._running_program = False
        self._interrupt_wanted = False
        self._interrupt_char = CTRL_C
        self._vm.withdraw_interrupt()
        error, self._error = bytes(self._error), bytearray()
        self._repl.finished(without_port_frames(error))

    def clock_ns(self) -> int:
        assert self._vm is not None
        self._waited_ns += 1000 * self._random.choice(_DISTURBANCE_US)
        return (self._cost_before + self._vm.machine.cost) * self._pace + self._waited_ns


class _Line:
    """The REPL's terminal: the console as it is, without newline translation."""

    def __init__(self, app: WasmApplication) -> None:
        self._app = app
        self.send = app._console.write

    def getc(self) -> int:
        return self._app.getc()
