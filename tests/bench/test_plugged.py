"""What is plugged in, read from sysfs trees of three real hubs without opening anything."""

from __future__ import annotations

from pathlib import Path

import pytest
import serial

from harness.bench import plugged
from harness.bench.host_machine import Machine
from harness.bench.plugged import plugged_in
from tests.bench.fake_machines import raspberry_pi, seven_port_hub, stm32_bench


def test_each_port_is_listed_with_its_socket_and_hubs_are_not(tmp_path: Path) -> None:
    seen = plugged_in(raspberry_pi(tmp_path).machine)
    assert [(one.usb_location, one.port, one.what) for one in seen] == [
        ("1-1.2", "/dev/ttyUSB1", "CP210x"),
        ("1-1.3", "/dev/ttyUSB0", "CP210x"),
        ("1-1.4", "/dev/ttyUSB2", "CH340"),
    ]


def test_boards_that_share_a_serial_number_are_told_apart_by_their_socket(tmp_path: Path) -> None:
    first, second, third = plugged_in(raspberry_pi(tmp_path).machine)
    assert (first.shared_serial, second.shared_serial, third.shared_serial) == (True, True, False)
    assert first.identity == {"usb_serial": "0001", "usb_location": "1-1.2", "vid_pid": "10c4:ea60"}
    assert third.identity == {"usb_location": "1-1.4", "vid_pid": "1a86:7523"}  # it has no serial number


def test_a_factory_serial_number_is_not_trusted_even_when_it_is_alone(tmp_path: Path) -> None:
    tree = raspberry_pi(tmp_path)
    tree.unplug("1-1.3")
    alone = plugged_in(tree.machine)[0]
    assert not alone.shared_serial
    assert alone.identity["usb_location"] == "1-1.2"


def test_the_ports_of_one_adapter_are_told_apart_by_their_interface(tmp_path: Path) -> None:
    one, two, s3 = plugged_in(seven_port_hub(tmp_path).machine)
    assert (one.port, one.usb_location, two.usb_location) == ("/dev/ttyUSB4", "3-2.1:1.0", "3-2.1:1.1")
    assert not one.shared_serial
    assert one.identity != two.identity
    assert s3.identity == {"usb_serial": "24587cd3e8100000", "vid_pid": "303a:4001"}  # any socket will do


def test_boot_loaders_and_probes_are_listed_without_a_port(tmp_path: Path) -> None:
    seen = plugged_in(stm32_bench(tmp_path).machine)
    assert [(one.kind, one.port, one.usb_serial) for one in seen] == [
        ("probe", "/dev/ttyACM1", "0667FF535550755187123456"),
        ("probe", "", "3A0010002D135937"),
        ("dfu", "", "377A36753036"),
    ]


def test_nothing_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def opened(*_: object, **__: object) -> None:
        raise AssertionError("a port was opened")

    monkeypatch.setattr(serial.Serial, "open", opened)
    tree = seven_port_hub(tmp_path)
    for port in ("ttyUSB4", "ttyACM0"):
        (tmp_path / "dev" / port).chmod(0)  # reading it would fail
    assert len(plugged_in(tree.machine)) == 3


def test_text_of_descriptors_cannot_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    tree = seven_port_hub(tmp_path)
    tree.acm("3-3", "1234:5678", "ttyACM7", serial="a\x1b[2Jb", product="x" * 5000)
    strange = plugged_in(tree.machine)[-1]
    assert strange.usb_serial == "a?[2Jb"
    assert len(strange.product) == 200


def test_a_device_that_goes_while_we_look_is_left_out(tmp_path: Path) -> None:
    tree = raspberry_pi(tmp_path)
    (tmp_path / "sys/bus/usb/devices/1-1.2/idVendor").unlink()
    assert [one.usb_location for one in plugged_in(tree.machine)] == ["1-1.3", "1-1.4"]


def test_without_sysfs_the_ports_come_from_pyserial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.inventory.discover import Port

    listed = [Port("COM3", "A1", "1-2", "1a86:7523", "CH340"), Port("COM1", None, None, None, "UART")]
    monkeypatch.setattr(plugged, "list_ports", lambda: listed)
    assert [(one.port, one.usb_location) for one in plugged_in(Machine(tmp_path))] == [("COM3", "1-2")]
