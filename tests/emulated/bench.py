"""One emulated board under ``harness run``: a bench file of its own, all suites, the result as it was written."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .boards import UNIX_PACKAGE, Board
from .builds import Firmware, build
from .qemu import emulated, late_host
from .tools import Unavailable

_ENTRY = """
boards:
  - id: {board.id}
    chip: generic
    runtime: micropython
    identity: {{port: {port}}}
    flash: {{method: none}}
    reset: {{method: none}}
    limits:
"""


def entry(board: Board, port: str) -> str:
    """Its bench file, with what somebody knows who knows the settings: nobody promises them of a generic chip.

    They are those of upstream's ``py/mpconfig.h`` and of its QEMU port.
    """
    lines = ['queue.depth: {equal: 4, why: "upstream\'s MICROPY_SCHEDULER_DEPTH where a port says nothing else"}']
    if board.firmware is not None:
        bits = 22 if "MICROPY_OBJ_REPR" in board.firmware.settings else 24
        lines.append(f'float.bits: {{equal: {bits}, why: "singles, of which representation C takes two bits"}}')
    return _ENTRY.format(board=board, port=port) + "".join(f"      {line}\n" for line in lines)


@dataclass(frozen=True)
class Result:
    """What ``harness run`` said of a board. ``content`` is the board's part of its JSON."""

    board: Board
    release: str
    content: dict[str, Any]
    seconds: float

    def scenarios(self, *outcomes: str) -> list[dict[str, Any]]:
        return [scenario for scenario in self.content["scenarios"] if scenario["outcome"] in outcomes]


def how_to_run(board: Board) -> tuple[list[str], str]:
    """The command that runs the board's firmware, built if need be, and its release. Raises Unavailable."""
    if board.firmware is not None:
        built = build(board.firmware)
        return built.command, built.release
    try:
        release = importlib.metadata.version(UNIX_PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise Unavailable(f"not installed: {UNIX_PACKAGE} (PyPI; tox -e emulated installs it)") from None
    return [sys.executable, str(Path(__file__).with_name("unix_board.py"))], f"{release} (PyPI)"


def run_suites(
    board: Board,
    folder: Path,
    *,
    options: Sequence[str] = (),
    timeout: float = 900.0,
    late: float = 0.0,
    own_tree: Firmware | None = None,
) -> Result:
    """Build the board's firmware if need be, run the suites on it; everything is written below ``folder``.

    With ``late`` the host keeps the emulator from running for so many seconds, twice in each. The reference is built
    from the tree and with the settings of ``own_tree``; None: it is the prepared one.
    Raises Unavailable when the board cannot be had here, RuntimeError when the harness gave no result.
    """
    command, release = how_to_run(board)
    folder.mkdir(parents=True, exist_ok=True)
    bench, result = folder / "boards.yaml", folder / "result.json"
    started = time.perf_counter()
    with emulated(command) as emulator, late_host(emulator.process, late=late, every=0.5) if late else nullcontext():
        # Not what happens to have been built on this computer.
        reference = {"built": "prepared"} if own_tree is None else build(own_tree).reference()
        bench.write_text(entry(board, emulator.port) + f"    reference: {json.dumps(reference)}\n")
        harness = [sys.executable, "-m", "harness", "run", "--bench", str(bench), "--json", str(result), *options]
        root = Path(__file__).resolve().parents[2]
        path = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH", ""))))
        env = {**os.environ, "PYTHONPATH": path}
        done = subprocess.run(harness, capture_output=True, text=True, timeout=timeout, env=env)
    if not result.exists():
        raise RuntimeError(f"{board.id}: no result (exit {done.returncode})\n{(done.stdout + done.stderr)[-3000:]}")
    seconds = time.perf_counter() - started
    (folder / "run.json").write_text(json.dumps({"release": release, "seconds": round(seconds, 1)}) + "\n")
    return kept(board, folder)


def kept(board: Board, folder: Path) -> Result:
    """What :func:`run_suites` wrote there. Raises OSError when it did not."""
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())["boards"][0]
    run: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return Result(board, run["release"], content, run["seconds"])
