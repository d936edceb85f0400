"""``harness onboard`` on boards that nobody told it of: their entry runs as it is, and nothing fails.

Slow, and only where ``test_boards.py`` is run: `tox -e emulated`. Where some boards are named (in CI), one of them is
looked at, with the first plan and one suite.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.inventory.load import load_bench

from .bench import how_to_run
from .boards import BOARDS, Board
from .qemu import emulated
from .test_boards import REQUIRED, WANTED
from .test_microbit import FIRMWARE, MACHINE, QEMU
from .tools import Unavailable

pytestmark = pytest.mark.skipif(not WANTED, reason="builds firmware and takes minutes: tox -e emulated runs it")

#: Whether all boards are wanted, with all suites; and which there are looked at where only some are.
ALL, FEW = WANTED in (None, "", "1"), ("m3-rom",)
ROOT = Path(__file__).resolve().parents[2]


def harness(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", ""))))
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=900,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "100"},
    )


def _command(board: Board | None) -> list[str]:
    """How the board is run; None: the micro:bit of 2017. Raises Unavailable."""
    if board is not None:
        return how_to_run(board)[0]
    if QEMU is None or not FIRMWARE.exists():
        raise Unavailable("qemu-system-arm or firmware-microbit-micropython is not installed")
    return [QEMU, *MACHINE, "-device", f"loader,file={FIRMWARE}"]


def _params() -> list[Any]:
    boards = BOARDS if ALL else tuple(b for b in BOARDS if b.id in FEW and b.id in str(WANTED).split(","))
    return [
        *(pytest.param(board, id=board.id) for board in boards),
        *([pytest.param(None, id="microbit")] if ALL else []),
    ]


@pytest.mark.parametrize("board", _params())
def test_its_entry_runs_as_it_is(board: Board | None, tmp_path: Path) -> None:
    try:
        command = _command(board)
    except Unavailable as problem:
        if REQUIRED:
            pytest.fail(str(problem))
        pytest.skip(str(problem))
    with emulated(command) as emulator:
        done = harness(tmp_path, "onboard", emulator.port)
        assert done.returncode == 0, done.stdout + done.stderr
        assert " 0 failed, 0 errors" in done.stdout
        page, _, _ = done.stdout.partition("boards.yaml: ")
        report = page[page.index("\n\n") :].strip().splitlines()
        assert len(report) <= 60, page
        assert max(map(len, report)) <= 120, page
        refused = harness(tmp_path, "onboard", emulator.port, "--no-run", "--backup", "flash.bin")
        assert refused.returncode == 2, refused.stdout
        assert "nothing here can read the flash" in refused.stderr
        assert not (tmp_path / "flash.bin").exists()
        suites = () if ALL else ("reload",)
        ran = harness(tmp_path, "run", *suites, "--json", "result.json")
        (result,) = json.loads((tmp_path / "result.json").read_text())["boards"]
    (entry,) = load_bench(tmp_path / "boards.yaml").boards
    assert (entry.chip, entry.flash_method, entry.reset.method) == ("generic", "none", "none")
    assert entry.identity is not None and entry.identity.port == emulator.port
    bad = [f"{s['name']}: {s['reason']}" for s in result["scenarios"] if s["outcome"] in ("fail", "error")]
    assert not bad and result["problem"] == "", ran.stdout
    assert any(s["outcome"] == "pass" for s in result["scenarios"])
