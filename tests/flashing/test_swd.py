"""Flashing through a debug probe. OpenOCD is played by ``fake_openocd.py``, pyocd by modules of the names that its
documentation gives: no probe has been tried."""

import sys
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from harness.errors import BenchFault, UsageError
from harness.flashing.flasher import FlashImage, FlashReport
from harness.flashing.stm32_access import AccessFlasher
from harness.flashing.swd import swd_access

BASE = 0x0800_0000
IMAGE = bytes(range(256)) * 100
FILES = ("interface/stlink.cfg", "target/stm32f4x.cfg")


def write(data: bytes, chip: str = "stm32f405", at: int = BASE, **options: Any) -> FlashReport:
    with AccessFlasher(swd_access(chip, **options)) as flasher:
        return flasher.write([FlashImage(at, data, "image.bin")])


def changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# -- OpenOCD ---------------------------------------------------------------------------------------


@pytest.fixture
def openocd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tool = tmp_path / "bin" / "openocd"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {Path(__file__).with_name("fake_openocd.py")} "$@"\n')
    tool.chmod(0o755)
    folder = tmp_path / "chip"
    folder.mkdir()
    (folder / "flash").write_bytes(b"\xff" * (1 << 20))
    (folder / "id").write_text("413")
    monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_OPENOCD", str(folder))
    return folder


def test_openocd_writes_what_differs_with_the_probe_that_is_named(openocd: Path) -> None:
    first = write(IMAGE, openocd=FILES, probe="0667FF")
    assert (openocd / "flash").read_bytes()[: len(IMAGE)] == IMAGE
    assert (first.written, first.identity.flash_size) == (32 * 1024, 1 << 20)
    assert first.identity.uid == bytes(range(1, 13)).hex()
    assert write(IMAGE, openocd=FILES, probe="0667FF").written == 0
    assert write(changed(IMAGE, 20_000), openocd=FILES, probe="0667FF").written == 16 * 1024
    log = (openocd / "log").read_text().splitlines()
    assert all(line.startswith("adapter serial 0667FF ; ") for line in log)
    assert log[-1] == "adapter serial 0667FF ; init ; reset run ; exit"


def test_openocd_refuses_another_chip_before_it_writes(openocd: Path) -> None:
    (openocd / "id").write_text("415")
    with pytest.raises(UsageError, match="device id 0x413.*the chip's is 0x415, as of stm32l476"):
        write(IMAGE, openocd=FILES)
    assert "program" not in (openocd / "log").read_text()


@pytest.mark.parametrize(
    ("state", "step", "said"), [("unplugged", "connect", "open failed"), ("protected", "write", "")]
)
def test_what_openocd_says_when_it_fails_is_in_the_error(state: str, step: str, said: str, openocd: Path) -> None:
    (openocd / state).touch()
    with pytest.raises(BenchFault, match=f"step '{step}': openocd ended with 1: Error: .*{said}"):
        write(IMAGE, openocd=FILES)


def test_a_missing_openocd_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="apt install openocd"):
        write(IMAGE, openocd=FILES)


# -- pyocd -----------------------------------------------------------------------------------------


class TransferFaultError(RuntimeError):
    """Of the name that pyocd gives it."""


class FakeTarget:
    """A chip, and what was done to it."""

    def __init__(self) -> None:
        self.flash = bytearray(b"\xff" * (1 << 20))
        self.memory = {
            0xE0042000: (0x1007_6415).to_bytes(4, "little"),
            0x1FFF7590: bytes(range(12)),
            0x1FFF75E0: (1024).to_bytes(2, "little"),
        }
        self.did: list[str] = []
        self.protected = False

    def read_memory_block8(self, address: int, size: int) -> list[int]:
        if address >= BASE and address < BASE + len(self.flash):
            if self.protected:
                raise TransferFaultError("Memory transfer fault @ 0x08000000")
            return list(self.flash[address - BASE : address - BASE + size])
        return list(self.memory[address][:size])

    def reset(self) -> None:
        self.did.append("reset")


class FakeSession:
    def __init__(self, target: FakeTarget) -> None:
        self.target = target

    def __enter__(self) -> "FakeSession":
        self.target.did.append("open")
        return self

    def __exit__(self, *_: object) -> None:
        self.target.did.append("close")


@pytest.fixture
def chip(monkeypatch: pytest.MonkeyPatch) -> FakeTarget:
    target = FakeTarget()

    class ConnectHelper:
        @staticmethod
        def session_with_chosen_probe(
            blocking: bool = True, return_first: bool = False, unique_id: Any = None, options: Any = None
        ) -> FakeSession | None:
            target.did.append(f"probe {unique_id} {options.get('target_override')}")
            assert not blocking
            return FakeSession(target) if unique_id in (None, "0667FF") else None

    class FileProgrammer:
        def __init__(self, session: FakeSession, chip_erase: str, smart_flash: bool, trust_crc: bool) -> None:
            assert (chip_erase, trust_crc) == ("sector", False)

        def program(self, file: BytesIO, file_format: str, base_address: int) -> None:
            assert file_format == "bin"
            data = file.read()
            target.did.append(f"program 0x{base_address:08x}")
            target.flash[base_address - BASE : base_address - BASE + len(data)] = data

    modules: dict[str, dict[str, Any]] = {
        "pyocd": {},
        "pyocd.core": {},
        "pyocd.core.helpers": {"ConnectHelper": ConnectHelper},
        "pyocd.flash": {},
        "pyocd.flash.file_programmer": {"FileProgrammer": FileProgrammer},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content, __path__=[])
        monkeypatch.setitem(sys.modules, name, module)
    return target


def test_pyocd_writes_what_differs_and_starts_the_application(chip: FakeTarget) -> None:
    first = write(IMAGE, "stm32l476", probe="0667FF", target="stm32l476rg")
    assert chip.flash[: len(IMAGE)] == IMAGE
    assert first.identity.uid == bytes(range(12)).hex()
    assert chip.did == ["probe 0667FF stm32l476rg", "open", "program 0x08000000", "reset", "close"]
    assert write(IMAGE, "stm32l476").written == 0
    assert write(changed(IMAGE, 20_000), "stm32l476").written == 2048


def test_pyocd_refuses_another_chip_and_closes_the_session(chip: FakeTarget) -> None:
    with pytest.raises(UsageError, match="the chip's is 0x415"):
        write(IMAGE, "stm32f405")
    assert chip.did[1:] == ["open", "reset", "close"]


def test_a_probe_that_is_not_there_and_a_chip_that_is_protected_are_told(chip: FakeTarget) -> None:
    with pytest.raises(BenchFault, match="no such debug probe"):
        write(IMAGE, "stm32l476", probe="OTHER")
    chip.protected = True
    with pytest.raises(BenchFault, match=r"TransferFaultError(.|\n)*protected against readout"):
        write(IMAGE, "stm32l476")
    assert not any(step.startswith("program") for step in chip.did)


def test_without_pyocd_the_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyocd", None)
    with pytest.raises(UsageError, match=r"pip install pyocd(.|\n)*flash.openocd"):
        write(IMAGE, "stm32l476")
