"""The virtual board's RFC 2217 port: pyserial as client, and clients that do not behave."""

import socket
from collections.abc import Iterator

import pytest
import serial
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.virtual.rfc2217_server import Rfc2217Server, _Parser
from harness.virtual.serial_chip import Wire


class Board:
    """Stands for the chip: keeps what reaches it, and echoes."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.lines: list[tuple[bool, bool]] = []
        self.bauds: list[int | None] = []

    def release_lines(self) -> None:
        self.set_lines(dtr=False, rts=False)

    def set_lines(self, *, dtr: bool, rts: bool) -> None:
        self.lines.append((dtr, rts))

    def receive(self, data: bytes, wire: Wire) -> None:
        self.bauds.append(wire.baud)
        wire.send(data)


Served = tuple[Board, str, int]


@pytest.fixture
def served() -> Iterator[Served]:
    board = Board()
    server = Rfc2217Server(board)
    yield board, server.url, int(server.url.rsplit(":", 1)[1])
    server.close()


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), 5)
    connection.settimeout(5)
    return connection


def read(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def test_every_byte_passes_both_ways_at_the_clients_rate(served: Served) -> None:
    board, url, _ = served
    everything = bytes(range(256)) * 3
    with serial.serial_for_url(url, baudrate=921600, timeout=5) as port:
        port.write(everything)
        assert port.read(len(everything)) == everything
    assert set(board.bauds) == {921600}


def test_lines_reach_the_board_in_order_and_are_released_together(served: Served) -> None:
    board, url, port_number = served
    port = serial.serial_for_url(url, timeout=5)
    board.lines.clear()
    port.dtr = False
    port.rts = True
    port.dtr = True
    assert board.lines == [(False, True), (False, True), (True, True)]
    port.close()
    with connect(port_number) as again:  # let in only when the first client is cleaned up
        again.sendall(b"x")
        assert read(again, 1) == b"x"
    assert board.lines[3] == (False, False)


def test_a_second_client_is_refused_and_the_first_undisturbed(served: Served) -> None:
    _, _, port = served
    with connect(port) as first:
        first.sendall(b"one")
        assert read(first, 3) == b"one"
        with connect(port) as second:
            assert second.recv(1) == b""
        first.sendall(b"two")
        assert read(first, 3) == b"two"


def test_a_client_that_opens_again_at_once_is_let_in(served: Served) -> None:
    _, _, port = served
    for _ in range(50):
        with connect(port) as client:
            client.sendall(b"?")
            assert read(client, 1) == b"?"


def test_settings_are_acknowledged_with_the_value_in_force(served: Served) -> None:
    _, _, port = served
    with connect(port) as client:
        client.sendall(b"\xff\xfa\x2c\x01" + (460800).to_bytes(4, "big") + b"\xff\xf0")
        assert read(client, 10) == b"\xff\xfa\x2c\x65" + (460800).to_bytes(4, "big") + b"\xff\xf0"
        client.sendall(b"\xff\xfa\x2c\x01\0\0\0\0\xff\xf0")  # 0 asks
        assert read(client, 10)[4:8] == (460800).to_bytes(4, "big")
        client.sendall(b"\xff\xfa\x2c\x05\x08\xff\xf0\xff\xfa\x2c\x05\x07\xff\xf0")  # DTR on; ask for DTR
        assert read(client, 14) == b"\xff\xfa\x2c\x69\x08\xff\xf0" * 2


@pytest.mark.parametrize("code", [13, 155, 156, 200, 255])
def test_an_unknown_request_is_passed_over(served: Served, code: int) -> None:
    _, _, port = served
    with connect(port) as client:
        value = b"\xff\xff" if code == 255 else bytes([code])
        client.sendall(b"\xff\xfa\x2c" + value + b"\x01\xff\xf0" + b"alive")
        assert read(client, 5) == b"alive"


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([b"\xff\xfa\x2c", b"\xff\xf0", b"\xff"]))))
def test_no_telnet_stream_ends_the_server(served: Served, pieces: list[bytes]) -> None:
    _, _, port = served
    with connect(port) as client:
        client.sendall(b"".join(pieces))
    with connect(port) as client:
        client.sendall(b"well")
        assert read(client, 4) == b"well"


@given(st.binary(max_size=300), st.integers(1, 20))
def test_plain_data_is_the_same_however_it_is_cut(data: bytes, cut: int) -> None:
    stream = b"\xff\xfb\x2c" + data.replace(b"\xff", b"\xff\xff") + b"\xff\xfa\x2c\x05\x08\xff\xf0"
    parser = _Parser()
    events = [e for at in range(0, len(stream), cut) for e in parser.feed(stream[at : at + cut])]
    assert b"".join(content for kind, content in events if kind == "data") == data
    assert [e for e in events if e[0] != "data"] == [("option", b"\xfb\x2c"), ("sub", b"\x2c\x05\x08")]


@given(st.lists(st.binary(max_size=200), max_size=40))
def test_the_parser_keeps_little(chunks: list[bytes]) -> None:
    parser = _Parser()
    parser.feed(b"\xff\xfa\x2c")
    for chunk in chunks:
        parser.feed(chunk)
        assert len(parser._rest) <= 300
