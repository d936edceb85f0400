"""Flashing through dfu-util, which is played by ``fake_dfu_util.py``: no device has been tried."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault, UsageError
from harness.flashing.dfu import DfuDevice, DfuUtil, parse_list, parse_memory
from harness.flashing.flasher import FlashImage, FlashReport
from harness.flashing.stm32_access import AccessFailed, AccessFlasher

BASE = 0x0800_0000
F405 = "@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg"
IMAGE = bytes(range(256)) * 100


class Bus:
    """The devices that the fake finds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def plug(self, path: str = "1-1", serial: str = "SERIAL", memory: str = F405) -> Path:
        device = self.folder / path
        device.mkdir()
        (device / "serial").write_text(serial)
        (device / "flash").write_bytes(b"\xff" * (1 << 20))
        (device / "memory").write_text(memory)
        return device

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text().splitlines()

    @property
    def writes(self) -> list[str]:
        return [line for line in self.log if " -D " in line]


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bus:
    tool = tmp_path / "bin" / "dfu-util"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("fake_dfu_util.py")} "$@"\n')
    tool.chmod(0o755)
    folder = tmp_path / "bus"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_DFU", str(folder))
    return Bus(folder)


def write(data: bytes = IMAGE, at: int = BASE, chip: str = "stm32f405", **options: Any) -> FlashReport:
    with AccessFlasher(DfuUtil(chip, patience=1.0, **options)) as flasher:
        return flasher.write([FlashImage(at, data, "image.bin")])


def come_back(bus: Bus, path: str = "1-1") -> Path:
    """The board is brought into its boot loader again."""
    device = (bus.folder / "left").rename(bus.folder / path)
    (device / "memory.away").rename(device / "memory")
    return device


def test_only_sectors_that_differ_are_written_and_the_board_leaves_the_loader(bus: Bus) -> None:
    bus.plug()
    first = write()
    device = come_back(bus)
    assert (device / "flash").read_bytes()[: len(IMAGE)] == IMAGE
    assert first.written == 32 * 1024
    assert first.identity.flash_size == 1 << 20
    again = write()
    assert (again.written, again.unchanged) == (0, len(IMAGE))
    come_back(bus)
    changed = bytearray(IMAGE)
    changed[20_000] ^= 1
    assert write(bytes(changed)).written == 16 * 1024
    assert [line.split(" -s ")[1].split()[0] for line in bus.writes] == ["0x08000000", "0x08004000"]


def test_what_no_image_covers_is_kept_in_a_sector_that_dfu_util_erases(bus: Bus) -> None:
    bus.plug()
    write(b"settings", BASE + 0x3000)
    come_back(bus)
    write(b"firmware")
    flash = (come_back(bus) / "flash").read_bytes()
    assert (flash[:8], flash[0x3000:0x3008]) == (b"firmware", b"settings")


@pytest.mark.parametrize("choice", [{"serial": "B"}, {"path": "1-2.4"}])
def test_one_of_several_devices_is_chosen_by_serial_or_path(choice: dict[str, str], bus: Bus) -> None:
    other = bus.plug("1-1", "A")
    bus.plug("1-2.4", "B")
    write(IMAGE, BASE, "stm32f405", **choice)
    assert (other / "flash").read_bytes() == b"\xff" * (1 << 20)
    assert (bus.folder / "left" / "flash").read_bytes()[:256] == IMAGE[:256]


def test_several_devices_without_a_choice_are_listed_and_left_alone(bus: Bus) -> None:
    bus.plug("1-1", "A")
    bus.plug("1-2.4", "B")
    with pytest.raises(BenchFault, match="serial A(.|\n)*serial B(.|\n)*flash.probe"):
        write()
    assert bus.log == ["-l"]


def test_a_board_that_runs_is_asked_into_its_loader(bus: Bus) -> None:
    write(enter=lambda: bus.plug())
    assert (come_back(bus) / "flash").read_bytes()[:256] == IMAGE[:256]


def test_no_device_says_how_to_get_one(bus: Bus) -> None:
    with pytest.raises(BenchFault, match=r"machine.bootloader\(\)"):
        write()


@pytest.mark.parametrize(
    ("memory", "message"),
    [
        ("@Internal Flash  /0x08000000/0512*0002Kg", "expected the flash of an stm32f405"),
        ("@Internal Flash  /0x08000000/04*016Ka,01*064Kg,07*128Kg", "only be read"),
        ("@Internal Flash  /0x08000000/04*016Kf,01*064Kg,07*128Kg", "does not let the flash be read"),
    ],
)
def test_another_chip_and_protected_sectors_are_refused(memory: str, message: str, bus: Bus) -> None:
    bus.plug(memory=memory)
    with pytest.raises(UsageError, match=message):
        write()
    assert bus.writes == []


def test_an_image_outside_the_flash_is_refused(bus: Bus) -> None:
    bus.plug()
    with pytest.raises(UsageError, match="nothing was erased"):
        write(at=BASE + (1 << 20) - 8)
    assert bus.writes == []


def test_a_write_that_breaks_off_says_what_dfu_util_said_and_the_next_run_writes(bus: Bus) -> None:
    dies = bus.plug() / "dies"
    dies.touch()
    with pytest.raises(BenchFault, match="step 'write': dfu-util ended with 74: .*LIBUSB_ERROR_PIPE"):
        write()
    device = come_back(bus)
    (device / "dies").unlink()
    write()
    assert (come_back(bus) / "flash").read_bytes()[: len(IMAGE)] == IMAGE


def test_a_missing_dfu_util_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="apt install dfu-util"):
        write()


def test_spaces_and_units_of_a_memory_string() -> None:
    layout = parse_memory("@Internal Flash   /0x08000000/02*016Kg,01*002Ma/0x1FFF7000/01*512 e")
    assert [(s.address, s.size, allowed) for s, allowed in layout] == [
        (0x0800_0000, 16 * 1024, 7),
        (0x0800_4000, 16 * 1024, 7),
        (0x0800_8000, 2 * 1024 * 1024, 1),
        (0x1FFF_7000, 512, 5),
    ]


@given(text=st.text(max_size=200) | st.from_regex(r"@F /0x0800[0-9a-f]{4}/([0-9]{1,5}\*[0-9]{1,5}[ BKMx][a-i],?){0,4}"))
def test_any_memory_string_is_a_bounded_layout_or_an_error(text: str) -> None:
    try:
        layout = parse_memory(text)
    except AccessFailed:
        return
    assert 0 < len(layout) <= 4096
    assert all(sector.size > 0 and 1 <= allowed <= 7 for sector, allowed in layout)


@given(st.text(max_size=300))
def test_any_list_is_read_without_trouble(text: str) -> None:
    assert isinstance(parse_list(f'Found DFU: [0483:df11] {text}, path="{text}", alt=0, name="{text}"'), list)


def test_a_board_that_is_still_starting_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its port is not there yet; or it never comes, since the board is in its boot loader by itself."""
    device = DfuDevice("1-1", "S", 0, "@Internal Flash  /0x08000000/04*016Kg")
    asked: list[str] = []

    def enter() -> None:
        asked.append("")
        if len(asked) < 3:
            raise BenchFault("nothing listens there")

    def found(tool: DfuUtil, *, after: int) -> list[DfuDevice]:
        return [device] if len(asked) >= after else []

    for after in (3, 2):  # asked, and by itself
        asked.clear()
        monkeypatch.setattr(DfuUtil, "_matching", lambda tool, after=after: found(tool, after=after))
        assert DfuUtil("stm32f405", enter=enter)._entered(enter) == [device]
    monkeypatch.setattr(DfuUtil, "_matching", lambda tool: [])
    asked.clear()
    with pytest.raises(BenchFault, match="nothing listens there"):
        DfuUtil("stm32f405", enter=enter, patience=0.3)._entered(enter)
