"""--probe: who answers at a port, asked of virtual boards and of one that says strange things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.bench import probe_port as probing
from harness.bench.probe_port import chip_named_in, probe
from harness.errors import BenchFault
from harness.formats.virtual_image import flash_offset
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware
from tests.running_boards import write_flash_file


@contextmanager
def board(folder: Path, chip: str, image: bytes, app: str = "wasm") -> Iterator[RunningBoard]:
    spec = VirtualSpec(f"p{chip}", chip, str(folder), app=app, mac="02:00:00:00:00:07")
    write_flash_file(spec, flash_offset(chip), image)
    with start(spec) as running:
        yield running


@pytest.mark.parametrize("chip", ["esp32", "esp8266"])
def test_a_board_tells_its_vm_its_chip_and_its_mac(tmp_path: Path, chip: str) -> None:
    with board(tmp_path, chip, build_firmware(chip, flash_size=4 << 20)) as running:
        answer = probe(running.url)
    assert (answer.chip, answer.mac, answer.runtime) == (chip, "02:00:00:00:00:07", "micropython")
    assert answer.version.startswith("3.4.0; MicroPython")
    assert answer.problems == ()


def test_a_board_without_a_vm_still_tells_its_chip(
    tmp_path: Path, firmware_files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probing, "_PATIENCE", 0.5)
    with board(tmp_path, "esp32", firmware_files["esp32"].read_bytes(), app="echo") as running:
        answer = probe(running.url)
    assert (answer.chip, answer.mac, answer.runtime) == ("esp32", "02:00:00:00:00:07", "")
    assert "no raw REPL" in answer.problems[0]


def test_a_port_that_is_not_there_is_a_fault() -> None:
    with pytest.raises(BenchFault, match="there is no such port"):
        probe("/dev/no-such-port")


@pytest.mark.parametrize(
    ("machine", "chip"),
    [
        ("Generic ESP32 module with ESP32", "esp32"),
        ("Generic ESP32S3 module with Octal-SPIRAM with ESP32S3", "esp32s3"),
        ("ESP module (1MB) with ESP8266", "esp8266"),
        ("PYBv1.1 with STM32F405RG", "stm32f405"),
        ("NUCLEO-L476RG with STM32L476RG", "stm32l476"),
        ("Raspberry Pi Pico with RP2040", ""),
        ("linux [GCC 12] version", ""),
        ("", ""),
    ],
)
def test_the_chip_in_what_a_vm_calls_its_machine(machine: str, chip: str) -> None:
    assert chip_named_in(machine) == chip
