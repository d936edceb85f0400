"""After kill -9 of the command, nothing that it started goes on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.paths import shipped_bench

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and PR_SET_PDEATHSIG")


def _descendants(root: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(folder.name))
    found: set[int] = set()
    todo = [root]
    while todo:
        new = children.get(todo.pop(), [])
        found.update(new)
        todo += new
    return found


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _serves(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b"harness.virtual.serve" in Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


@pytest.mark.parametrize("command", [["run", "--boards", "vesp32"], ["soak", "--faults", "--count", "8"]])
def test_no_process_goes_on(command: list[str], tmp_path: Path) -> None:
    bench = tmp_path / "boards.yaml"
    bench.write_bytes(shipped_bench().read_bytes())
    parent = subprocess.Popen(
        [sys.executable, "-m", "harness", *command, "--bench", str(bench)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    started: set[int] = set()
    while not any(map(_serves, started)) and time.monotonic() < end and parent.poll() is None:
        started |= _descendants(parent.pid)
    assert any(map(_serves, started)), "no virtual board was started"
    started |= _descendants(parent.pid)
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(10)
    end = time.monotonic() + 20
    while any(map(_alive, started)) and time.monotonic() < end:
        os.sched_yield()
    assert not [pid for pid in started if _alive(pid)]
