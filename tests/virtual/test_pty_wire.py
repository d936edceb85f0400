"""The virtual board's pseudo-terminal."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from harness.virtual import pty as pty_module
from harness.virtual.pty import PtyWire
from harness.virtual.serial_chip import Wire


class Board:
    """Stands for the chip: echoes, and notes when a client left."""

    def __init__(self) -> None:
        self.wires: list[Wire] = []
        self.left = threading.Event()

    def press_buttons_for_sync(self, data: bytes) -> bool:
        return False

    def receive(self, data: bytes, wire: Wire) -> None:
        wire.send(data)

    def leave_download(self) -> None:
        self.left.set()


Served = tuple[Board, PtyWire, Path]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    board, link = Board(), tmp_path / "deep" / "b.tty"
    wire = PtyWire(board, link)
    yield board, wire, link
    wire.close()


def test_every_byte_passes_both_ways(served: Served) -> None:
    _, wire, link = served
    everything = bytes(range(256)) * 3
    with serial.Serial(str(link), 115200, timeout=5) as port:
        port.write(everything)
        assert port.read(len(everything)) == everything
    assert wire.baud is None


def test_the_last_close_is_noticed_and_the_next_open_works(served: Served) -> None:
    board, _, link = served
    for _ in range(2):
        board.left.clear()
        with serial.Serial(str(link), timeout=5) as port:
            port.write(b"x")
            assert port.read(1) == b"x"
        assert board.left.wait(5)


def test_what_nobody_hears_is_lost_at_once(served: Served) -> None:
    _, wire, link = served
    started = time.monotonic()
    wire.send(bytes(1 << 20))
    assert time.monotonic() - started < 1
    with serial.Serial(str(link), timeout=5) as port:
        port.write(b"now")
        assert port.read(3) == b"now"


def test_a_reader_that_does_not_read_delays_the_board_once(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other wires must go on: waiting again for each line printed would stop the board."""
    monkeypatch.setattr(pty_module, "_SEND_TIMEOUT", 0.2)
    _, wire, link = served
    with serial.Serial(str(link), timeout=5) as port:
        started = time.monotonic()
        for _ in range(40):
            wire.send(bytes(8192))
        assert time.monotonic() - started < 1
        port.timeout = 0.05
        while port.read(4096):
            pass
        port.timeout = 5
        port.write(b"heard again")
        assert port.read(11) == b"heard again"


def test_closing_removes_the_path_and_the_wire(served: Served) -> None:
    board, wire, link = served
    assert str(link.readlink()) == wire.path
    wire.close()
    assert not link.is_symlink()
    assert board.wires == []
    wire.send(b"nothing happens")
