"""``harness wiring`` names pins as they are printed on the board."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = """
boards:
  - id: b
    chip: esp8266
    runtime: micropython
    virtual: {{pace: fast}}
    firmware: {{build: virtual}}
    wiring: {{loopback: [[4, 5]], gpio16_rst: true{labels}}}
"""


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ("", "pin 4 (D2 on a NodeMCU or D1 mini) drives pin 5 (D1)"),
        (", labels: nodemcu", "pin 4 (D2) drives pin 5 (D1)"),
    ],
)
def test_pins_are_told_with_their_labels(tmp_path: Path, labels: str, told: str) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH.format(labels=labels))
    command = [sys.executable, "-m", "harness", "wiring", "b"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert told in " ".join(done.stdout.split())
    assert "GPIO16 (D0" in done.stdout
