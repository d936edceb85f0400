"""The virtual board's serial port as a pseudo-terminal: what a client that knows no URLs can open.

A pty carries no DTR, no RTS and no baud rate. So a boot loader's SYNC counts as "buttons held", and when the
last client closes it in download mode the chip starts its application.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from pathlib import Path
from typing import Protocol

from harness.virtual.serial_chip import Wire

_POLL_MS = 50
_SEND_TIMEOUT = 5.0


class PtyChip(Protocol):
    """What a pty asks of the chip behind it."""

    wires: list[Wire]

    def press_buttons_for_sync(self, data: bytes) -> bool: ...
    def receive(self, data: bytes, wire: Wire) -> None: ...
    def leave_download(self) -> None: ...


def _raw_pty() -> tuple[int, str]:
    """A new pty's master side and its name."""
    master, slave = os.openpty()
    tty.setraw(slave)
    name = os.ttyname(slave)
    os.close(slave)  # so that a client's close is seen
    return master, name


class PtyWire:
    """Serves ``chip`` on a pty whose name is not ``other_than``; ``link`` is a path that leads to it for as long as it
    is there."""

    baud: int | None = None

    def __init__(self, chip: PtyChip, link: Path, *, other_than: str = "") -> None:
        self._chip = chip
        self._master, self.path = _raw_pty()
        if self.path == other_than:  # the kernel gives the lowest name that is free
            first, (self._master, self.path) = self._master, _raw_pty()
            os.close(first)
        os.set_blocking(self._master, False)
        self._link = link
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(self.path)
        self._closing = threading.Event()
        self._stalled = False  # a reader that has the pty open and does not read
        self._sending = threading.Lock()
        chip.wires.append(self)
        threading.Thread(target=self._serve, name="pty", daemon=True).start()

    def close(self) -> None:
        self._closing.set()
        if self in self._chip.wires:
            self._chip.wires.remove(self)
        self._link.unlink(missing_ok=True)

    def _open_elsewhere(self) -> bool:
        poll = select.poll()
        poll.register(self._master, 0)
        return not any(event & select.POLLHUP for _, event in poll.poll(0))

    def send(self, data: bytes) -> None:
        with self._sending:
            while data and not self._closing.is_set() and self._open_elsewhere():
                try:
                    data = data[os.write(self._master, data) :]
                    self._stalled = False
                except BlockingIOError:
                    # Nobody reads: lost, as on a UART. Waited for once, so that other wires do not starve.
                    if self._stalled or not select.select([], [self._master], [], _SEND_TIMEOUT)[1]:
                        self._stalled = True
                        return
                except OSError:
                    return

    def _serve(self) -> None:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        was_open = False
        while not self._closing.is_set():
            events = poll.poll(_POLL_MS)
            flags = events[0][1] if events else 0
            if flags & select.POLLIN:
                was_open = True
                data = b""
                with contextlib.suppress(OSError):
                    data = os.read(self._master, 65536)
                if data:
                    self._chip.press_buttons_for_sync(data)
                    self._chip.receive(data, self)
            elif flags & select.POLLHUP:
                if was_open:
                    was_open = False
                    self._chip.leave_download()
                self._closing.wait(_POLL_MS / 1000)  # POLLHUP does not block: look again a little later
            else:
                was_open = True
        with self._sending:
            os.close(self._master)
