"""A board of any chip runs the suites: what its port promises is judged, what nobody promises is skipped."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.formats.virtual_image import PAYLOAD_MAGIC, build
from harness.reference.engine.wasm_module import custom_section
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.cpu import MANIFEST_SECTION, Manifest
from tests.running_boards import wait_for_vm, write_flash_file

BENCH = """
boards:
- id: one
  chip: {chip}
  runtime: micropython
  identity: {{url: "{url}"}}
  flash: {{method: none}}
  capabilities: [deep_sleep, rtc_memory]
"""
QUEUE = "the queue holds what the port says"


@pytest.fixture
def nameless(tmp_path: Path, firmware_files: dict[str, Path]) -> Iterator[RunningBoard]:
    """The VM of an ESP32, of a fork that names neither its chip nor a platform that is known."""
    image = firmware_files["esp32"].read_bytes()
    at = image.index(PAYLOAD_MAGIC)
    payload = image[at + 12 : at + 12 + int.from_bytes(image[at + 8 : at + 12], "little")]
    said = Manifest.of(payload)
    fork = replace(said, banner=f"{said.banner.partition(';')[0]}; a board with a chip", platform="a fork's")
    image = build("esp32", payload + custom_section(MANIFEST_SECTION, fork.to_bytes()), version="fork")
    spec = VirtualSpec("nameless", "esp32", str(tmp_path))
    write_flash_file(spec, 0x1000, image)
    with start(spec) as board:
        wait_for_vm(board)
        yield board


def run(board: RunningBoard, folder: Path, chip: str) -> tuple[int, str, list[dict[str, Any]]]:
    """Exit code, words and scenarios of a run on a board that the bench file calls a ``chip``."""
    bench, out = folder / "boards.yaml", folder / "out.json"
    bench.write_text(BENCH.format(chip=chip, url=board.url))
    arguments = ["run", "interrupt", "deep_sleep", "-k", "queue_holds or machine_reset or every_size", "--no-flash"]
    arguments += ["--bench", str(bench), "--store", str(folder / "store.sqlite"), "--json", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments], cwd=folder, capture_output=True, text=True, timeout=240
    )
    return done.returncode, done.stdout, json.loads(out.read_text())["boards"][0]["scenarios"]


@pytest.mark.parametrize(
    ("chip", "queue"),
    [
        ("esp32c6", ("pass", "exactly 8, the port's MICROPY_SCHEDULER_DEPTH")),
        ("esp8266", ("fail", "exactly 4, the port's MICROPY_SCHEDULER_DEPTH")),  # the board is an ESP32's VM
        ("stm32f103", ("pass", "at least 1: nobody promises a depth here")),  # and a deep sleep is skipped, with why
    ],
)
def test_a_run_ends_without_an_error(nameless: RunningBoard, tmp_path: Path, chip: str, queue: tuple[str, str]) -> None:
    _, said, scenarios = run(nameless, tmp_path, chip)
    assert len(scenarios) >= 3
    assert not [one for one in scenarios if one["outcome"] == "error"], said
    asked = next(one for one in scenarios if one["name"].replace("_", " ").endswith(QUEUE))
    assert asked["outcome"] == queue[0]
    assert queue[1] in json.dumps(asked)
    if chip == "stm32f103":
        reasons = [one["reason"] for one in scenarios if one["outcome"] == "skipped"]
        assert any("what MicroPython's port promises of stm32f103 is not known" in reason for reason in reasons)


@pytest.mark.parametrize("chip", ["esp32c6", "esp8266", "stm32f103"])
def test_a_board_that_names_another_chip_is_not_tested(vesp32: RunningBoard, tmp_path: Path, chip: str) -> None:
    code, said, scenarios = run(vesp32, tmp_path, chip)
    assert code == 3, said
    assert all(one["outcome"] == "error" for one in scenarios)
    assert f"expected micropython on {chip}, here answers micropython on" in json.dumps(scenarios)
