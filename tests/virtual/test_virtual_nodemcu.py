"""The virtual NodeMCU board on its chip: what it boots from, what a power cut leaves, and how soon it stops."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.formats.inspect_image import require_for
from harness.link.session import Session
from harness.reference.nodemcu.lfs_build import build_file
from harness.reference.nodemcu.nodemcu_storage import RCR
from harness.runtimes.interface import Intervention
from harness.runtimes.nodemcu.nodemcu_board import NodeMcuBoard
from harness.virtual.application import AppContext, Application
from harness.virtual.esp_chip import Chip
from harness.virtual.live_board import Surroundings
from harness.virtual.nodemcu.app import create
from harness.virtual.nodemcu.nodemcu_firmware import LFS_OFFSET, nodemcu_image, partition_layout
from harness.virtual.nor_flash import Flash
from harness.virtual.virtual_firmware import build_firmware

FLASH = 4 * 1024 * 1024
APP = sorted((Path(__file__).parents[2] / "fixtures" / "lua" / "app").glob("*.lua"))
END = "print('\\2|end|-|-|\\3') "


def factory(context: AppContext) -> Application:
    return create(context)


class Rig:
    """A chip, the port at its other end, and the client."""

    baud = 115200
    timeout: float | None = None

    def __init__(self, image: bytes) -> None:
        self._news = threading.Condition()
        self._out = bytearray()
        self.flash = Flash(FLASH)
        self.flash.program(0, image)
        around = Surroundings(loopback=((4, 5),), gpio16_rst=True)
        self.chip = Chip("esp8266", self.flash, b"\x5c\xcf\x7f\x01\x02\x03", factory, around)
        self.chip.wires.append(self)
        self.board = NodeMcuBoard(Session(self), reset=self.reset, intervene=self.intervene)

    def on(self) -> NodeMcuBoard:
        self.chip.power_on()
        assert self.chip.settled.wait(5)
        self.board.enter(after_reset=True)
        return self.board

    def reset(self) -> None:
        self.chip.set_lines(dtr=False, rts=True)
        self.chip.set_lines(dtr=False, rts=False)

    def intervene(self, intervention: Intervention) -> None:
        self.chip.power_off()
        self.chip.power_on()

    # the wire, and the port
    def send(self, data: bytes) -> None:
        with self._news:
            self._out += data
            self._news.notify_all()

    @property
    def in_waiting(self) -> int:
        return len(self._out)

    def read(self, size: int = 1) -> bytes:
        with self._news:
            self._news.wait_for(lambda: self._out, self.timeout)
            data = bytes(self._out[:size])
            del self._out[:size]
            return data

    def write(self, data: bytes) -> int:
        self.chip.receive(data, self)
        return len(data)

    def close(self) -> None:
        self.chip.power_off()

    def heard(self, wanted: bytes, seconds: float = 5.0) -> bytes:
        end = time.monotonic() + seconds
        with self._news:
            self._news.wait_for(lambda: wanted in self._out, end - time.monotonic())
            return bytes(self._out)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig(nodemcu_image())
    yield made
    made.close()


def test_files_and_rtc_memory_live_as_long_as_they_should(rig: Rig) -> None:
    board = rig.on()
    board.put("a.txt", b"kept")
    board.run("rtcmem.write32(40, 7)")
    board.hard_reset()
    assert board.run("print(rtcmem.read32(40), node.bootreason())").stdout == b"7\t2\t6\r\n"
    rig.intervene(Intervention(0, "power"))
    board.enter(after_reset=True)
    assert board.run("print(rtcmem.read32(40), node.bootreason())").stdout == b"0\t1\t0\r\n"
    assert board.get("a.txt") == b"kept"


def test_a_power_cut_during_a_reload_leaves_no_half_image(rig: Rig) -> None:
    board = rig.on()
    board.put("lfs.img", build_file({path.name: path.read_bytes() for path in APP}, build_time=1))
    board.soft_reset()
    board.run_to_reset(END + "collectgarbage() node.LFS.reload('lfs.img')", intervention=Intervention(0.2, "power"))
    assert rig.flash.read(LFS_OFFSET, 4) == b"\xff" * 4 or rig.flash.read(LFS_OFFSET, 1)[0] & 0x08
    assert board.run("print(node.LFS.list())").stdout == b"nil\r\n"
    board.soft_reset()
    assert board.reload_lfs("lfs.img") == ""
    assert board.run("print(#node.LFS.list())").stdout == b"20\r\n"


def test_it_stops_at_once_in_a_loop_and_while_it_waits(rig: Rig) -> None:
    for source in (b"while true do end", b"tmr.delay(3000000)", b"node.dsleep(60000000)"):
        rig.chip.power_on()
        rig.board.enter(after_reset=True)
        rig.write(source + b"\r")
        rig.heard(source + b"\r\n")
        started = time.monotonic()
        rig.chip.power_off()
        assert time.monotonic() - started < 1.0
        rig._out.clear()


def test_a_flash_without_a_partition_table_does_not_boot() -> None:
    rig = Rig(nodemcu_image()[:RCR])
    rig.chip.power_on()
    assert b"no partition table" in rig.heard(b"no partition table")
    rig.close()


def test_a_manifest_of_another_version_does_not_boot() -> None:
    image = nodemcu_image()
    rig = Rig(image.replace(b'"heap"', b'"heat"')[:RCR] + image[RCR:])
    rig.chip.power_on()
    # The image's own MD5 does not fit any more either: the chip runs into it and faults.
    assert b"Fatal exception" in rig.heard(b"Fatal exception")
    rig.close()


def test_the_image_is_the_same_each_time_and_recognised() -> None:
    image = build_firmware("esp8266", runtime="nodemcu")
    assert image == build_firmware("esp8266", runtime="nodemcu")
    info = require_for("esp8266", 0, image, FLASH, name="nodemcu.bin", kind="firmware")
    assert (info.project, info.version) == ("nodemcu", "3.0.0")


def test_what_cannot_be_built_is_said() -> None:
    with pytest.raises(UsageError, match="no NodeMCU variant"):
        build_firmware("esp8266", runtime="nodemcu", variant="leak64")
    with pytest.raises(UsageError, match="nodemcu"):
        build_firmware("esp32", runtime="nodemcu")
    with pytest.raises(UsageError, match="no room"):
        partition_layout(1024 * 1024)
    with pytest.raises(UsageError, match="LFS region"):
        partition_layout(FLASH, lfs_size=0x60000)
