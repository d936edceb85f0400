"""Virtual boards for the tests: processes on loopback, each with flash of its own in a temporary folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware
from tests.running_boards import CHIPS, programmed_board, wait_for_vm, write_flash_file

# The same examples on every run, and no verdict on how busy the machine is.
settings.register_profile("harness", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("harness")


class FirmwareFiles(dict[str, Path]):
    """By chip; each is made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def __missing__(self, chip: str) -> Path:
        self[chip] = file = self._folder / f"{chip}.bin"
        file.write_bytes(build_firmware(chip))
        return file


@pytest.fixture(scope="session")
def firmware_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The healthy firmware of each virtual chip, as a file."""
    return FirmwareFiles(tmp_path_factory.mktemp("firmware"))


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
