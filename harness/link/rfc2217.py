"""A quick client of RFC 2217 ports.

pyserial's own client renegotiates all settings at each assignment of a timeout, and waits for each answer
in steps of 50 ms: identifying a chip takes it more than 20 s. This one sends what has changed, waits by
event, and reads in bulk. Otherwise it is pyserial's, so it is a port for whoever wants one.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Any

import serial
from serial import rfc2217

# The inherited state is private to pyserial and has no types.
_PyserialClient: Any = rfc2217.Serial


class QuickRfc2217(_PyserialClient):  # type: ignore[misc]
    """``serial_for_url("rfc2217://…")`` without the waiting."""

    _socket: Any
    _thread: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._news = threading.Condition()
        self._received = bytearray()
        self._lost = False
        self._applied: tuple[Any, ...] | None = None
        super().__init__(*args, **kwargs)

    # -- opening ---------------------------------------------------------------------------------

    def open(self) -> None:
        self._received.clear()
        self._lost = False
        self._applied = None
        # pyserial's open() starts the reader and negotiates; its waits end at once when the answers are there.
        # Its fixed 50 ms polls happen three times here, and never again.
        super().open()

    def close(self) -> None:
        self.is_open = False
        if self._socket:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(2)
        self._socket = None

    def _reconfigure_port(self) -> None:
        settings = (self._baudrate, self._bytesize, self._parity, self._stopbits, self._xonxoff, self._rtscts)
        if settings == self._applied:
            return
        if self._applied is None:
            super()._reconfigure_port()
        else:
            wanted = {
                "baudrate": self._baudrate.to_bytes(4, "big"),
                "datasize": bytes([self._bytesize]),
                "parity": bytes([rfc2217.RFC2217_PARITY_MAP[self._parity]]),
                "stopsize": bytes([rfc2217.RFC2217_STOPBIT_MAP[self._stopbits]]),
            }
            for name, value in wanted.items():
                item = self._rfc2217_port_settings[name]
                if item.value != value:
                    item.set(value)
                    self._await(item)
        self._applied = settings

    # -- answers ---------------------------------------------------------------------------------

    def _await(self, item: Any) -> None:
        """Wait for the answer to a request. Raises SerialException when it does not come."""
        with self._news:
            answered = self._news.wait_for(lambda: item.state != rfc2217.REQUESTED or self._lost, self._network_timeout)
        if not answered or self._lost:
            raise serial.SerialException(f"the port server did not answer a change of {item.name}")
        if item.state == rfc2217.REALLY_INACTIVE:
            raise serial.SerialException(f"the port server refused a change of {item.name}")

    def rfc2217_set_control(self, value: bytes) -> None:
        item = self._rfc2217_options["control"]
        item.set(value)
        if self._ignore_set_control_answer:
            time.sleep(0.1)
        else:
            self._await(item)

    def rfc2217_send_purge(self, value: bytes) -> None:
        item = self._rfc2217_options["purge"]
        item.set(value)
        self._await(item)

    def _telnet_process_subnegotiation(self, suboption: bytes) -> None:
        super()._telnet_process_subnegotiation(suboption)
        with self._news:
            self._news.notify_all()

    # -- data ------------------------------------------------------------------------------------

    @property
    def in_waiting(self) -> int:
        if not self.is_open:
            raise serial.PortNotOpenError
        return len(self._received)

    def read(self, size: int = 1) -> bytes:
        if not self.is_open:
            raise serial.PortNotOpenError
        with self._news:
            self._news.wait_for(lambda: len(self._received) >= size or self._lost, self._timeout)
            if self._lost and not self._received:
                raise serial.SerialException("the connection to the port server is gone")
            data = bytes(self._received[:size])
            del self._received[:size]
            return data

    def reset_input_buffer(self) -> None:
        if not self.is_open:
            raise serial.PortNotOpenError
        self.rfc2217_send_purge(rfc2217.PURGE_RECEIVE_BUFFER)
        with self._news:
            self._received.clear()

    def _telnet_read_loop(self) -> None:
        """Bulk version of pyserial's byte-wise loop."""
        rest = b""
        while self.is_open:
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                continue
            except (OSError, AttributeError):
                break
            if not data:
                break
            rest = self._consume(rest + data)
        with self._news:
            self._lost = True
            self._news.notify_all()

    def _consume(self, data: bytes) -> bytes:
        """Take everything complete out of ``data``; returns the incomplete rest."""
        at = 0
        while True:
            mark = data.find(b"\xff", at)
            plain = data[at:] if mark < 0 else data[at:mark]
            if plain:
                self._deliver(plain)
            if mark < 0:
                return b""
            verb = data[mark + 1 : mark + 2]
            if verb == rfc2217.IAC:
                self._deliver(b"\xff")
                at = mark + 2
            elif verb in (rfc2217.DO, rfc2217.DONT, rfc2217.WILL, rfc2217.WONT):
                if mark + 2 >= len(data):
                    return data[mark:]
                self._telnet_negotiate_option(verb, data[mark + 2 : mark + 3])
                at = mark + 3
            elif verb == rfc2217.SB:
                end = data.find(b"\xff\xf0", mark + 2)
                if end < 0:
                    return data[mark:] if len(data) - mark < 256 else b""
                self._telnet_process_subnegotiation(data[mark + 2 : end].replace(b"\xff\xff", b"\xff"))
                at = end + 2
            elif not verb:
                return data[mark:]
            else:
                at = mark + 2

    def _deliver(self, data: bytes) -> None:
        with self._news:
            self._received += data
            self._news.notify_all()
