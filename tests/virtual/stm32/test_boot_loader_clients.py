"""Third parties' clients against the virtual STM32s' boot loader: stm32flash (Debian), and stm32loader by its API."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial
from stm32loader.bootloader import CommandError, Stm32Bootloader

from harness.chips import CHIPS as ALL_CHIPS
from harness.chips import STM32_FLASH_BASE
from harness.virtual.bench import RunningBoard, VirtualSpec, start

CHIPS = {chip.name: chip.virtual.stm32 for chip in ALL_CHIPS.values() if chip.virtual and chip.virtual.stm32}

FAMILY = {"stm32f405": "F4", "stm32f411": "F4", "stm32l476": "L4"}
CONTENT = bytes(range(256)) * 40 + b"odd end"


@contextmanager
def serving(chip: str, folder: Path, lines: tuple[str, ...] = ()) -> Iterator[RunningBoard]:
    spec = VirtualSpec(id="b", chip=chip, state_dir=str(folder), app="echo", pace="fast", lines=lines)
    with start(spec) as board:
        yield board


def stm32flash(board: RunningBoard, *arguments: str) -> str:
    assert board.pty is not None
    done = subprocess.run(
        ["stm32flash", "-m", "8n1", "-b", "115200", *arguments, board.pty], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr
    return done.stdout


class Lines:
    """The port object that stm32loader takes, on an open port: DTR is NRST, RTS is BOOT0."""

    def __init__(self, port: serial.SerialBase) -> None:
        self._port = port
        self.timeout = 5
        self.read, self.write = port.read, port.write

    def enable_reset(self, enable: bool = True) -> None:
        self._port.dtr = enable

    def enable_boot0(self, enable: bool = True) -> None:
        self._port.rts = not enable


@contextmanager
def stm32loader(board: RunningBoard, chip: str, parity: str = "E") -> Iterator[Stm32Bootloader]:
    port = serial.serial_for_url(board.url, do_not_open=True)
    port.baudrate, port.parity, port.timeout = 115200, parity, 2
    port.dtr, port.rts = False, True
    port.open()
    with port:
        yield Stm32Bootloader(Lines(port), device_family=FAMILY[chip], verbosity=0)


@pytest.mark.skipif(shutil.which("stm32flash") is None, reason="needs Debian's stm32flash (apt install stm32flash)")
@pytest.mark.parametrize("chip", CHIPS)
def test_stm32flash_writes_verifies_and_reads_back_over_a_pty(chip: str, tmp_path: Path) -> None:
    image, back = tmp_path / "image.bin", tmp_path / "back.bin"
    image.write_bytes(CONTENT)
    with serving(chip, tmp_path) as board:
        told = stm32flash(board)
        assert f"Device ID    : 0x{CHIPS[chip].device_id:04x}" in told
        assert "Wrote and verified" in stm32flash(board, "-w", str(image), "-v")
        stm32flash(board, "-r", str(back), "-S", f"0x{STM32_FLASH_BASE:x}:{len(CONTENT)}")
    assert back.read_bytes() == CONTENT


@pytest.mark.parametrize("chip", CHIPS)
def test_stm32loader_resets_into_the_boot_loader_by_the_lines_and_flashes(chip: str, tmp_path: Path) -> None:
    with serving(chip, tmp_path) as board, stm32loader(board, chip) as loader:
        loader.reset_from_system_memory()
        assert loader.get() == CHIPS[chip].version
        assert loader.extended_erase
        assert loader.get_id() == CHIPS[chip].device_id
        assert loader.get_flash_size_and_uid()[0] == CHIPS[chip].flash_size // 1024
        assert bytes(loader.get_uid()[5:]) == b"VIRTUAL"
        loader.erase_memory()
        loader.write_memory_data(STM32_FLASH_BASE, CONTENT)
        assert bytes(loader.read_memory_data(STM32_FLASH_BASE, len(CONTENT))) == CONTENT


def test_a_host_without_parity_gets_no_further_than_the_sync(tmp_path: Path) -> None:
    with serving("stm32f405", tmp_path) as board, stm32loader(board, "stm32f405", "N") as loader:
        loader.reset_from_system_memory()  # 0x7F has an odd number of ones, as 0x79 has
        with pytest.raises(CommandError):
            loader.get()


@pytest.mark.parametrize("difference", ["reset-inverted", "boot0-inverted", "boot0-unwired"])
def test_lines_that_are_wired_otherwise_do_not_reach_the_boot_loader(difference: str, tmp_path: Path) -> None:
    with (
        serving("stm32f405", tmp_path, lines=(difference,)) as board,
        stm32loader(board, "stm32f405") as loader,
        pytest.raises((CommandError, IndexError)),
    ):
        loader.connection._port.timeout = 0.3
        loader.reset_from_system_memory()
        loader.get()
