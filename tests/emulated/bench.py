"""One emulated board under ``harness run``: a bench file of its own, all suites, the result as it was written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .boards import Board
from .builds import build
from .qemu import emulated

_ENTRY = """
boards:
  - id: {id}
    chip: generic
    runtime: micropython
    identity: {{port: {port}}}
    flash: {{method: none}}
    reset: {{method: none}}
"""


@dataclass(frozen=True)
class Result:
    """What ``harness run`` said of a board. ``content`` is the board's part of its JSON."""

    board: Board
    release: str
    content: dict[str, Any]
    seconds: float

    def scenarios(self, *outcomes: str) -> list[dict[str, Any]]:
        return [scenario for scenario in self.content["scenarios"] if scenario["outcome"] in outcomes]


def run_suites(board: Board, folder: Path, *, options: Sequence[str] = (), timeout: float = 900.0) -> Result:
    """Build the board's firmware if need be, run the suites on it; everything is written below ``folder``.

    Raises Unavailable when the board cannot be had here, RuntimeError when the harness gave no result.
    """
    built = build(board.firmware)
    folder.mkdir(parents=True, exist_ok=True)
    bench, result = folder / "boards.yaml", folder / "result.json"
    started = time.perf_counter()
    with emulated(board.firmware.machine.qemu, built.elf) as port:
        bench.write_text(_ENTRY.format(id=board.id, port=port))
        command = [sys.executable, "-m", "harness", "run", "--bench", str(bench), "--json", str(result), *options]
        root = Path(__file__).resolve().parents[2]
        path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH", ""))))
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env={**os.environ, "PYTHONPATH": path}
        )
    if not result.exists():
        raise RuntimeError(f"{board.id}: no result (exit {done.returncode})\n{(done.stdout + done.stderr)[-3000:]}")
    content: dict[str, Any] = json.loads(result.read_text())["boards"][0]
    return Result(board, built.release, content, time.perf_counter() - started)
