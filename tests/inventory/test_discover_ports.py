"""From identity to port: exactly one, or a message that lists what is plugged in."""

from __future__ import annotations

import pytest
from serial.tools import list_ports
from serial.tools.list_ports_common import ListPortInfo

from harness.errors import BenchFault
from harness.inventory import discover
from harness.inventory.discover import own_serial
from harness.inventory.model import Board, Identity, Virtual


def info(device: str, serial: str | None, location: str | None, vid: int | None, pid: int | None) -> ListPortInfo:
    port = ListPortInfo(device, skip_link_detection=True)
    port.serial_number, port.location, port.vid, port.pid = serial, location, vid, pid
    port.description = "adapter \x1b[31m"
    return port


@pytest.fixture(autouse=True)
def plugged(monkeypatch: pytest.MonkeyPatch) -> list[ListPortInfo]:
    ports = [
        info("/dev/ttyUSB1", "0001", "1-1.2", 0x10C4, 0xEA60),
        info("/dev/ttyUSB0", "0001", "1-1.3:1.0", 0x10C4, 0xEA60),
        info("/dev/ttyUSB2", None, "1-2", 0x1A86, 0x7523),
        info("/dev/ttyS0", None, None, None, None),
    ]
    monkeypatch.setattr(list_ports, "comports", lambda: ports)
    return ports


def board(**identity: str) -> Board:
    return Board(id="b", chip="esp32", runtime="micropython", identity=Identity.model_validate(identity))


@pytest.mark.parametrize(
    ("identity", "device"),
    [
        ({"usb_location": "1-1.2"}, "/dev/ttyUSB1"),
        ({"usb_location": "1-1.3", "usb_serial": "0001"}, "/dev/ttyUSB0"),
        ({"usb_location": "1-1.3:1.0"}, "/dev/ttyUSB0"),
        ({"vid_pid": "1a86:7523"}, "/dev/ttyUSB2"),
        ({"vid_pid": "1a86:7523", "mac": "24:6f:28:00:00:01"}, "/dev/ttyUSB2"),
        ({"url": "rfc2217://localhost:4000"}, "rfc2217://localhost:4000"),
        ({"port": "/dev/pts/3"}, "/dev/pts/3"),
    ],
)
def test_one_port(identity: dict[str, str], device: str) -> None:
    assert discover.find_port(board(**identity)) == device


def test_the_port_is_looked_up_at_each_call(plugged: list[ListPortInfo]) -> None:
    wanted = board(vid_pid="1a86:7523")
    assert discover.find_port(wanted) == "/dev/ttyUSB2"
    plugged[2].device = "/dev/ttyUSB7"
    assert discover.find_port(wanted) == "/dev/ttyUSB7"


def test_none_lists_what_is_plugged_in() -> None:
    with pytest.raises(BenchFault) as caught:
        discover.find_port(board(usb_serial="XYZ", vid_pid="10c4:ea60"))
    text = str(caught.value)
    assert "expected a port with usb_serial XYZ, vid_pid 10c4:ea60; plugged in:" in text
    assert "/dev/ttyUSB1 (serial 0001, location 1-1.2, vid:pid 10c4:ea60; adapter ?[31m)" in text
    assert "/dev/ttyS0 (not a USB port; adapter ?[31m)" in text
    assert "\x1b" not in text


def test_nothing_plugged_in(plugged: list[ListPortInfo]) -> None:
    plugged.clear()
    with pytest.raises(BenchFault, match="plugged in: no serial port at all"):
        discover.find_port(board(usb_serial="XYZ"))


def test_ambiguous() -> None:
    with pytest.raises(BenchFault, match=r"2 ports have usb_serial 0001") as caught:
        discover.find_port(board(usb_serial="0001"))
    assert "add usb_location" in str(caught.value)
    assert "ttyUSB2" not in str(caught.value)


def test_a_mac_alone_says_nothing_about_ports() -> None:
    mac_only = board(mac="24:6f:28:00:00:01")
    with pytest.raises(BenchFault, match="MAC or UID alone"):
        discover.find_port(mac_only)
    assert [p.device for p in discover.candidates(mac_only)] == [
        "/dev/ttyUSB0",
        "/dev/ttyUSB1",
        "/dev/ttyUSB2",
    ]


def test_virtual_boards_have_no_port_here() -> None:
    virtual = Board(id="v", chip="esp32", runtime="micropython", virtual=Virtual())
    with pytest.raises(BenchFault, match="harness virtual up"):
        discover.find_port(virtual)
    assert discover.candidates(virtual) == []


@pytest.mark.parametrize(
    ("serial", "own"),
    [
        *((text, False) for text in ("", "0", "0001", "00000000", "FFFFFFFF", "ffff", "1111", "12345678", "123456789")),
        *((text, False) for text in ("1234567890", "0123456789ABCDEF", "0123456789", "00:00:00:00:00:00")),
        *((text, True) for text in ("A50285BI", "e6614103e7452d2f", "0667FF53", "24587cd3e810", "12", "87654321")),
    ],
)
def test_the_serial_numbers_that_cloned_adapters_share_are_nobodys_own(serial: str, own: bool) -> None:
    assert own_serial(serial) is own
    assert own_serial(None) is False
