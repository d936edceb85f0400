"""A chip's own USB as its console: the port comes and goes with what runs on the chip.

``serial-jtag`` is the unit of the newer ESP32 chips: the ROM's loader has it as the application does, and its DTR and
RTS reset the chip (ESP32-S3 TRM, "USB Serial/JTAG Controller", "Reset of the chip and download mode"). ``cdc`` is the
application's own device: there is no port while none runs, and no line resets anything.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from harness.virtual.pty import PtyWire
    from harness.virtual.rfc2217_server import Rfc2217Server

Usb = Literal["none", "serial-jtag", "cdc"]

#: Seconds from a chip's reset until its host has noticed: what it asked for until then is still answered.
NOTICED = 0.2
#: Seconds from a device's coming until it is a port: a hub's reset, and the descriptors. More than the other, or a chip
#: that starts at once would not have been away.
ENUMERATED = 0.3


class DownloadLatch:
    """What DTR and RTS do at a USB Serial/JTAG unit. DTR alone asks for download mode, neither of them takes that back;
    RTS alone holds the chip in reset, and as it is let go the chip starts with what was asked for."""

    def __init__(self) -> None:
        self._asked = False
        self.in_reset = False

    def lines(self, *, dtr: bool, rts: bool) -> Literal["", "reset", "application", "download"]:
        """The new levels (True: asserted); what the chip does at that."""
        was, self.in_reset = self.in_reset, rts and not dtr
        if self.in_reset:
            return "" if was else "reset"
        asked, self._asked = self._asked, dtr and (self._asked or not rts)
        if was:
            return "download" if asked else "application"
        return ""


class UsbPlug:
    """Takes the ports of a chip away and gives them back, in the order in which the chip says so and in its own time.

    ``told`` is called when the address may be another one. The pseudo-terminal comes back under another name, to which
    its link then leads.
    """

    def __init__(
        self, server: Rfc2217Server, make_pty: Callable[[str], PtyWire] | None, told: Callable[[], None], *, up: bool
    ) -> None:
        self._server = server
        self._make_pty = make_pty
        self._told = told
        self._pty = make_pty("") if make_pty is not None and up else None
        self._was = ""  # the name that the pseudo-terminal had
        if not up:
            server.vanish()
        self._changes: queue.SimpleQueue[tuple[bool, float] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        threading.Thread(target=self._serve, name="usb", daemon=True).start()

    def set(self, present: bool) -> None:
        """The device is there from now on, or not. Returns at once."""
        self._changes.put((present, time.monotonic() + (ENUMERATED if present else NOTICED)))

    def close(self) -> None:
        self._closing.set()
        self._changes.put(None)
        if self._pty is not None:
            self._pty.close()

    def _serve(self) -> None:
        while (change := self._changes.get()) is not None:
            present, due = change
            if self._closing.wait(max(0.0, due - time.monotonic())):
                return
            self._plug_in() if present else self._unplug()

    def _unplug(self) -> None:
        self._server.vanish()
        if self._pty is not None:
            self._was = self._pty.path
            self._pty.close()
            self._pty = None

    def _plug_in(self) -> None:
        if self._make_pty is not None and self._pty is None:
            self._pty = self._make_pty(self._was)
        try:
            self._server.appear(self._server.port)
        except OSError:  # somebody else has taken that one meanwhile
            self._server.appear(0)
        self._told()
