"""A virtual chip's firmware and the client of a board with no chip and no line between: for scenarios with a defect."""

from __future__ import annotations

import queue
import threading
from typing import Self

from harness.chips import Reset, chip_named
from harness.link.session import Session
from harness.link.transcript import Transcript
from harness.reference.engine.engine_vm import PORT_SECTION, default_port_script
from harness.reference.engine.memory_layout import layout_of
from harness.reference.engine.prepare import vm_module
from harness.reference.engine.wasm_module import custom_section
from harness.reference.guest_rom import guest_rom
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.virtual.application import AppContext
from harness.virtual.cpu import MANIFEST_SECTION, SYSTEM_ROM_SECTION, Manifest, WasmApplication
from harness.virtual.defects import DEFECTS, HEALTHY
from harness.virtual.live_board import LiveBoard, Surroundings
from harness.virtual.nor_flash import Flash
from tests.virtual.vm_rig import FLASH_SIZE, ROMFS, VFS

CHIP = "esp32"
#: Two of its pins that are wired together.
WIRE = (18, 19)


class QueueConsole:
    """Both ends of a line: the application's console, and a port for a session."""

    def __init__(self) -> None:
        self.timeout: float | None = None
        self._to_app: queue.Queue[bytes] = queue.Queue()
        self._kept = b""
        self._sent = bytearray()
        self._news = threading.Condition()
        self.app: WasmApplication | None = None
        self.ring = lambda: None

    # What the application sees.

    def put(self, data: bytes) -> None:
        self._to_app.put(data)

    def waiting(self) -> int:
        return len(self._kept) + self._to_app.qsize()

    # Both of them write and read: which one it is tells the number of arguments.

    def write(self, data: bytes) -> None:
        with self._news:
            self._sent += data
            self._news.notify_all()

    def read(self, size: int, timeout: float | None) -> bytes:
        if not self._kept:
            try:
                self._kept = self._to_app.get(timeout != 0, timeout)
            except queue.Empty:
                return b""
        data, self._kept = self._kept[:size], self._kept[size:]
        return data

    def taken(self, size: int, timeout: float | None) -> bytes:
        with self._news:
            self._news.wait_for(lambda: bool(self._sent), timeout)
            data = bytes(self._sent[:size])
            del self._sent[:size]
            return data

    @property
    def unread(self) -> int:
        with self._news:
            return len(self._sent)


class QueuePort:
    """Is a :class:`harness.link.session.Port`."""

    def __init__(self, chip: VirtualChip) -> None:
        self.timeout: float | None = None
        self._chip = chip

    @property
    def in_waiting(self) -> int:
        return self._chip.console.unread

    def read(self, size: int = 1) -> bytes:
        return self._chip.console.taken(size, self.timeout)

    def write(self, data: bytes) -> int:
        self._chip.console.put(self._chip.app.received(data))
        self._chip.board.ring()
        return len(data)

    def close(self) -> None: ...


class VirtualChip:
    """Runs firmware with the defect of that name (empty: healthy), reset after reset. To be entered as a context."""

    def __init__(self, defect: str = "") -> None:
        seeded = DEFECTS[defect] if defect else HEALTHY
        port, module = chip_named(CHIP).promised(), vm_module()
        self._payload = (
            module
            + custom_section(PORT_SECTION, seeded.script(default_port_script()).encode())
            + custom_section(SYSTEM_ROM_SECTION, guest_rom(port, layout_of(module).depth, seeded.guest))
            + custom_section(MANIFEST_SECTION, Manifest("MicroPython virtual", 57344, defect).to_bytes())
        )
        self.console = QueueConsole()
        self.board = LiveBoard(CHIP, Surroundings(loopback=(WIRE,)))
        self._flash = Flash(FLASH_SIZE)
        self._noinit: dict[str, bytes] = {}
        self._cause, self._over = Reset.POWER_ON, False
        self._made = threading.Event()
        self.app: WasmApplication
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self._over:
            self.board.restart(self._cause)
            self.app = WasmApplication(
                AppContext(
                    chip=CHIP, payload=self._payload, flash=self._flash, partitions={"vfs": VFS, "romfs": ROMFS},
                    console=self.console, reset_cause="", noinit=self._noinit, mac=bytes(6), board=self.board,
                )
            )  # fmt: skip
            self._made.set()
            self.app.run()

    def _stop(self) -> None:
        self._made.clear()
        self.app.stop()
        self.console.put(b"")

    def reset(self) -> None:
        """A pulse at the reset input."""
        self._cause = Reset.PIN
        self._stop()
        assert self._made.wait(30)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._made.wait(30)
        self.client = MicroPythonBoard(Session(QueuePort(self), Transcript()), reset=self.reset)
        self.client.enter()
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        self._stop()
        self._thread.join(10)
