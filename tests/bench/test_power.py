"""The power of a board that is reached by its address and switched by a command, as a real one is."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.bench.attach import Options, attach
from harness.bench.device_of import device_of
from harness.bench.virtual_device import virtual_spec
from harness.errors import BenchFault, UsageError
from harness.inventory.load import load_bench
from harness.virtual.bench import RunningBoard, start

BENCH = """
boards:
  - id: fed
    chip: esp32
    runtime: micropython
    virtual: {{pty: false}}
    firmware: {{build: virtual}}
  - id: real
    chip: esp32
    runtime: micropython
    identity: {{url: "{url}"}}
    reset: {{method: none}}
    power:
      method: command
      on_command: [{python}, -m, harness, power, fed, "on", --bench, {file}]
      off_command: [{python}, -m, harness, power, fed, "off", --bench, {file}]
      off_seconds: 0.05
"""


def write(folder: Path, url: str) -> Path:
    file = folder / "boards.yaml"
    file.write_text(BENCH.format(url=url, python=sys.executable, file=file))
    return file


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[RunningBoard]:
    """A virtual board with its firmware written, that stays up."""
    board = load_bench(write(tmp_path, "rfc2217://localhost:1")).boards[0]
    with start(virtual_spec(board, tmp_path / ".harness")) as running:
        attach(board, Options(tmp_path / ".harness"), lambda *_: None).close()
        yield running


def test_a_board_that_has_lost_its_power_is_recovered_by_its_switch(tmp_path: Path, fed: RunningBoard) -> None:
    real = load_bench(write(tmp_path, fed.url)).boards[1]
    steps: list[str] = []
    attached = attach(real, Options(tmp_path / "real", flash=False), lambda step, *_: steps.append(step))
    try:
        assert attached.can_power
        fed.power(on=False)
        assert attached.recover("it is silent", gentle=False) == "power cycle"
        assert attached.runtime.run("print('here')").stdout == b"here\r\n"
    finally:
        attached.close()
    assert "recovering: soft reset" in steps  # the gentler step came first


def test_a_virtual_board_is_switched_only_while_it_is_up(tmp_path: Path) -> None:
    virtual, real = load_bench(write(tmp_path, "rfc2217://localhost:1")).boards
    with pytest.raises(BenchFault, match="virtual and not up"):
        device_of(virtual, tmp_path).switch_now()
    assert device_of(real, tmp_path).switch_now().name.startswith("command ")
    bare = real.model_copy(update={"power": virtual.power})
    with pytest.raises(UsageError, match="nothing can cut its power"):
        device_of(bare, tmp_path).switch_now()
