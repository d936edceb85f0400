"""Real and virtual boards are two makers of one thing, and nothing else of the bench asks which."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.bench.device_of import device_of
from harness.bench.real_device import RealDevice
from harness.bench.virtual_device import VirtualDevice
from harness.errors import BenchFault
from harness.flashing.flasher import FlashImage
from harness.formats.partitions import Partition, build_table
from harness.inventory.model import Board
from harness.link.coming_back import until_there
from harness.link.deadline import Deadline, driven_by

ROOT = Path(__file__).parents[2]
#: Rooms that work with a board that somebody else has chosen; the rest may choose "all virtual boards".
ROOMS = ("bench", "judging", "link", "runtimes", "flashing", "power")


def board(**more: object) -> Board:
    return Board.model_validate({"id": "b", "chip": "esp32", "runtime": "micropython", **more})


def test_whether_a_board_is_virtual_is_asked_in_one_place() -> None:
    asking = set()
    for room in ROOMS:
        for file in (ROOT / "harness" / room).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                match node:
                    case ast.Attribute(value=of, attr="virtual") if ast.unparse(of).endswith("board"):
                        asking.add(file.name)
    assert asking == {"device_of.py", "virtual_device.py", "checked_firmware.py"}  # the last: what its own build speaks


def test_a_real_board_can_do_what_its_entry_says(tmp_path: Path) -> None:
    bare = device_of(board(identity={"port": "/dev/none"}), tmp_path)
    assert isinstance(bare, RealDevice)
    bare.start(lambda *_: None)
    assert (bare.switch, bare.intervene, bare.press, bare.injector, bare.spare_flash) == (None,) * 5
    assert bare.keeps_host_time and not bare.our_build
    assert bare.find() == "/dev/none"
    switched = {"method": "command", "on_command": ["true"], "off_command": ["true"], "off_seconds": 3}
    fed = device_of(board(identity={"port": "/dev/none"}, power=switched), tmp_path)
    assert fed.switch is not None and fed.switch is fed.switch_now()
    assert fed.off_seconds == 3


def test_a_virtual_board_can_do_everything_while_it_is_up(tmp_path: Path) -> None:
    device = device_of(board(virtual={"pace": "fast"}), tmp_path)
    assert isinstance(device, VirtualDevice)
    assert device.whereabouts() == ("virtual", "starts when needed")
    with pytest.raises(BenchFault, match="process is gone"):
        device.find()
    try:
        device.start(lambda *_: None)
        assert device.whereabouts() == (device.find(), "up")
        assert device.switch_now().name == device.switch.name == "the virtual board b"
        assert device.injector.faults == {}
        device.injector.fault(kind="flip", rate=1.0)
        device.injector.mend()
        assert device.our_build and not device.keeps_host_time
        assert device.spare_flash is not None
    finally:
        device.close()
    device.close()
    assert device.whereabouts() == ("virtual", "starts when needed")


class Chip:
    """A flasher as far as it is asked here."""

    def __init__(self, table: bytes) -> None:
        self._table = table

    def read(self, offset: int, size: int) -> bytes:
        return (self._table if offset == 0x8000 else b"").ljust(size, b"\xff")[:size]


def test_the_romfs_region_of_a_real_board_is_that_of_the_table_to_be_written() -> None:
    def table(offset: int) -> bytes:
        return build_table([Partition("romfs", 1, 0x8F, offset, 0x1000)])

    chip = Chip(table(0x10000))
    device = RealDevice(board(identity={"port": "/dev/none"}, capabilities=["romfs"]))
    image = FlashImage(0x1000, bytes(0x7000) + table(0x20000).ljust(0xC00, b"\xff"), "image")
    assert device.romfs_region(chip, []) == (0x10000, 0x1000)
    assert device.romfs_region(chip, [image]) == (0x20000, 0x1000)
    without = RealDevice(board(identity={"port": "/dev/none"}))
    assert without.romfs_region(chip, []) is None


def test_waiting_for_a_port_ends_with_the_last_reason() -> None:
    now = [0.0]
    reasons = iter(f"look {number}" for number in range(1000))

    def look() -> str:
        raise BenchFault(next(reasons))

    def sleep(seconds: float) -> None:
        now[0] += seconds

    with driven_by(lambda: now[0]), pytest.raises(BenchFault) as problem:
        until_there(look, Deadline(1.0), sleep=sleep)
    assert 1.0 <= now[0] < 1.1
    assert int(problem.value.message.split()[1]) == round(now[0] / 0.05)


def test_a_port_that_is_there_is_looked_for_once_even_without_time() -> None:
    assert until_there(lambda: "port", Deadline(0.0)) == "port"
