"""Virtual boards for the tests: processes on loopback, each with flash of its own in a temporary folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from harness.chips import CHIPS as CHIP_RECORDS
from harness.formats.virtual_image import flash_offset
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware

# The same examples on every run, and no verdict on how busy the machine is.
settings.register_profile("harness", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")

CHIPS = ("esp32", "esp8266")


def tool(*arguments: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a third party's command line tool (esptool, mpremote) as a user does."""
    name, *rest = arguments
    done = subprocess.run([sys.executable, "-m", name, *rest], capture_output=True, text=True, timeout=timeout)
    if check:
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="session")
def firmware_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The healthy firmware of each virtual chip, as a file."""
    folder = tmp_path_factory.mktemp("firmware")
    files = {}
    for chip in (*CHIPS, "stm32f405", "stm32l476"):
        files[chip] = folder / f"{chip}.bin"
        files[chip].write_bytes(build_firmware(chip))
    return files


def wait_for_vm(board: RunningBoard, *, rts: bool = False) -> None:
    """A chip that boots hears nothing yet, like a real one: wait until its VM has answered once."""
    from harness.link.ports import open_port
    from harness.link.session import Session
    from harness.runtimes.micropython.micropython_board import MicroPythonBoard

    port = open_port(board.url, rts=rts)
    runtime = MicroPythonBoard(Session(port), boot_timeout=60)  # type: ignore[arg-type]
    runtime.enter()
    runtime.close()


def write_flash_file(spec: VirtualSpec, offset: int, data: bytes) -> None:
    """Put ``data`` into a board's flash before it is switched on, as a programmer for bare chips does."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    content = bytearray(b"\xff" * spec.flash_size)
    content[offset : offset + len(data)] = data
    spec.flash_file.write_bytes(content)


@contextmanager
def programmed_board(chip: str, folder: Path, firmware: Path) -> Iterator[RunningBoard]:
    """A virtual board with ``firmware`` in its flash and nothing else."""
    size = CHIP_RECORDS[chip].flash_size  # an STM32's own; its image goes to the start
    spec = VirtualSpec(f"t{chip}", chip, str(folder), **({} if size is None else {"flash_size": size}))
    write_flash_file(spec, flash_offset(chip) if size is None else 0, firmware.read_bytes())
    with start(spec) as board:
        wait_for_vm(board, rts=size is not None)  # BOOT0 low
        yield board


@pytest.fixture(params=CHIPS)
def programmed(
    request: pytest.FixtureRequest, tmp_path: Path, firmware_files: dict[str, Path]
) -> Iterator[RunningBoard]:
    """A virtual board with the healthy firmware in its flash."""
    with programmed_board(request.param, tmp_path, firmware_files[request.param]) as board:
        yield board


@pytest.fixture
def vesp32(tmp_path: Path, firmware_files: dict[str, Path]) -> Iterator[RunningBoard]:
    """The same, ESP32 only."""
    spec = VirtualSpec("tesp32", "esp32", str(tmp_path))
    write_flash_file(spec, 0x1000, firmware_files["esp32"].read_bytes())
    with start(spec) as board:
        wait_for_vm(board)
        yield board
