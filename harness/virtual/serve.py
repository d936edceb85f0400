"""The process of one virtual board: ``python -m harness.virtual.serve SPEC`` (JSON of VirtualSpec)."""

from __future__ import annotations

import fcntl
import importlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import IO

from harness.chips import chip_named
from harness.virtual.application import (
    AppContext,
    Application,
    ApplicationFactory,
    Ended,
    Exit,
    application_module,
)
from harness.virtual.bench import VirtualSpec
from harness.virtual.control import ControlServer
from harness.virtual.esp_chip import Chip
from harness.virtual.faults import Fault
from harness.virtual.native_usb import UsbPlug
from harness.virtual.nor_flash import SECTOR, Flash
from harness.virtual.pty import PtyWire
from harness.virtual.rfc2217_server import Rfc2217Server
from harness.virtual.serial_chip import SerialChip
from harness.virtual.stm32.stm32_chip import Stm32Chip, flash_of

#: Seconds to wait for the first boot: the first load of a large module takes some of them.
_BOOT_TIME = 5.0


class Echo:
    """An application for tests of the chip alone: says how large its payload is, then echoes."""

    def __init__(self, context: AppContext) -> None:
        self._context = context
        self._stopped = threading.Event()

    def run(self) -> Exit:
        console = self._context.console
        console.write(f"echo: payload of {len(self._context.payload)} bytes\r\n".encode())
        while not self._stopped.is_set():
            data = console.read(256, None)
            if b"\x12" in data:  # Ctrl-R
                return Exit(Ended.HARD_RESET)
            if b"\x18" in data:  # Ctrl-X
                return Exit(Ended.CRASH, "asked for")
            console.write(data)
        return Exit(Ended.STOPPED)

    def stop(self) -> None:
        self._stopped.set()

    def received(self, data: bytes) -> bytes:
        return data


def _factory(app: str) -> ApplicationFactory:
    if app == "echo":

        def echo(context: AppContext) -> Application:
            return Echo(context)

        return echo

    def flashed(context: AppContext) -> Application:
        # Imported at the first boot: a chip in download mode needs no engine.
        module = importlib.import_module(application_module(context.payload))
        return module.create(context)  # type: ignore[no-any-return]

    return flashed


def _chip(spec: VirtualSpec) -> SerialChip:
    factory = _factory(spec.app)
    faults = tuple(Fault(**fault) for fault in spec.faults)  # type: ignore[arg-type]
    if chip_named(spec.chip).family == "stm32":
        return Stm32Chip(
            spec.chip,
            flash_of(spec.chip, spec.flash_file),
            spec.mac_bytes,
            factory,
            spec.surroundings,
            options=Flash(SECTOR, spec.flash_file.with_suffix(".options")),
            lines=spec.lines,
            faults=faults,
        )
    flash = Flash(spec.flash_size, spec.flash_file)
    revision = (spec.revision[0], spec.revision[1]) if spec.revision else None  # a list, out of JSON
    return Chip(
        spec.chip, flash, spec.mac_bytes, factory, spec.surroundings, faults, fuses=tuple(spec.fuses), revision=revision
    )


def serve(spec: VirtualSpec) -> None:
    """Run the board until SIGTERM, SIGINT, or the end of standard input (unless ``keep``)."""
    done = threading.Event()

    def ended(_signal: int, _frame: FrameType | None) -> None:
        done.set()

    signal.signal(signal.SIGTERM, ended)
    signal.signal(signal.SIGINT, ended)
    lock = _only_one(spec)
    chip = _chip(spec)
    server = Rfc2217Server(chip, spec.port)
    chip.put_behind(spec.usb)
    control = ControlServer(chip)
    link = spec.folder / f"{spec.id}.tty"
    plug = UsbPlug(
        server,
        (lambda was: PtyWire(chip, link, other_than=was)) if spec.pty else None,
        lambda: _tell(spec, server, control),
        up=spec.usb != "cdc",
    )
    chip.on_usb = plug.set
    chip.power_on()
    # What is sent to a chip that still boots is lost, so until then the board is not ready for a client.
    chip.settled.wait(_BOOT_TIME)
    _tell(spec, server, control)
    keeper = _PortKeeper(server, lambda: _tell(spec, server, control))
    chip.on_lost_port = keeper.lose
    print("ready", flush=True)
    if not spec.keep:
        threading.Thread(target=_watch_starter, args=(done,), daemon=True).start()
    done.wait()
    spec.info_file.unlink(missing_ok=True)
    chip.power_off()
    server.close()
    control.close()
    plug.close()
    lock.close()


def _tell(spec: VirtualSpec, server: Rfc2217Server, control: ControlServer) -> None:
    """Say in the board's file where it serves."""
    info = {
        "id": spec.id,
        "pid": os.getpid(),
        "url": server.url,
        "control": control.port,
        "pty": str(spec.folder.resolve() / f"{spec.id}.tty") if spec.pty else None,
        "started": time.time(),
    }
    part = spec.info_file.with_suffix(".part")
    part.write_text(json.dumps(info))
    part.replace(spec.info_file)


class _PortKeeper:
    """Unplugs the board's port and plugs it in again, as a fault wants it."""

    def __init__(self, server: Rfc2217Server, tell: Callable[[], None]) -> None:
        self._server = server
        self._tell = tell
        self._lock = threading.Lock()
        self._away: int | None = None  # the port it had

    def lose(self, seconds: float | None, renamed: bool) -> None:
        """Take it away for ``seconds`` (None: until it is mended), then give it back, perhaps under another name."""
        with self._lock:
            if self._away is None and seconds != 0:
                self._away = self._server.port
                self._server.vanish()
        if seconds is None:
            return
        if seconds:
            time.sleep(seconds)
        with self._lock:
            if self._away is None:
                return
            try:
                self._server.appear(0 if renamed else self._away)
            except OSError:  # somebody else has taken that one meanwhile
                self._server.appear(0)
            self._away = None
            self._tell()


def _only_one(spec: VirtualSpec) -> IO[bytes]:
    """Two processes on one flash would each undo the other's writes. The kernel drops the lock with its holder."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    lock = (spec.folder / f"{spec.id}.lock").open("wb")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(f"another process serves the board {spec.id!r} from {spec.folder}")
    return lock


def _watch_starter(done: threading.Event) -> None:
    # Not through sys.stdin: a thread inside its buffer makes the interpreter abort at its end.
    while os.read(0, 4096):
        pass
    done.set()


def main() -> None:
    spec = VirtualSpec(**json.loads(sys.argv[1]))
    try:
        serve(spec)
    except OSError as problem:
        sys.exit(f"{problem.strerror or problem} (port {spec.port}, flash {spec.flash_file})")


if __name__ == "__main__":
    main()
