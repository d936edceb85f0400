"""The virtual firmware between two queues: no chip, no port."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from harness.chips import Reset
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.wasm_module import custom_section
from harness.virtual.application import AppContext, Exit
from harness.virtual.cpu import MANIFEST_SECTION, Manifest, create
from harness.virtual.live_board import LiveBoard, Surroundings
from harness.virtual.nor_flash import Flash

#: Where the file system and the ROM file system stand in the flash: offset and size, in bytes.
VFS, ROMFS = (0x20000, 0x20000), (0x10000, 0x10000)
FLASH_SIZE = 0x40000


class FakeConsole:
    def __init__(self) -> None:
        self.to_app: queue.Queue[bytes] = queue.Queue()
        self.buffer = b""
        self.sent = bytearray()
        self.news = threading.Condition()
        self.stopped = False
        #: Called on the VM's thread with what it has just sent.
        self.heard: Callable[[bytes], None] = lambda _data: None

    def write(self, data: bytes) -> None:
        with self.news:
            self.sent += data
            self.news.notify_all()
        self.heard(data)

    def read(self, size: int, timeout: float | None) -> bytes:
        if not self.buffer:
            try:
                self.buffer = self.to_app.get(timeout != 0, timeout)
            except queue.Empty:
                return b""
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def waiting(self) -> int:
        return len(self.buffer) + self.to_app.qsize()


class Rig:
    def __init__(self, flash: Flash | None = None, around: Surroundings | None = None, *, rom: bytes = b"") -> None:
        payload = vm_module() + custom_section(MANIFEST_SECTION, Manifest("MicroPython test", 57344).to_bytes()) + rom
        self.console = FakeConsole()
        self.flash = flash or Flash(FLASH_SIZE)
        self.noinit: dict[str, bytes] = {}
        self.board = LiveBoard("esp32", around)
        self.board.restart(Reset.POWER_ON)
        context = AppContext(
            chip="esp32",
            payload=payload,
            flash=self.flash,
            partitions={"vfs": VFS, "romfs": ROMFS},
            console=self.console,
            reset_cause="power-on",
            noinit=self.noinit,
            mac=bytes(6),
            board=self.board,
        )
        self.exit: Exit | None = None
        made = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(context, made), daemon=True)
        self.thread.start()
        assert made.wait(30)

    def _run(self, context: AppContext, made: threading.Event) -> None:
        self.app = create(context)
        made.set()
        self.exit = self.app.run()

    def send(self, data: bytes) -> None:
        if kept := self.app.received(data):
            self.console.to_app.put(kept)
        self.board.ring()

    def expect(self, text: bytes) -> bytes:
        """Wait until ``text`` has been sent; returns everything up to and including it, and forgets it."""
        with self.console.news:
            assert self.console.news.wait_for(lambda: text in self.console.sent, 10), bytes(self.console.sent)
            end = self.console.sent.index(text) + len(text)
            found = bytes(self.console.sent[:end])
            del self.console.sent[:end]
            return found

    def raw(self) -> None:
        self.expect(b">>> ")
        self.send(b"\x01")
        self.expect(b"raw REPL; CTRL-B to exit\r\n>")

    def run(self, source: bytes) -> bytes:
        self.send(source + b"\x04")
        return self.expect(b"\x04>")

    def stop(self) -> Exit | None:
        self.app.stop()
        self.console.to_app.put(b"")
        self.thread.join(2)
        return self.exit
