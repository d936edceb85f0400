"""A board of any chip runs the suites: what its port promises is judged, what nobody promises is skipped."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.virtual.bench import RunningBoard

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


@pytest.mark.parametrize(
    ("chip", "queue"),
    [
        ("esp32c6", ("pass", "exactly 8, the port's MICROPY_SCHEDULER_DEPTH")),
        ("esp8266", ("fail", "exactly 4, the port's MICROPY_SCHEDULER_DEPTH")),  # the board is an ESP32's VM
        ("stm32f103", ("skipped", "what MicroPython's port promises of stm32f103 is not known")),
    ],
)
def test_a_run_ends_without_an_error(vesp32: RunningBoard, tmp_path: Path, chip: str, queue: tuple[str, str]) -> None:
    bench, out = tmp_path / "boards.yaml", tmp_path / "out.json"
    bench.write_text(BENCH.format(chip=chip, url=vesp32.url))
    arguments = ["run", "interrupt", "deep_sleep", "-k", "queue_holds or machine_reset or every_size", "--no-flash"]
    arguments += ["--bench", str(bench), "--store", str(tmp_path / "store.sqlite"), "--json", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "harness", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=240
    )
    scenarios = json.loads(out.read_text())["boards"][0]["scenarios"]
    assert len(scenarios) >= 3
    assert not [one for one in scenarios if one["outcome"] == "error"], done.stdout
    asked = next(one for one in scenarios if one["name"].replace("_", " ").endswith(QUEUE))
    assert asked["outcome"] == queue[0]
    assert queue[1] in json.dumps(asked)
