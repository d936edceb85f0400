"""NodeMCU on its chip: start, tasks, REPL, and everything by which a run ends.

One loop serves what is due, in the firmware's order: callbacks of software timers, tasks of high, medium and low
priority (each queue holds 8, NodeMCU ``app/task/task.c``), then the next typed character. How time passes meanwhile
is the board's: by the host's clock on the virtual board, virtually on the reference.
"""

from __future__ import annotations

import random
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from harness.chips import Reset
from harness.reference.chip_board import Board
from harness.reference.engine.guest_files import Files
from harness.reference.flash.flash_region import Region
from harness.reference.nodemcu.hardware import GPIO_OF, Gpio, Receiver, Timers, rtc_functions, uart_functions
from harness.reference.nodemcu.lfs_region import LfsRegion, to_host_chunk, to_target_chunk
from harness.reference.nodemcu.lua_repl import CONTINUED, PROMPT, LineEditor
from harness.reference.nodemcu.nodemcu_storage import MAPPED, Configuration, FileModule, Layout, codec_functions
from harness.reference.nodemcu.state import Halt, LuaFault, LuaState

#: Free heap of a fresh start, in bytes: what the documentation calls typical.
HEAP = 45056
#: The software watchdog of the SDK bites after so long without a return to it, in nanoseconds.
WATCHDOG_NS = 3_200_000_000
QUEUE_LIMIT = 8
#: After an uncaught error in a callback the firmware restarts, in nanoseconds.
_RESTART_AFTER_NS = 2_000_000_000
_OVERFLOW = "Task queue overflow. Task not posted"
#: ``node.bootreason()``: the ROM's code and the SDK's, by what started the chip.
_REASONS = {
    Reset.POWER_ON: (1, 0),
    Reset.PIN: (2, 6),
    Reset.MACHINE: (2, 4),
    Reset.WATCHDOG: (4, 3),
    Reset.DEEP_SLEEP: (2, 5),
    Reset.BROWN_OUT: (1, 0),
}
_DSLEEP_CALIBRATION = 6 << 12


@dataclass(frozen=True)
class Firmware:
    """What the flashed firmware says about itself."""

    version: str = "3.0.0"
    branch: str = "virtual"
    heap: int = HEAP
    modules: str = "crypto,encoder,file,gpio,node,rtcmem,tmr,uart"

    @property
    def banner(self) -> str:
        return (
            f"\n\nNodeMCU {self.version} virtual board\n\tbranch: {self.branch}\n\tcommit: 0\n\tSSL: false\n"
            f"\tmodules: {self.modules}\n build 2000-01-01 00:00 powered by Lua 5.1.4 on SDK virtual\n"
        )


class NodeMcu:
    """One run of the firmware, from reset to reset. ``write`` takes what it prints; ``typed`` gives what came.

    Raises ValueError when the flash holds no partition table.
    """

    #: Numbers by which Lua knows callbacks: timers, pins, tasks.
    references = 1_000_000
    PIN_REFERENCES = 2_000_000
    TASK_REFERENCES = 3_000_000

    def __init__(
        self,
        board: Board,
        flash: Region,
        files: Callable[[tuple[int, int]], Files],
        write: Callable[[bytes], None],
        typed: Callable[[], bytes],
        *,
        firmware: Firmware | None = None,
        chip_id: int = 1,
    ) -> None:
        self.board = board
        self.firmware = firmware or Firmware()
        self._write = write
        self._typed = typed
        self._input: deque[int] = deque()
        self._queues: tuple[deque[tuple[str, int]], ...] = (deque(), deque(), deque())
        self._timers_due: deque[int] = deque()
        self._last_task = self.TASK_REFERENCES
        self._pending_line = b""
        self._random = random.Random(chip_id)
        self._chip_id = chip_id
        self._flash = flash
        self._started_ns = board.clock.now_ns
        self._fed_ns = board.clock.now_ns
        #: Why this run ended; None while it goes on.
        self.ended_by: Reset | None = None
        self.editor = LineEditor(self.write)
        self.receiver = Receiver(self.PIN_REFERENCES + len(GPIO_OF))
        self.configuration = Configuration(flash)
        self._file = FileModule(files(self.configuration.layout.files), self.configuration.layout.files[1])
        self.lfs = LfsRegion(flash, *self.configuration.layout.lfs)
        self._timers = Timers(self)
        self._gpio = Gpio(self)
        self.state = LuaState(self._host(), self._outside, self.firmware.heap)

    # -- start -----------------------------------------------------------------------------------

    def boot(self) -> None:
        """Banner, LFS, start-up command. Raises Halt when that ends the run."""
        self.write(self.firmware.banner.encode())
        image = self.lfs.load()
        if image is not None:
            address = self.state.call("use_index", image.chunk)[0]
            self.state.heap.mark_flash(int(address.split(b"0x")[1], 16), image.strings)
        elif self.lfs.problem:
            self.write(self.lfs.problem.encode() + b"\n")
        command = self.configuration.startup or b"@init.lua"
        if command[:1] == b"!":
            self._report(self.state.call("lfs_start", command[1:]))
        elif command[:1] == b"@":
            self._report(self.state.call("dofile", command[1:]))
        else:
            self._report(self.state.call("line", command))
        self.write(PROMPT)

    # -- the loop --------------------------------------------------------------------------------

    def serve(self, until_ns: int | None, stop: Callable[[], bool]) -> None:
        """Run what is due, and let time pass, until ``until_ns`` or until ``stop`` says so.

        Raises Halt when the run has ended: see :attr:`ended_by`.
        """
        while not stop():
            self.board.check()
            self.board.timeline.run_due(self.board.clock.now_ns)
            if self.ended_by is not None:
                raise Halt
            if self._run_one():
                continue
            if until_ns is not None and self.board.clock.now_ns >= until_ns:
                return
            self.board.pass_time(until_ns, lambda: self._ready or stop())

    @property
    def _ready(self) -> bool:
        self._listen()
        return bool(self._timers_due or any(self._queues) or self._input or self.ended_by)

    def _listen(self) -> None:
        self._input.extend(self._typed())

    def _run_one(self) -> bool:
        """Whether something was to be done."""
        self._listen()
        self.feed()
        if self._timers_due:
            reference = self._timers_due.popleft()
            if self._timers.before(reference):
                self._callback("timer", reference)
                if self._timers.after(reference):
                    self.state.forget(reference)
            return True
        for priority in (2, 1, 0):
            if self._queues[priority]:
                kind, reference = self._queues[priority].popleft()
                if kind == "task":
                    self._callback("task", reference, priority)
                else:
                    self._callback("event", reference, *self._gpio.take(reference))
                return True
        if self._input:
            while self._input and not self._type(self._input.popleft()):
                pass
            self.editor.flush()
            return True
        return False

    def _type(self, byte: int) -> bool:
        """Whether Lua has run: then others have their turn first."""
        edited = not self.receiver.takes_all
        piece = self.receiver.take(byte)
        if piece is not None:
            self.editor.flush()
            self._callback("event", *piece)
        line = self.editor.take(byte) if edited else None
        if line is not None:
            self._evaluate(line)
        return piece is not None or line is not None

    def _callback(self, entry: str, *arguments: Any) -> None:
        result = self.state.call(entry, *arguments)
        if len(result) > 2 and result[2]:  # what handles errors has failed itself
            text = result[1].split(b"\n")[0] if isinstance(result[1], bytes) else b"error object is not a string"
            self.write(b"PANIC: unprotected error in call to Lua API (" + text + b")\n")
            self.spin()
        if not result[0]:
            self._report(result)
            # What still runs until then may be anything; the chip does as if nothing had happened.
            at = self.board.clock.now_ns + _RESTART_AFTER_NS
            self.board.timeline.at(at, lambda: self._end(Reset.MACHINE))

    def _evaluate(self, line: bytes) -> None:
        if not self._pending_line and not line.strip():
            self.write(PROMPT)
            return
        if not self._pending_line and line.startswith(b"="):
            line = b"return " + line[1:]
        text = self._pending_line + (b"\n" if self._pending_line else b"") + line
        result = self.state.call("line", text)
        if result[0] == b"more":
            self._pending_line = text
            self.write(CONTINUED)
            return
        self._pending_line = b""
        self._report(result)
        self.write(PROMPT)

    def _report(self, result: tuple[Any, ...]) -> None:
        if result[0]:
            return
        text = result[1] if isinstance(result[1], bytes) else b"(error object is not a string)"
        # What of the firmware is Lua here is C on the chip, and its own call of a chunk is no xpcall there.
        lines = [line for line in text.split(b"\n") if not line.startswith(b"\tprelude:")]
        while len(lines) > 1 and lines[-1].startswith(b"\t[C]: in function 'xpcall'"):
            lines.pop()
        self.write(b"Lua error: " + b"\n".join(lines) + b"\n")

    # -- what Lua's hook asks --------------------------------------------------------------------

    def _outside(self) -> None:
        self.board.check()
        self.attend()
        self.board.timeline.run_due(self.board.clock.now_ns)
        if self.board.clock.now_ns - self._fed_ns > WATCHDOG_NS:
            self._end(Reset.WATCHDOG)
        if self.ended_by is not None:
            raise Halt

    #: What was done to the board from outside, where there is an outside.
    attend: Callable[[], object] = staticmethod(lambda: None)

    @property
    def uptime_ns(self) -> int:
        return self.board.clock.now_ns - self._started_ns

    def feed(self) -> None:
        self._fed_ns = self.board.clock.now_ns

    def busy_until(self, moment_ns: int) -> None:
        self.board.pass_time(moment_ns, lambda: self.ended_by is not None)

    def timer_fired(self, reference: int) -> None:
        self._timers_due.append(reference)

    def pin_fired(self, reference: int) -> None:
        self._queues[2].append(("pin", reference))

    def soft_watchdog_bites(self) -> None:
        self._end(Reset.MACHINE)

    # -- ends ------------------------------------------------------------------------------------

    def _end(self, why: Reset) -> None:
        if self.ended_by is None:
            self.ended_by = why

    def _stop(self, why: Reset) -> None:
        self._end(why)
        raise Halt

    def spin(self) -> None:
        """The firmware waits for the watchdog to reset the chip."""
        self.busy_until(self.board.clock.now_ns + WATCHDOG_NS)
        self._stop(Reset.WATCHDOG)

    def close(self) -> None:
        """The chip is reset: timers and files are gone."""
        self._timers.end()
        self._file.end()
        self.board.clock.stop()

    # -- output ----------------------------------------------------------------------------------

    def write(self, text: bytes) -> None:
        """Text as ``print`` sends it."""
        self._write(text.replace(b"\n", b"\r\n"))

    def write_raw(self, data: bytes) -> None:
        self._write(data)

    # -- the host's half of the modules ----------------------------------------------------------

    def _host(self) -> dict[str, Callable[..., Any]]:
        own: dict[str, Callable[..., Any]] = {
            "write": self.write,
            "undump": self._undump,
            "dump": lambda dumped, strip: to_target_chunk(dumped, lines=strip != 2),
            "strings": self._strings,
            "task_post": self._post,
            "lfs_reload": self._reload,
            "lfs_config": self._lfs_config,
        }
        node: dict[str, Callable[..., Any]] = {
            "heap": lambda: max(0, self.state.free),
            "meminfo": lambda: (self.firmware.heap, self.state.heap.used()),
            "restart": lambda: self._stop(Reset.MACHINE),
            "dsleep": self._deep_sleep,
            "dsleepMax": lambda: _DSLEEP_CALIBRATION * (2**31 - 1) // 4096,
            "chipid": lambda: self._chip_id,
            "flashid": lambda: 0x1640EF,
            "flashsize": lambda: self._flash.size,
            "bootreason": lambda: _REASONS[self.board.cause],
            "random": self._random_number,
            "setcpufreq": lambda mhz: mhz,
            "getcpufreq": lambda: 80,
            "sleep": lambda *_: None,
            "info": self._info,
            "partitions": lambda: (*self.configuration.layout.lfs, *self.configuration.layout.files),
            "setpartitions": self._set_partitions,
            "startupcommand": self._startup,
            "input": lambda line: self._input.extend(line + b"\n"),
            "compile": self._compile,
        }
        return (
            own
            | {f"node_{name}": function for name, function in node.items()}
            | self._timers.host
            | self._gpio.host
            | self._file.host
            | rtc_functions(self)
            | uart_functions(self)
            | codec_functions()
        )

    def _post(self, priority: int) -> int:
        if priority not in (0, 1, 2):
            raise LuaFault("bad argument #1 to 'post' (invalid  priority)")
        queue = self._queues[int(priority)]
        if sum(kind == "task" for kind, _ in queue) >= QUEUE_LIMIT:
            raise LuaFault(_OVERFLOW)
        self._last_task += 1
        queue.append(("task", self._last_task))
        return self._last_task

    def _deep_sleep(self, microseconds: float = 0, _option: int = 0, _instant: object = None) -> None:
        at = self.board.clock.now_ns + int(microseconds) * 1000
        self.board.sources.at_ns = at if microseconds > 0 else None
        self._stop(Reset.DEEP_SLEEP)

    def _random_number(self, *bounds: float) -> float:
        if not bounds:
            return self._random.random()
        low, high = (1, int(bounds[0])) if len(bounds) == 1 else (int(bounds[0]), int(bounds[1]))
        if low > high:
            raise LuaFault("interval is empty")
        return self._random.randint(low, high)

    def _info(self, group: bytes | None = None) -> tuple[Any, ...]:
        version = [int(part) for part in self.firmware.version.split(".")[:3]]
        if group is None:
            return (*version, self._chip_id, 0x1640EF, self._flash.size // 1024, 2, 40_000_000)
        if group == b"lfs":
            return self._lfs_config()
        groups: dict[bytes, dict[str, Any]] = {
            b"hw": {
                "chip_id": f"{self._chip_id:06x}".encode(),
                "flash_id": b"1640ef",
                "flash_size": self._flash.size // 1024,
                "flash_mode": 2,
                "flash_speed": 40_000_000,
            },
            b"sw_version": {
                "git_branch": self.firmware.branch.encode(),
                "git_commit_id": b"0",
                "git_release": self.firmware.version.encode(),
                "node_version_major": version[0],
                "node_version_minor": version[1],
                "node_version_revision": version[2],
            },
            b"build_config": {
                "ssl": False,
                "lfs_size": self.configuration.layout.lfs[1],
                "modules": self.firmware.modules.encode(),
                "number_type": b"float",
            },
        }
        if group not in groups:
            raise LuaFault(f"bad argument #1 to 'info' (invalid option '{group.decode('latin-1')}')")
        return tuple(part for key, value in groups[group].items() for part in (key.encode(), value))

    def _strings(self, of: bytes) -> tuple[bytes | None, ...]:
        held = self.lfs.strings if of == b"ROM" else frozenset(self.state.heap.strings())
        return tuple(sorted(held)) if held else (None,)

    def _lfs_config(self) -> tuple[Any, ...]:
        offset, size = self.configuration.layout.lfs
        values = {b"lfs_mapped": MAPPED + offset, b"lfs_base": offset, b"lfs_size": size, b"lfs_used": self.lfs.used}
        return tuple(part for item in values.items() for part in item)

    def _set_partitions(self, *numbers: float | None) -> None:
        old = (*self.configuration.layout.lfs, *self.configuration.layout.files)
        a, b, c, d = (before if new is None else int(new) for new, before in zip(numbers, old, strict=True))
        self.configuration.change(Layout((a, b), (c, d)))
        self.spin()

    def _startup(self, command: bytes) -> bool:
        self.configuration.set_startup(command)
        return True

    def _reload(self, name: bytes) -> bytes:
        """Returns the firmware's error string; a reload that succeeds does not return."""
        try:
            image = self._file.content(name)
        except LuaFault:
            image = None
        error = self.lfs.refuses(image, self.state.free)
        if error:
            return error.encode()
        assert image is not None
        self.lfs.write(image, lambda duration: self.busy_until(self.board.clock.now_ns + duration))
        self.write(b"LFS region updated.  Restarting.\n")
        self.spin()
        raise AssertionError("the watchdog has reset the chip")

    def _compile(self, name: bytes, dumped: bytes) -> None:
        if not name.endswith(b".lua"):
            raise LuaFault("bad argument #1 to 'compile' (not a .lua file)")
        self._file.put(name.removesuffix(b".lua") + b".lc", to_target_chunk(dumped))

    @staticmethod
    def _undump(text: bytes) -> bytes:
        try:
            return to_host_chunk(text)
        except (ValueError, struct.error):
            raise LuaFault("bad header in precompiled chunk") from None
