"""Whole processes: what the commands, an empty pytest session and a board's process take to open.

Wall seconds are medians, memory is the largest resident set in MB. esptool's and mpremote's own ``--help`` stand beside
ours: same machine, same minute.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.paths import shipped_bench

_BOARD = """  - id: v{number:02}
    chip: esp32
    runtime: micropython
    virtual: {{pace: fast}}
    firmware: {{build: true}}
"""


def _process(command: list[str], folder: Path, repeat: int = 7) -> tuple[float, float]:
    """Median wall seconds and memory in MB; the first run, which may write bytecode, is not counted."""
    times: list[float] = []
    memory = 0.0
    for index in range(repeat + 1):
        started = time.perf_counter()
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode not in (0, 1, 3):
            raise RuntimeError(f"{command} ended with {process.returncode}")
        if index:
            times.append(time.perf_counter() - started)
            memory = max(memory, usage.ru_maxrss / 1024)
    return statistics.median(times), memory


def _cpu(command: list[str], folder: Path) -> tuple[float, float]:
    """CPU seconds of ``command`` with all its processes that were waited for, and wall seconds."""
    before = os.times()
    started = time.perf_counter()
    subprocess.run(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    after = os.times()
    used = after.children_user - before.children_user + after.children_system - before.children_system
    return used, time.perf_counter() - started


def _first_line(command: list[str], folder: Path) -> float:
    """Wall seconds until ``command`` has printed its first line."""
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seconds = time.perf_counter() - started
        process.stdout.read()
    return seconds


def main() -> dict[str, float]:
    figures: dict[str, float] = {}
    ours = [sys.executable, "-m", "harness"]
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as name:
        folder = Path(name)
        shutil.copy(shipped_bench(), folder / "boards.yaml")
        for label, command in {
            "harness --help": [*ours, "--help"],
            "harness boards --help": [*ours, "boards", "--help"],
            "harness boards": [*ours, "boards"],
            "esptool --help": [str(scripts / "esptool"), "--help"],
            "mpremote --help": [str(scripts / "mpremote"), "--help"],
        }.items():
            figures[f"{label}: seconds"], figures[f"{label}: MB"] = _process(command, folder)
        (folder / "empty").mkdir()
        (folder / "empty" / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
        pytest = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "empty"]
        without, _ = _process([*pytest, "-p", "no:harness.plugin"], folder)
        figures["empty pytest session without the plugin: seconds"] = without
        figures["the same with the plugin / without"] = _process(pytest, folder)[0] / without
        one = [*ours, "run", "--boards", "vesp32", "-k", "globals"]
        figures["first line of a run of one board: seconds"] = _first_line(one, folder)
        collect = [sys.executable, "-c", _COLLECT, str(folder / "boards.yaml")]
        figures["a board's process, from its start to collected: CPU seconds"] = _collected(collect, folder)
        (folder / "many").mkdir()
        boards = "".join(_BOARD.format(number=number) for number in range(16))
        (folder / "many" / "boards.yaml").write_text(f"name: many\nboards:\n{boards}")
        many = [*ours, "run", "--jobs", "16", "-k", "globals or files_are_kept"]
        figures["16 boards, 2 scenarios: CPU seconds of all but the boards"], wall = _cpu(many, folder / "many")
        figures["16 boards, 2 scenarios: wall seconds"] = wall
    return figures


#: Has the fork server make a process that only collects the shipped suites, and prints the CPU seconds that it took.
_COLLECT = """
import os, sys, tempfile, time
from pathlib import Path
from harness.campaigns import board_process
from harness.paths import suites_dir

if __name__ == "__main__":
    log = Path(tempfile.mkdtemp()) / "log"
    arguments = [str(suites_dir()), "-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    arguments += ["--bench", sys.argv[1], "--boards", "vesp32"]
    arguments += ["--collect-only", "-q", "--harness-run", "-1"]
    for _ in range(2):
        process = board_process.BoardProcess(arguments, log, measure=True)
        process.wait(60)
    print(log.read_text().splitlines()[-1])
"""


def _collected(command: list[str], folder: Path) -> float:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])
