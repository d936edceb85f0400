"""The virtual board's serial port over TCP: RFC 2217, so that DTR, RTS and the baud rate reach the chip.

One client at a time. Each request is acknowledged at once and in order, so that a client loses no time
waiting; data is not paced.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from typing import Protocol

from harness.virtual.serial_chip import Wire

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
_BINARY, _ECHO, _SUPPRESS_GO_AHEAD, _COM_PORT = 0, 1, 3, 44
_OPTIONS = {_BINARY, _ECHO, _SUPPRESS_GO_AHEAD, _COM_PORT}
_SET_BAUDRATE, _SET_PARITY, _SET_CONTROL, _LAST_REQUEST, _NOTIFY_MODEMSTATE = 1, 3, 5, 12, 107
_PARITIES = {1: "N", 2: "O", 3: "E"}
_CTS_DSR_CD = 0xB0
_SUBNEGOTIATION_LIMIT = 64
_SEND_TIMEOUT = 5.0
#: Seconds in which the end of a connection that was closed is surely noticed.
_CLOSE_NOTICED = 0.3


class LineChip(Protocol):
    """What a connection asks of the chip behind it."""

    wires: list[Wire]

    def set_lines(self, *, dtr: bool, rts: bool) -> None: ...
    def release_lines(self) -> None: ...
    def receive(self, data: bytes, wire: Wire) -> None: ...


class Rfc2217Server:
    """Serves ``chip`` on 127.0.0.1. Raises OSError when the port is taken."""

    def __init__(self, chip: LineChip, port: int = 0) -> None:
        self._chip = chip
        self._listener = socket.create_server(("127.0.0.1", port))
        self._port = int(self._listener.getsockname()[1])
        self._client: _Client | None = None
        self._closing = False
        threading.Thread(target=self._accept, args=(self._listener,), name="rfc2217", daemon=True).start()

    @property
    def url(self) -> str:
        return f"rfc2217://127.0.0.1:{self._port}"

    def close(self) -> None:
        self._closing = True
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        if self._client is not None:
            self._client.close()

    def vanish(self) -> None:
        """Unplug the port: its client is cut off and nothing listens any more."""
        self.close()
        if self._client is not None:
            self._client.finished.wait(_CLOSE_NOTICED)

    def appear(self, port: int) -> None:
        """Plug it in again, at ``port`` (0: at another one); nothing happens when it is. Raises OSError when that is
        taken."""
        if not self._closing:
            return
        self._listener = socket.create_server(("127.0.0.1", port))
        self._port = int(self._listener.getsockname()[1])
        self._closing = False
        threading.Thread(target=self._accept, args=(self._listener,), name="rfc2217", daemon=True).start()

    @property
    def port(self) -> int:
        """The TCP port it listens at; while it is unplugged the one that it had."""
        return self._port

    def _accept(self, listener: socket.socket) -> None:
        while not self._closing:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            # A client that closes and opens again at once is not a second one: the end of its first
            # connection may still be on its way, and its lines must be released before it sets new ones.
            if self._client is not None and not self._client.finished.wait(_CLOSE_NOTICED):
                connection.close()  # the port is in use, as a local one would be
                continue
            self._client = _Client(self._chip, connection)


class _Client:
    """One connection; also the wire that the chip talks to."""

    def __init__(self, chip: LineChip, connection: socket.socket) -> None:
        self._chip = chip
        self._socket = connection
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seconds, fraction = int(_SEND_TIMEOUT), 0
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", seconds, fraction))
        self._sending = threading.Lock()
        self._parser = _Parser()
        self._answered: set[tuple[int, int]] = set()
        self._baud = 115200
        self._settings = {2: 8, 3: 1, 4: 1}
        self._dtr = self._rts = False
        self.alive = True
        self.finished = threading.Event()
        chip.wires.append(self)
        threading.Thread(target=self._serve, name="rfc2217-client", daemon=True).start()

    @property
    def baud(self) -> int | None:
        return self._baud

    @property
    def parity(self) -> str:
        return _PARITIES.get(self._settings[_SET_PARITY], "N")

    def send(self, data: bytes) -> None:
        self._write(data.replace(b"\xff", b"\xff\xff"))

    def close(self) -> None:
        self.alive = False
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def _write(self, data: bytes) -> None:
        if not data or not self.alive:
            return
        with self._sending:
            try:
                self._socket.sendall(data)
            except OSError:  # gone, or it does not read: then its data is lost, as on a UART
                self.close()

    def _serve(self) -> None:
        try:
            while self.alive:
                data = self._socket.recv(65536)
                if not data:
                    break
                for kind, content in self._parser.feed(data):
                    if kind == "data":
                        self._chip.receive(content, self)
                    elif kind == "option":
                        self._option(content[0], content[1])
                    else:
                        self._com_port(content)
        except OSError:
            pass
        finally:
            self.alive = False
            if self in self._chip.wires:
                self._chip.wires.remove(self)
            try:
                self._chip.release_lines()
            finally:
                self._socket.close()
                self.finished.set()

    def _option(self, verb: int, option: int) -> None:
        """Agree to what this port can do; each request is answered once, so that no loop can start."""
        if (verb, option) in self._answered:
            return
        self._answered.add((verb, option))
        known = option in _OPTIONS
        if verb == DO:
            self._write(bytes([IAC, WILL if known else WONT, option]))
        elif verb == WILL:
            self._write(bytes([IAC, DO if known else DONT, option]))
        if option == _COM_PORT and verb == WILL:
            self._reply(_NOTIFY_MODEMSTATE, bytes([_CTS_DSR_CD]))

    def _reply(self, code: int, value: bytes) -> None:
        body = value.replace(b"\xff", b"\xff\xff")
        self._write(bytes([IAC, SB, _COM_PORT, code]) + body + bytes([IAC, SE]))

    def _com_port(self, body: bytes) -> None:
        if len(body) < 3 or body[0] != _COM_PORT:
            return
        code, value = body[1], body[2:]
        if code > _LAST_REQUEST:
            return
        if code == _SET_BAUDRATE and len(value) == 4:
            wanted = int.from_bytes(value, "big")
            if wanted:
                self._baud = wanted
            value = self._baud.to_bytes(4, "big")
        elif code in self._settings:
            if value[0]:
                self._settings[code] = value[0]
            value = bytes([self._settings[code]])
        elif code == _SET_CONTROL:
            value = bytes([self._control(value[0])])
        self._reply(code + 100, value)

    def _control(self, value: int) -> int:
        """SET-CONTROL (RFC 2217, section 3): only DTR and RTS do anything here."""
        if value in (8, 9):
            self._dtr = value == 8
        elif value in (11, 12):
            self._rts = value == 11
        elif value == 7:
            return 8 if self._dtr else 9
        elif value == 10:
            return 11 if self._rts else 12
        elif value in (0, 1, 2, 3):
            return 1
        else:
            return value
        self._chip.set_lines(dtr=self._dtr, rts=self._rts)
        return value


class _Parser:
    """Telnet: splits a stream into data, options and subnegotiations."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[str, bytes]]:
        """Events in order: ("data", bytes), ("option", verb + option), ("sub", body)."""
        data = self._rest + data
        events: list[tuple[str, bytes]] = []
        at = 0
        plain = bytearray()
        while True:
            mark = data.find(b"\xff", at)
            plain += data[at:] if mark < 0 else data[at:mark]
            if mark < 0:
                self._rest = b""
                break
            used = self._command(data, mark, plain, events)
            if used == 0:  # not complete yet
                self._rest = data[mark:]
                break
            at = mark + used
        if plain:
            events.append(("data", bytes(plain)))
        return events

    def _command(self, data: bytes, at: int, plain: bytearray, events: list[tuple[str, bytes]]) -> int:
        """Handle the IAC at ``at``; returns how many bytes it took, 0 when more are needed."""
        if at + 1 >= len(data):
            return 0
        verb = data[at + 1]
        if verb == IAC:
            plain.append(IAC)
            return 2
        if verb in (DO, DONT, WILL, WONT):
            if at + 2 >= len(data):
                return 0
            self._flush(plain, events)
            events.append(("option", data[at + 1 : at + 3]))
            return 3
        if verb != SB:
            return 2
        end = data.find(b"\xff\xf0", at + 2)
        while end >= 0 and _escaped(data, at + 2, end):
            end = data.find(b"\xff\xf0", end + 1)
        if end < 0:
            return 2 if len(data) - at > _SUBNEGOTIATION_LIMIT else 0  # an endless one is given up
        self._flush(plain, events)
        events.append(("sub", data[at + 2 : end].replace(b"\xff\xff", b"\xff")))
        return end + 2 - at

    @staticmethod
    def _flush(plain: bytearray, events: list[tuple[str, bytes]]) -> None:
        if plain:
            events.append(("data", bytes(plain)))
            plain.clear()


def _escaped(data: bytes, start: int, at: int) -> bool:
    """Whether the 0xFF at ``at`` is the second half of a doubled one."""
    count = 0
    while at - 1 - count >= start and data[at - 1 - count] == IAC:
        count += 1
    return count % 2 == 1
