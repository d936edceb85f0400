"""Virtual boards as processes: start one, find those that run, stop them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.errors import BenchFault, UsageError
from harness.reference.pins import PinName
from harness.virtual.control import order
from harness.virtual.live_board import LiveBoard, Surroundings
from harness.virtual.native_usb import Usb


@dataclass(frozen=True)
class VirtualSpec:
    """One virtual board. ``flash_size`` in bytes (an STM32 has its own); ``mac`` as ``aa:bb:…``, made of the id when
    empty; ``port`` 0 takes a free one; ``keep`` leaves it running when its starter is gone. ``pace`` is ``chip`` or
    ``fast``; ``loopback``, ``uart``, ``button`` and ``gpio16_rst`` are what its pins are wired to; ``lines`` says how
    an STM32's NRST and BOOT0 are, where they differ from DTR and RTS (``harness.virtual.stm32.stm32_chip.LINES``);
    ``fuses`` are burnt into an ESP32, ``revision`` is its (major, minor) one where it is not the usual; ``usb`` makes
    its console a USB device of its own (:mod:`harness.virtual.native_usb`); ``faults`` are
    those of :class:`harness.virtual.faults.Fault` that it has from the start."""

    id: str
    chip: str
    state_dir: str
    flash_size: int = 4 * 1024 * 1024
    mac: str = ""
    port: int = 0
    pty: bool = True
    app: str = "wasm"
    keep: bool = False
    pace: str = "chip"
    loopback: tuple[tuple[int | str, int | str], ...] = ()
    uart: int | None = None
    button: int | str | None = None
    gpio16_rst: bool = False
    lines: tuple[str, ...] = ()
    fuses: tuple[str, ...] = ()
    revision: tuple[int, int] | None = None
    usb: Usb = "none"
    faults: tuple[dict[str, object], ...] = ()

    @property
    def mac_bytes(self) -> bytes:
        if self.mac:
            return bytes.fromhex(self.mac.replace(":", ""))
        # Locally administered, unicast: never the address of a real board.
        return b"\x02" + hashlib.sha256(self.id.encode()).digest()[:5]

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(
            loopback=tuple((a, b) for a, b in self.loopback),
            uart=self.uart,
            button=self.button,
            gpio16_rst=self.gpio16_rst,
            fast=self.pace == "fast",
        )

    @property
    def folder(self) -> Path:
        return Path(self.state_dir)

    @property
    def info_file(self) -> Path:
        return self.folder / f"{self.id}.json"

    @property
    def flash_file(self) -> Path:
        return self.folder / f"{self.id}.flash"


class RunningBoard:
    """A virtual board that serves. ``pty`` is None when it has none.

    What a person does to a real board is done here by methods. They return when the order was taken; they raise
    UsageError for what this board cannot be told, BenchFault when it is gone.
    """

    def __init__(
        self,
        board_id: str,
        url: str,
        pty: str | None,
        pid: int,
        control: int,
        child: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.id = board_id
        self.url = url
        self.pty = pty
        self.pid = pid
        self._control = control
        self._child = child

    def lead(self, pin: PinName, level: int | None) -> None:
        """Hold a pin at a level from outside; None lets it go. ``"RST"`` is the reset input."""
        order(self._control, "lead", pin=pin, level=level)

    def press(self, *, down: bool) -> None:
        """Press the button named under ``wiring``, or let it go."""
        order(self._control, "press", down=down)

    def press_reset(self, *, boot: bool = False) -> None:
        """Press the reset button (EN), and with ``boot`` hold the boot button (ESP) meanwhile."""
        order(self._control, "reset", down=boot)

    def power(self, *, on: bool) -> None:
        """Cut the chip's power, or give it back. The port stays, as an adapter's does that has its own supply."""
        order(self._control, "power", on=on)

    def brown_out(self) -> None:
        """Let the supply dip (ESP32)."""
        order(self._control, "brown-out")

    def fault(self, **fault: object) -> None:
        """Let it have a fault from now on: the fields of :class:`harness.virtual.faults.Fault`."""
        order(self._control, "fault", fault=fault)

    def mend(self) -> None:
        """End all its faults, and give its port back."""
        order(self._control, "mend")

    def dfu(self) -> dict[str, str]:
        """Memory layout and serial number of an STM32 that is in its boot loader on USB; empty when it is not."""
        return {str(key): str(value) for key, value in order(self._control, "dfu").items()}

    def dfu_read(self, address: int, size: int, file: Path) -> None:
        """Have it read from the CPU's ``address`` into ``file``."""
        order(self._control, "dfu-read", address=address, size=size, file=str(file.resolve()))

    def dfu_write(self, address: int, file: Path) -> None:
        """Have the content of ``file`` written there; what the sectors held beside it is gone."""
        order(self._control, "dfu-write", address=address, file=str(file.resolve()))

    def dfu_leave(self) -> None:
        """Let it start what its flash holds."""
        order(self._control, "dfu-leave")

    @property
    def faults(self) -> dict[str, int]:
        """How often each kind of fault has happened."""
        return dict(order(self._control, "state")["faults"])

    @property
    def asleep(self) -> bool:
        """The chip is in deep sleep."""
        return bool(order(self._control, "state")["asleep"])

    def stop(self) -> None:
        """End it; returns when it has ended. A board that was found running and not started is left alone."""
        if self._child is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait(5)
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> RunningBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def running(state_dir: Path) -> dict[str, RunningBoard]:
    """The boards that serve now; notes left behind by killed ones are removed."""
    boards = {}
    for file in sorted(state_dir.glob("*.json")):
        board = _alive(file)
        if board is None:
            file.unlink(missing_ok=True)
        else:
            boards[board.id] = board
    return boards


def start(spec: VirtualSpec, *, timeout: float = 15.0) -> RunningBoard:
    """Start the board, or take the one that serves already.

    Raises UsageError for wiring that its chip cannot have, BenchFault with its reason when it does not start.
    """
    try:
        LiveBoard(spec.chip, spec.surroundings)
    except UsageError as problem:
        raise UsageError(f"{spec.id}: {problem.message}", hint=problem.hint or "see 'wiring' in boards.yaml") from None
    known = _alive(spec.info_file)
    if known is not None:
        return known
    spec.folder.mkdir(parents=True, exist_ok=True)
    spec.info_file.unlink(missing_ok=True)
    log = spec.folder / f"{spec.id}.log"
    with log.open("wb") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "harness.virtual.serve", json.dumps(asdict(spec))],
            stdin=subprocess.PIPE,  # its end tells the board that its starter is gone
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # Ctrl-C is for the run; the run ends its boards itself
        )
    assert child.stdout is not None
    deadline = time.monotonic() + timeout
    os.set_blocking(child.stdout.fileno(), True)
    line = _line_before(child, deadline)
    board = _alive(spec.info_file) if line == b"ready\n" else None
    if board is None:
        child.kill()
        child.wait(5)
        tail = log.read_text("utf-8", "replace").strip().splitlines()[-1:]
        raise BenchFault(
            f"the virtual board {spec.id!r} did not start: {' '.join(tail) or f'no answer in {timeout:g} s'}",
            hint=f"see {log}",
        )
    board._child = child
    return board


def _line_before(child: subprocess.Popen[bytes], deadline: float) -> bytes:
    import select

    assert child.stdout is not None
    ready, _, _ = select.select([child.stdout], [], [], max(0.0, deadline - time.monotonic()))
    return child.stdout.readline(64) if ready else b""


def _alive(file: Path) -> RunningBoard | None:
    try:
        info = json.loads(file.read_text())
        pid, url = int(info["pid"]), str(info["url"])
        os.kill(pid, 0)
        # By the port for orders: the serial one may be away for a while, by a fault.
        if file.stem != info["id"] or not _listens(int(info["control"])):
            return None
        return RunningBoard(str(info["id"]), url, info["pty"], pid, int(info["control"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _listens(port: int) -> bool:
    """Whether a process holds the port (asking by connecting would disturb its client)."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
        return False
    except OSError:
        return True
