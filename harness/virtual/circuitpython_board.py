"""CircuitPython's port on a virtual board: the supervisor's loop around the lives of the VM.

What it does between two lives, and the texts it prints, follow CircuitPython ``main.c`` and
``supervisor/shared/safe_mode.c``; what outlives a life is the reference's
(:mod:`harness.reference.supervisor_state`). No USB, BLE or web workflow: nothing writes files from outside, so
auto-reload is on, as upstream, and has no occasion. Left out: ``boot.py``, ``safemode.py``, ``repl.py``, the status
bar, doubled file extensions.
"""

from __future__ import annotations

import errno
import json
from collections import deque

from harness.chips import Reset, chip_named
from harness.reference.chip_board import ChipReset
from harness.reference.engine.engine_vm import VmConfig
from harness.reference.engine.guest_files import File, Mode, fault
from harness.reference.engine.memory_layout import layout_of
from harness.reference.engine.wasm_machine import Crashed, Stopped
from harness.reference.engine.wasm_module import custom_sections
from harness.reference.guest_rom import supervisor_rom
from harness.reference.supervised import code_program
from harness.reference.supervisor_state import NVM_SIZE, Ended, RunReason, SafeMode, SupervisorState
from harness.virtual.application import AppContext, Application, Exit
from harness.virtual.application import Ended as ChipEnded
from harness.virtual.board_repl import CTRL_C, CTRL_D, SoftReset
from harness.virtual.cpu import ENDS, SYSTEM_ROM_SECTION, WasmApplication
from harness.virtual.flash_files import FlashFiles
from harness.virtual.languages import LANGUAGES, Language
from harness.virtual.nor_flash import Flash

#: ``alarm.sleep_memory`` on the ESP32, in bytes.
SLEEP_MEMORY = 3072
#: No deep sleep begins earlier after a start that was not a wake: ``CIRCUITPY_WORKFLOW_CONNECTION_SLEEP_DELAY``.
SLEEP_DELAY_NS = 5_000_000_000
#: What a new filesystem holds.
CODE_PY = b'print("Hello World!")\n'


def create(context: AppContext) -> Application:
    """The application factory for :mod:`harness.virtual.esp_chip`."""
    return CircuitPythonApplication(context)


class _Files(FlashFiles):
    """A filesystem that ``storage.remount`` can make read-only."""

    read_only = False

    def open(self, path: str, mode: Mode) -> File:
        if mode.write:
            self._writable()
        return super().open(path, mode)

    def mkdir(self, path: str) -> None:
        self._writable()
        super().mkdir(path)

    def rmdir(self, path: str) -> None:
        self._writable()
        super().rmdir(path)

    def remove(self, path: str) -> None:
        self._writable()
        super().remove(path)

    def rename(self, old: str, new: str) -> None:
        self._writable()
        super().rename(old, new)

    def _writable(self) -> None:
        if self.read_only:
            raise fault(errno.EROFS)


class _FlashBytes(bytearray):
    """``microcontroller.nvm``: what is assigned goes to the flash at once."""

    def __init__(self, flash: Flash, offset: int) -> None:
        super().__init__(flash.read(offset, NVM_SIZE))
        self._flash = flash
        self._offset = offset

    def __setitem__(self, index, value) -> None:  # type: ignore[no-untyped-def]
        super().__setitem__(index, value)
        self._flash.erase(self._offset, NVM_SIZE)
        self._flash.program(self._offset, bytes(self))


class CircuitPythonApplication(WasmApplication):
    """From one reset of the chip to the next."""

    state: SupervisorState

    def _open_files(self, offset: int, size: int) -> _Files:
        self._flash_files = _Files(self._context.flash, offset, size, first=[("/code.py", CODE_PY)])
        return self._flash_files

    def _banner(self) -> str:
        return f"\r\n{self._manifest.banner}\r\n"

    @property
    def _language(self) -> Language:
        return LANGUAGES[self._manifest.language]

    def _begin(self) -> None:
        noinit, cause = self.noinit, self.board.cause
        memory = noinit.get("sleep_memory", bytes(SLEEP_MEMORY))
        if cause in self._chip.lost_at:
            memory = bytes(SLEEP_MEMORY)
        self.state = SupervisorState(
            self.board,
            lambda name: self._has("/" + name.lstrip("/")),
            region_size=self._manifest.heap,
            sleep_memory=memory,
            nvm=_FlashBytes(self._context.flash, self._context.partitions["nvs"][0]),
            cause=cause,
            wake_pins=json.loads(noinit.pop("wake_pins", b"{}")),
        )
        self.state.safe_mode = SafeMode[noinit.pop("safe_mode", b"NONE").decode()]
        if cause is Reset.BROWN_OUT:
            self.state.safe_mode = SafeMode.BROWNOUT
        self.state.autoreload = self.state.safe_mode is SafeMode.NONE
        if SYSTEM_ROM_SECTION not in custom_sections(self._context.payload):
            self._system_rom = supervisor_rom(
                chip_named(self._context.chip).port_at(), layout_of(self._context.payload).depth
            )
        self._code: bytes | None = None
        self._alive = False
        self._heeded: deque[bytes] = deque()

    # -- Application -----------------------------------------------------------------------------

    def run(self) -> Exit:
        self.board.check = self._check_stop
        try:
            return self._supervise()
        except Stopped:
            return Exit(ChipEnded.STOPPED)
        except ChipReset as reset:
            if self.state.next_mode is not SafeMode.NONE:
                self.noinit["safe_mode"] = self.state.next_mode.name.encode()
            return Exit(ENDS[reset.cause])
        except Crashed as crash:
            self.noinit["safe_mode"] = SafeMode.HARD_FAULT.name.encode()
            return Exit(ChipEnded.CRASH, str(crash))
        finally:
            self.noinit["sleep_memory"] = self.state.sleep_memory
            if hasattr(self, "vm"):
                self.vm.machine.close()

    def received(self, data: bytes) -> bytes:
        kept = super().received(data)
        if heeded := len(data) - len(kept):
            self._heeded.append(bytes([CTRL_C]) * heeded)
        return kept

    def stop(self) -> None:
        self._stopped = True
        self.board.ring()
        if self._alive:
            self.vm.machine.stop()

    def _supervise(self) -> Exit:
        """The loop of CircuitPython's ``main``: code files and REPLs, each a life of its own."""
        state, code = self.state, True
        while True:
            if code:
                again, asleep = self._run_code()
                if asleep:
                    return Exit(ChipEnded.DEEP_SLEEP)
                if not again and (code := self._take_key()):
                    state.reason = RunReason.REPL_RELOAD
                state.settle()
                if not code:
                    continue
            else:
                self._run_repl()
                state.reason = RunReason.REPL_RELOAD
                code = not self._repl.raw
            self._say(self._language.soft_reboot)

    # -- code files ------------------------------------------------------------------------------

    def _run_code(self) -> tuple[bool, bool]:
        """Run what is to be run, and wait for a key; whether another run follows at once, and whether the chip is to
        sleep now."""
        state, write = self.state, self._console.write
        write(b"\r\n")
        self._say(self._language.auto_reload_on if state.autoreload else self._language.auto_reload_off)
        ended, again = Ended.SUCCESS, False
        if state.safe_mode is SafeMode.NONE:
            name = state.begin_code()
            if name:
                self._say(self._language.output % name)
            state.in_code = True
            self._live(code_program(name))
            write(b"\r\n")
            self._say(self._language.done)
            ended = state.ended or (Ended.ERROR if name else Ended.SUCCESS)
            again = state.end_code(ended)
        else:
            self._say(self._language.safe_mode)
            self._tell_safe_mode()
        if again:
            return True, False
        write(b"\r\n")
        self._say(self._language.press_any_key)
        if ended is Ended.DEEP_SLEEP:
            return False, self._wait_to_sleep()
        self._wait_for_input(None)
        return False, False

    def _say(self, text: str) -> None:
        self._console.write(text.encode() + b"\r\n")

    def write_error(self, data: bytes) -> None:
        super().write_error(data.replace(LANGUAGES[""].traceback.encode(), self._language.traceback.encode()))

    def _tell_safe_mode(self) -> None:
        mode = self.state.safe_mode
        text = f"\n{self._language.in_safe_mode}\n"
        text += "CircuitPython core code crashed hard. Whoops!\n" if mode is SafeMode.HARD_FAULT else ""
        text += mode.value + "\n"
        if mode is SafeMode.HARD_FAULT:
            text += "Please file an issue with your program at github.com/adafruit/circuitpython/issues.\n"
        self._console.write((text + "Press reset to exit safe mode.\n").replace("\n", "\r\n").encode())

    def _wait_to_sleep(self) -> bool:
        """Whether the deep sleep begins; a key before that leads to the REPL instead."""
        state = self.state
        if state.cause is not Reset.DEEP_SLEEP and not self._wait_for_input(
            self.board.clock.now_ns + max(0, SLEEP_DELAY_NS - state.since_start_ns)
        ):
            return False
        state.fall_asleep()
        self.noinit["wake_pins"] = json.dumps(state.wake_pins).encode()
        return True

    def _wait_for_input(self, until_ns: int | None) -> bool:
        """Whether the time went by without any."""
        if not self._has_input():
            self.board.pass_time(until_ns, self._has_input)
        return not self._has_input()

    def _take_key(self) -> bool:
        """Whether the key that ended the wait asks for a reload."""
        self._take(1)
        return bool(self._typed) and self._typed.pop(0) == CTRL_D

    # -- lives -----------------------------------------------------------------------------------

    def _run_repl(self) -> None:
        self._repl.restart()
        self._live(None)

    def _live(self, code: bytes | None) -> None:
        """One life of the VM: with ``code`` it ends when that does, else it is a REPL."""
        state = self.state
        self.board.restart(Reset.SOFT)
        self.board.check = self._check_stop
        span = state.begin_run()
        self._heap, self._code = span.size, code
        self._make_vm()
        self._alive = True
        try:
            self._check_stop()
            self.vm.run()
        except SoftReset:
            pass
        finally:
            self._alive = False
            self.services.end()
            self.board.vm_ended()
            state.end_run()
            self.board.check = self._check_stop
        self._check_stop()
        if self._running_program:
            self._finish_program()
        heeded = b"".join(self._heeded.popleft() for _ in range(len(self._heeded)))
        if code is not None:  # what interrupted a code file is a key all the same
            self._typed[:0] = heeded

    def _config(self) -> VmConfig:
        return VmConfig(heap_size=self._heap, system_rom=self._system_rom)

    def _next_source(self) -> bytes:
        if not self.state.in_code:
            return super()._next_source()
        if self._code is None:
            raise SoftReset  # the code file is over, and with it this life
        source, self._code = self._code, None
        return source

    def _host_call(self, name: str, argument: str) -> str:
        if name != "supervisor":
            return super()._host_call(name, argument)
        answer = self.state.serve(self.vm.machine.memory, argument)
        self._flash_files.read_only = self.state.read_only
        return answer
