"""A quick client of RFC 2217 ports.

pyserial's own client renegotiates all settings at each assignment of a timeout, and waits for each answer
in steps of 50 ms: identifying a chip takes it more than 20 s. This one sends what has changed, waits by
event, reads in bulk and honours ``write_timeout``. The telnet options, the URL and the modem lines are
pyserial's, so it is a port for whoever wants one.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import Any

import serial
from serial import rfc2217
from serial.serialutil import Timeout

from harness.link.deadline import Deadline

# The inherited state is private to pyserial and has no types.
_PyserialClient: Any = rfc2217.Serial

#: Received and not read yet, in bytes: beyond this the server has to wait (TCP holds it back).
RECEIVE_LIMIT = 4 * 1024 * 1024
#: Longer than any subnegotiation of RFC 2217, in bytes.
_SUBNEGOTIATION_LIMIT = 256

#: The changes of DTR and RTS, among all that SET-CONTROL is for (RFC 2217, section 2).
_LINES = (
    rfc2217.SET_CONTROL_DTR_ON, rfc2217.SET_CONTROL_DTR_OFF, rfc2217.SET_CONTROL_RTS_ON, rfc2217.SET_CONTROL_RTS_OFF
)  # fmt: skip
#: Addresses whose server was silent about them, in this process.
_SILENT_ABOUT_LINES: set[str] = set()
#: How long one that was silent before may take to answer, in seconds.
_KNOWN_SILENT = 0.5
#: How long a server may take for all that is settled when a port is opened, in seconds.
_OPENING = 12.0


class QuickRfc2217(_PyserialClient):  # type: ignore[misc]
    """``serial_for_url("rfc2217://…")`` without the waiting."""

    is_open: bool
    _socket: Any
    _thread: Any
    _network_timeout: float

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._news = threading.Condition()
        self._received = bytearray()
        self._lost = False
        self._opening: Deadline | None = None
        self._awaiting = 0
        self._flow: bytes | None = None
        self._settings: dict[str, Any] = {}
        #: Whether the server answers a change of DTR and RTS. What it serves may have none: a pseudo-terminal, a USB
        #: device of a kind. ser2net then says nothing at all.
        self.lines_answered = True
        super().__init__(*args, **kwargs)

    # -- opening ---------------------------------------------------------------------------------

    def open(self) -> None:
        """Connect and negotiate. The lines go straight to the levels assigned before; RTS is never alone."""
        if self._port is None or self.is_open:
            raise serial.SerialException("the port is open already, or has no address")
        # What from_url() may change, and what the inherited methods expect to find.
        self.logger = None
        self._ignore_set_control_answer = self._poll_modem_state = self._remote_suspend_flow = False
        self._network_timeout = 3
        self._opening = Deadline(_OPENING)
        self._linestate, self._modemstate = 0, None
        self._modemstate_timeout = Timeout(-1)
        self._write_lock = threading.Lock()
        self._received.clear()
        self._lost, self._awaiting, self._flow = False, 0, None
        self.lines_answered = True
        self._make_options()
        try:
            self._socket = socket.create_connection(self.from_url(self.portstr), timeout=5)
        except OSError as problem:
            self._socket = None
            raise serial.SerialException(problem.errno, f"could not open port {self.portstr}: {problem}") from None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.is_open = True
        self._thread = threading.Thread(target=self._telnet_read_loop, name="rfc2217 reader", daemon=True)
        self._thread.start()
        try:
            self._negotiate()
        except BaseException:
            self.close()
            raise

    def _make_options(self) -> None:
        def we(name: str, option: bytes, state: str) -> Any:
            return rfc2217.TelnetOption(self, name, option, rfc2217.WILL, rfc2217.WONT, rfc2217.DO, rfc2217.DONT, state)

        def they(name: str, option: bytes, state: str) -> Any:
            return rfc2217.TelnetOption(self, name, option, rfc2217.DO, rfc2217.DONT, rfc2217.WILL, rfc2217.WONT, state)

        asked, silent = rfc2217.REQUESTED, rfc2217.INACTIVE
        self._com_port_option = we("we-RFC2217", rfc2217.COM_PORT_OPTION, asked)
        self._telnet_options = [
            they("ECHO", rfc2217.ECHO, asked),
            we("we-SGA", rfc2217.SGA, asked),
            they("they-SGA", rfc2217.SGA, asked),
            they("they-BINARY", rfc2217.BINARY, silent),
            they("they-RFC2217", rfc2217.COM_PORT_OPTION, asked),
            we("we-BINARY", rfc2217.BINARY, silent),
            self._com_port_option,
        ]

        def item(name: str, request: bytes, answer: bytes) -> Any:
            made = rfc2217.TelnetSubnegotiation(self, name, request, answer)
            made.value = b""  # an answer that nobody asked for is compared with it
            return made

        self._settings = {
            "baudrate": item("baud rate", rfc2217.SET_BAUDRATE, rfc2217.SERVER_SET_BAUDRATE),
            "datasize": item("data size", rfc2217.SET_DATASIZE, rfc2217.SERVER_SET_DATASIZE),
            "parity": item("parity", rfc2217.SET_PARITY, rfc2217.SERVER_SET_PARITY),
            "stopsize": item("stop bits", rfc2217.SET_STOPSIZE, rfc2217.SERVER_SET_STOPSIZE),
        }
        self._rfc2217_options = {
            **self._settings,
            "purge": item("purge", rfc2217.PURGE_DATA, rfc2217.SERVER_PURGE_DATA),
            "control": item("DTR, RTS or flow control", rfc2217.SET_CONTROL, rfc2217.SERVER_SET_CONTROL),
        }

    def _negotiate(self) -> None:
        for option in self._telnet_options:
            if option.state is rfc2217.REQUESTED:
                self.telnet_send_option(option.send_yes, option.option)
        with self._news:
            self._news.wait_for(lambda: self._com_port_option.active or self._lost, self._patience())
        if not self._com_port_option.active:
            what = "closed the connection" if self._lost else "does not seem to support RFC 2217"
            raise serial.SerialException(f"the port server {what}")
        self._reconfigure_port()
        lines = [self._update_dtr_state, self._update_rts_state]
        self._set_first(lines if self._rts_state else lines[::-1])
        self.reset_input_buffer()
        self.reset_output_buffer()
        self._opening = None

    def _set_first(self, lines: list[Any]) -> None:
        """Bring the lines to their levels, or find out that the server answers no such change: it is asked twice."""
        known = self.portstr in _SILENT_ABOUT_LINES
        usual = self._network_timeout
        self._network_timeout = min(usual, _KNOWN_SILENT) if known else usual
        for _ in range(1 if known else 2):
            try:
                for update in lines:
                    update()
                _SILENT_ABOUT_LINES.discard(self.portstr)
                break
            except serial.SerialException:
                if self._lost:
                    raise
        else:
            self.lines_answered = False
            _SILENT_ABOUT_LINES.add(self.portstr)
        self._network_timeout = usual

    def _patience(self) -> float:
        """Seconds for the next answer: while the port is opened, all of them share one end."""
        return self._network_timeout if self._opening is None else min(self._network_timeout, self._opening.left)

    def close(self) -> None:
        self.is_open = False
        with self._news:
            self._news.notify_all()
        connection, self._socket = self._socket, None
        if connection:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(2)

    def _reconfigure_port(self) -> None:
        """Send the settings that have changed, all at once, and wait for the answers."""
        if self._socket is None:
            raise serial.PortNotOpenError
        wanted = {
            "baudrate": self._baudrate.to_bytes(4, "big"),
            "datasize": bytes([self._bytesize]),
            "parity": bytes([rfc2217.RFC2217_PARITY_MAP[self._parity]]),
            "stopsize": bytes([rfc2217.RFC2217_STOPBIT_MAP[self._stopbits]]),
        }
        changed = [name for name, value in wanted.items() if self._settings[name].value != value]
        for name in changed:
            self._settings[name].set(wanted[name])
        for name in changed:
            self._await(self._settings[name])
        flow = rfc2217.SET_CONTROL_USE_NO_FLOW_CONTROL
        if self._rtscts:
            flow = rfc2217.SET_CONTROL_USE_HW_FLOW_CONTROL
        elif self._xonxoff:
            flow = rfc2217.SET_CONTROL_USE_SW_FLOW_CONTROL
        if flow != self._flow:
            self.rfc2217_set_control(flow)
            self._flow = flow

    # -- answers ---------------------------------------------------------------------------------

    def _await(self, item: Any) -> None:
        """Wait for the answer to a request. Raises SerialException when it does not come."""
        with self._news:
            self._awaiting += 1
            self._news.notify_all()  # a reader held up by a full buffer must look for the answer behind the data
            try:
                answered = self._news.wait_for(lambda: item.state != rfc2217.REQUESTED or self._lost, self._patience())
            finally:
                self._awaiting -= 1
        if item.state == rfc2217.ACTIVE:
            return
        asked, item.value = item.value, b""  # so that the next assignment asks again
        if not answered or self._lost:
            raise serial.SerialException(f"the port server did not answer a change of {item.name}")
        raise serial.SerialException(f"the port server refused to change {item.name} to {asked.hex()}")

    def rfc2217_set_control(self, value: bytes) -> None:
        if value in _LINES and not self.lines_answered:
            return  # asked once, when the port was opened
        item = self._rfc2217_options["control"]
        item.set(value)
        if self._ignore_set_control_answer:
            time.sleep(0.1)  # such a server acts in its own time and says nothing
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

    def _telnet_negotiate_option(self, command: bytes, option: bytes) -> None:
        super()._telnet_negotiate_option(command, option)
        with self._news:
            self._news.notify_all()

    # -- data ------------------------------------------------------------------------------------

    @property
    def in_waiting(self) -> int:
        if not self.is_open:
            raise serial.PortNotOpenError
        if self._lost and not self._received:
            raise serial.SerialException("the connection to the port server is gone")
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
            self._news.notify_all()
            return data

    def write(self, data: bytes) -> int:
        """Raises SerialTimeoutException when the server does not take it all within ``write_timeout``."""
        if not self.is_open:
            raise serial.PortNotOpenError
        left = memoryview(bytes(data).replace(rfc2217.IAC, rfc2217.IAC_DOUBLED))
        end = None if self._write_timeout is None else time.monotonic() + self._write_timeout
        with self._write_lock:
            try:
                poll = select.poll()
                poll.register(self._socket, select.POLLOUT)
                while left:
                    wait = None if end is None else max(0.0, end - time.monotonic()) * 1000
                    if not poll.poll(wait):
                        raise serial.SerialTimeoutException("the port server takes no more data")
                    left = left[self._socket.send(left) :]
            except (OSError, AttributeError) as problem:
                if isinstance(problem, serial.SerialException):
                    raise
                raise serial.SerialException(f"the connection to the port server is gone: {problem}") from None
        return len(data)

    def reset_input_buffer(self) -> None:
        if not self.is_open:
            raise serial.PortNotOpenError
        self.rfc2217_send_purge(rfc2217.PURGE_RECEIVE_BUFFER)
        with self._news:
            self._received.clear()
            self._news.notify_all()

    def _telnet_read_loop(self) -> None:
        """Bulk version of pyserial's byte-wise loop."""
        connection = self._socket
        rest = b""
        while self.is_open:
            try:
                data = connection.recv(65536)
                if not data:
                    break
                rest = self._consume(rest + data)
            except TimeoutError:
                continue
            except (OSError, AttributeError):  # closed under us
                break
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
                end = _subnegotiation_end(data, mark + 2)
                if end < 0:
                    if len(data) - mark < _SUBNEGOTIATION_LIMIT:
                        return data[mark:]
                    at = mark + 2  # not one at all
                    continue
                self._telnet_process_subnegotiation(data[mark + 2 : end].replace(b"\xff\xff", b"\xff"))
                at = end + 2
            elif not verb:
                return data[mark:]
            else:
                at = mark + 2

    def _deliver(self, data: bytes) -> None:
        with self._news:
            self._news.wait_for(lambda: len(self._received) < RECEIVE_LIMIT or self._awaiting or not self.is_open)
            if len(self._received) < RECEIVE_LIMIT:  # else an answer is sought behind more data than anybody reads
                self._received += data
                self._news.notify_all()


def _subnegotiation_end(data: bytes, start: int) -> int:
    """Where IAC SE stands, looking over doubled IACs; -1 when it has not come yet."""
    at = start
    while (at := data.find(b"\xff", at)) >= 0:
        if data[at + 1 : at + 2] == rfc2217.SE:
            return at
        at += 2
    return -1
