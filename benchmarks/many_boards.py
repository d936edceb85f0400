"""``harness run`` over one board and over sixteen at once (``many_boards=COUNT``), all at the chip's pace.

The boards run beside it, in processes of their own behind RFC 2217 ports, so that the processor time that is told is
the harness's alone: its own processes', sampled five times a second, with the reference VM that each of them has. All
share this computer's processors, so the ratio of the wall times is that of a host with as many as are told.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.run_kills import process_tree
from harness.virtual.virtual_firmware import build_firmware
from tests.running_boards import programmed_board

_SUITES = ("deep_sleep", "reload")
_CAN = "capabilities: [deep_sleep, rtc_memory, light_sleep, timer_irq, float]"
_TICK = os.sysconf("SC_CLK_TCK")


def main(count: int = 16) -> dict[str, float]:
    figures: dict[str, float] = {"processors": os.cpu_count() or 0}
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        firmware = folder / "esp32.bin"
        firmware.write_bytes(build_firmware("esp32"))
        urls = [
            stack.enter_context(programmed_board("esp32", folder / f"board{number}", firmware)).url
            for number in range(count)
        ]
        for suite in _SUITES:
            alone = _run(folder, suite, urls[:1], figures)
            together = _run(folder, suite, urls, figures)
            figures[f"{suite}: {count} boards by one, wall time"] = together / alone
    return figures


def _run(folder: Path, suite: str, urls: list[str], figures: dict[str, float]) -> float:
    entries = (
        f"  - {{id: b{number}, chip: esp32, runtime: micropython, identity: {{url: '{url}'}}, {_CAN}}}\n"
        for number, url in enumerate(urls)
    )
    (folder / "boards.yaml").write_text("boards:\n" + "".join(entries))
    out = folder / "out"
    begun = time.monotonic()
    with out.open("wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", "run", suite, "--no-flash", "--jobs", str(len(urls))],
            cwd=folder,
            stdout=printed,
            stderr=subprocess.STDOUT,
        )
    spent: dict[int, float] = {}
    while process.poll() is None:
        for pid in process_tree(process.pid):
            with contextlib.suppress(OSError, IndexError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                spent[pid] = (int(fields[11]) + int(fields[12])) / _TICK
        time.sleep(0.2)
    took = time.monotonic() - begun
    words = f"{suite}, {len(urls)} board{'s' if len(urls) > 1 else ''}"
    figures[f"{words}: s"] = took
    figures[f"{words}: exit code"] = process.returncode
    passed = re.findall(r"(\d+) passed", out.read_text("utf-8", "replace"))
    figures[f"{words}: scenarios passed"] = float(passed[-1]) if passed else 0.0
    figures[f"{words}: processor seconds of the harness for each second of a board"] = sum(spent.values()) / (
        took * len(urls)
    )
    return took
