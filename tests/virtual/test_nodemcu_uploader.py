"""nodemcu-uploader, unmodified, against the virtual board over its pty: a client that knows nothing of this harness.

A pty has no modem lines, so setting them is made a no-op; all else is the tool's own.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.nodemcu.nodemcu_firmware import nodemcu_image

pytest.importorskip("nodemcu_uploader", reason="nodemcu-uploader is not installed")
FLASH = 4 * 1024 * 1024
LAUNCH = (
    "import serial; serial.Serial.setRTS = serial.Serial.setDTR = lambda *_: None\n"
    "from nodemcu_uploader.main import main_func; main_func()"
)


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBoard]:
    state = tmp_path_factory.mktemp("state")
    spec = VirtualSpec(id="nodemcu", chip="esp8266", state_dir=str(state), flash_size=FLASH, pty=True)
    spec.folder.mkdir(parents=True, exist_ok=True)
    spec.flash_file.write_bytes(nodemcu_image().ljust(FLASH, b"\xff"))
    with start(spec) as running:
        yield running


def uploader(board: RunningBoard, folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", LAUNCH, "--port", str(board.pty), "--start_baud", "115200", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_it_uploads_lists_runs_and_downloads(board: RunningBoard, tmp_path: Path) -> None:
    (tmp_path / "hello.lua").write_text("print('hello from ' .. 6 * 7)\n")
    content = bytes(range(256)) * 3
    (tmp_path / "all.dat").write_bytes(content)
    uploader(board, tmp_path, "upload", "--verify", "raw", "hello.lua", "all.dat")
    listed = uploader(board, tmp_path, "file", "list")
    assert "hello.lua" in listed and "all.dat" in listed and "768" in listed
    assert "hello from 42" in uploader(board, tmp_path, "file", "do", "hello.lua")
    uploader(board, tmp_path, "download", "all.dat:back.dat")
    assert (tmp_path / "back.dat").read_bytes() == content
