"""The RFC 2217 client against a scripted port server."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import serial
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault
from harness.link import rfc2217
from harness.link.ports import no_reset_lines, open_port, set_lines
from harness.link.rfc2217 import QuickRfc2217
from harness.link.session import Reason, Session

BAUD, CONTROL, PURGE = 1, 5, 12
DTR_ON, DTR_OFF, RTS_ON, RTS_OFF = 8, 9, 11, 12


class PortServer:
    """Acknowledges what ``answer`` lets it; writes down the requests and the data."""

    def __init__(self, answer: Callable[[int, bytes], bytes | None] = lambda code, value: value) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.requests: list[tuple[int, bytes]] = []
        self.data = b""
        self.got = threading.Condition()
        self.reading = threading.Event()
        self.reading.set()
        self.connection: socket.socket | None = None
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def url(self) -> str:
        return f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}?timeout=0.3"

    def controls(self) -> list[int]:
        return [value[0] for code, value in self.requests if code == CONTROL]

    def send(self, data: bytes) -> None:
        assert self.connection is not None
        self.connection.sendall(data)

    def close(self) -> None:
        self.reading.set()
        for each in (self.connection, self._listener):
            if each is not None:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
                each.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            connection, _ = self._listener.accept()
            self.connection = connection
            rest = b""
            while data := connection.recv(4096):
                rest = self._handle(rest + data)
                self.reading.wait()

    def _handle(self, data: bytes) -> bytes:
        while data:
            if data[0] != 255:
                plain, mark, after = data.partition(b"\xff")
                self._store(plain)
                data = mark + after
            elif len(data) < 3 and data[1:] != b"\xff":
                return data
            elif data[1] == 255:
                self._store(b"\xff")
                data = data[2:]
            elif data[1] == 250:
                body, end, after = data.partition(b"\xff\xf0")
                if not end:
                    return data
                self._request(body[3], body[4:].replace(b"\xff\xff", b"\xff"))
                data = after
            else:
                if data[1:3] == b"\xfb\x2c":  # WILL COM-PORT
                    self.send(b"\xff\xfd\x2c")
                data = data[3:]
        return b""

    def _store(self, data: bytes) -> None:
        with self.got:
            self.data += data
            self.got.notify_all()

    def _request(self, code: int, value: bytes) -> None:
        self.requests.append((code, value))
        answer = self._answer(code, value)
        if answer is not None:
            self.send(b"\xff\xfa\x2c" + bytes([code + 100]) + answer.replace(b"\xff", b"\xff\xff") + b"\xff\xf0")


@pytest.fixture
def server() -> Iterator[PortServer]:
    made = PortServer()
    yield made
    made.close()


def test_opening_never_asserts_rts_alone_and_takes_no_time(server: PortServer) -> None:
    started = time.monotonic()
    port = open_port(server.url, baud=74880)
    assert time.monotonic() - started < 0.5
    assert server.controls() == [1, RTS_OFF, DTR_OFF]
    assert (BAUD, (74880).to_bytes(4, "big")) in server.requests
    port.close()


def test_what_has_not_changed_is_not_negotiated(server: PortServer) -> None:
    port = open_port(server.url)
    before = len(server.requests)
    for timeout in (0, 0.5, 3, None, 0.1):
        port.timeout = timeout
    port.write_timeout = 10
    port.baudrate = 115200
    assert len(server.requests) == before
    port.baudrate = 460800
    assert server.requests[before:] == [(BAUD, (460800).to_bytes(4, "big"))]
    port.close()


def test_lines_change_in_the_order_asked_for(server: PortServer) -> None:
    port = open_port(server.url)
    before = len(server.controls())
    set_lines(port, dtr=False, rts=True)
    set_lines(port, dtr=True, rts=False)
    set_lines(port, dtr=False, rts=False)
    assert server.controls()[before:] == [DTR_OFF, RTS_ON, RTS_OFF, DTR_ON, RTS_OFF, DTR_OFF]
    port.close()


def test_bytes_of_any_value_go_both_ways(server: PortServer) -> None:
    port = open_port(server.url)
    data = bytes(range(256)) + b"\xff\xff\xf0\xff"
    port.write(data)
    with server.got:
        assert server.got.wait_for(lambda: len(server.data) == len(data), 5)
    assert server.data == data
    server.send(data.replace(b"\xff", b"\xff\xff"))
    port.timeout = 5
    assert port.read(len(data)) == data
    port.close()


def test_a_server_that_refuses_says_what() -> None:
    server = PortServer(lambda code, value: (9600).to_bytes(4, "big") if code == BAUD else value)
    with pytest.raises(BenchFault, match="refused to change baud rate"):
        open_port(server.url)
    server.close()


def test_a_server_that_is_silent_about_lines_gets_a_hint() -> None:
    server = PortServer(lambda code, value: None if code == CONTROL else value)
    with pytest.raises(BenchFault, match="did not answer a change of DTR") as caught:
        open_port(server.url)
    assert "ign_set_control" in str(caught.value)
    server.close()


def test_a_server_whose_port_has_no_lines_is_a_port_without_lines() -> None:
    """As ser2net's, in front of a pseudo-terminal: it answers everything else."""
    lines = [bytes([one]) for one in (DTR_ON, DTR_OFF, RTS_ON, RTS_OFF)]
    server = PortServer(lambda code, value: None if code == CONTROL and value in lines else value)
    port = open_port(server.url)
    assert server.controls().count(DTR_OFF) + server.controls().count(RTS_OFF) == 2, "it is asked twice"
    assert "ign_set_control" in no_reset_lines(port)
    before = len(server.requests)
    set_lines(port, dtr=True, rts=True)
    assert len(server.requests) == before, "and not again at each change"
    port.write(b"hello")
    with server.got:
        assert server.got.wait_for(lambda: server.data == b"hello", 5)
    port.close()
    server.close()


def test_a_server_that_was_late_once_has_lines() -> None:
    late = iter([None])

    def answer(code: int, value: bytes) -> bytes | None:
        return next(late, value) if code == CONTROL and value[0] in (DTR_OFF, RTS_OFF) else value

    server = PortServer(answer)
    port = open_port(server.url)
    assert no_reset_lines(port) == ""
    before = len(server.controls())
    set_lines(port, dtr=True, rts=False)
    assert DTR_ON in server.controls()[before:]
    port.close()
    server.close()


def test_a_request_that_failed_is_made_again() -> None:
    broken = True
    server = PortServer(lambda code, value: None if code == BAUD and value != b"\0\1\xc2\0" and broken else value)
    port = open_port(server.url)
    with pytest.raises(OSError, match="did not answer a change of baud rate"):
        port.baudrate = 9600
    broken = False
    port.baudrate = 19200
    port.baudrate = 9600
    assert [value for code, value in server.requests if code == BAUD][-1] == (9600).to_bytes(4, "big")
    port.close()
    server.close()


def test_a_server_that_hangs_up_is_noticed_at_once() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def hang_up() -> None:
        listener.accept()[0].close()

    threading.Thread(target=hang_up, daemon=True).start()
    started = time.monotonic()
    with pytest.raises(BenchFault, match="closed the connection"):
        open_port(f"rfc2217://127.0.0.1:{listener.getsockname()[1]}")
    assert time.monotonic() - started < 2  # pyserial waits 3 s
    listener.close()


def test_a_connection_that_breaks_ends_a_read(server: PortServer) -> None:
    session = Session(open_port(server.url))
    server.send(b"last words")
    assert session.read_until(b"words", idle=2, deadline=2).ok
    server.close()
    assert session.read_until(b"x", idle=5, deadline=5).reason is Reason.CLOSED
    with pytest.raises(BenchFault, match="did not take"):
        for _ in range(100):
            session.write(b"x" * 4096)


def test_a_server_that_takes_nothing_ends_a_write(server: PortServer) -> None:
    session = Session(open_port(server.url))
    server.reading.clear()
    started = time.monotonic()
    with pytest.raises(BenchFault, match="did not take|took longer"):
        session.write(bytes(50_000_000), deadline=0.3)
    assert time.monotonic() - started < 3
    session.close()


def test_a_flood_that_nobody_reads_is_held_back(server: PortServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfc2217, "RECEIVE_LIMIT", 200_000)
    port: Any = open_port(server.url)

    def flood() -> None:
        with contextlib.suppress(OSError):  # ends when the client closes
            server.send(b"spam" * 5_000_000)

    flooding = threading.Thread(target=flood, daemon=True)
    flooding.start()
    with port._news:
        assert port._news.wait_for(lambda: port.in_waiting >= 200_000, 10)
    flooding.join(0.2)
    assert flooding.is_alive()  # TCP holds the server back
    assert port.in_waiting < 200_000 + 65536
    assert port.read(8) == b"spamspam"
    port.close()
    flooding.join(5)
    assert not flooding.is_alive()


def test_an_answer_is_found_behind_a_flood_that_nobody_reads(
    server: PortServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rfc2217, "RECEIVE_LIMIT", 1000)
    port: Any = open_port(server.url)
    server.send(b"spam" * 100_000)
    port.rts = True
    assert server.controls()[-1] == RTS_ON
    port.close()


@given(
    st.lists(
        st.one_of(st.binary(max_size=40), st.lists(st.sampled_from([0xFF, 0xF0, 0xFA, 1]), min_size=1, max_size=4)),
        max_size=12,
    ),
    st.lists(st.integers(1, 30), max_size=60),
)
def test_any_chunking_gives_the_same_data_and_states(parts: list[bytes | list[int]], sizes: list[int]) -> None:
    """Lists are the bodies of notifications between the data."""
    wire, plain, states = b"", b"", []
    for part in parts:
        if isinstance(part, bytes):
            wire += part.replace(b"\xff", b"\xff\xff")
            plain += part
        else:
            wire += b"\xff\xfa\x2c\x6b" + bytes(part).replace(b"\xff", b"\xff\xff") + b"\xff\xf0"
            states.append(bytes(part))
    port: Any = QuickRfc2217(None)
    seen = []

    def notified(body: bytes) -> None:
        seen.append(body[2:])

    port._telnet_process_subnegotiation = notified
    rest, at = b"", 0
    for size in [*sizes, len(wire)]:
        rest = port._consume(rest + wire[at : at + size])
        at += size
    assert (bytes(port._received), seen, rest) == (plain, states, b"")


@given(st.binary(max_size=600))
def test_hostile_bytes_do_not_end_the_reader(data: bytes) -> None:
    port: Any = QuickRfc2217(None)
    port.logger = None
    port._modemstate_timeout = serial.serialutil.Timeout(-1)
    port._make_options()
    port.telnet_send_option = lambda action, option: None
    port._consume(data)
    port._consume(b"\xff\xfa\x2c" + data[:20] + b"\xff\xf0")
    port._received.clear()
    port._consume(b"\xff\xf0" * 200 + b"still here")  # ends whatever was open
    assert port._received.endswith(b"still here")
