"""Wall time of the default bench in both paces of its virtual boards, and the host's CPU while boards sleep."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import serial

from benchmarks._boards import virtual_esp32
from harness.bench.run import RunRequest, run_bench
from harness.inventory.load import load_bench
from harness.paths import shipped_bench
from harness.results.store import Store

_ASLEEP_SECONDS = 5.0


def _run(pace: str) -> tuple[float, int]:
    """Seconds of a whole run over two boards, and how many scenarios did not pass."""
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as name:
        folder = Path(name)
        bench = folder / "boards.yaml"
        bench.write_text(
            shipped_bench().read_text().replace("      pty: true\n", f"      pty: true\n      pace: {pace}\n")
        )
        store = folder / "results.sqlite"
        request = RunRequest(bench_file=bench, boards=list(load_bench(bench).boards), state=folder, store=store)
        started = time.perf_counter()
        number = run_bench(request, lambda _event: None)
        seconds = time.perf_counter() - started
        results = Store(store)
        record = results.load_run(number)
        results.close()
        bad = sum(s.outcome.value not in ("pass", "skipped") for b in record.boards for s in b.scenarios)
        return seconds, bad


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _cpu_while(program: bytes) -> float:
    """The part of one CPU that a virtual board's process takes while its program waits."""
    with virtual_esp32() as (board, _image):
        link = serial.serial_for_url(board.url, timeout=3)
        link.write(b"\r\x03\x03\x01" + program + b"\x04")
        link.read_until(b"asleep")
        before = _cpu_seconds(board.pid)
        time.sleep(_ASLEEP_SECONDS)
        used = _cpu_seconds(board.pid) - before
        link.close()
        return used / _ASLEEP_SECONDS


def main() -> dict[str, float]:
    figures: dict[str, float] = {}
    for pace in ("chip", "fast"):
        figures[f"default bench, pace {pace}: seconds"], bad = _run(pace)
        figures[f"default bench, pace {pace}: scenarios that did not pass"] = bad
    wait = b"import machine, time\nprint('as' + 'leep')\n"
    figures["CPU of a board in deep sleep, part of one"] = _cpu_while(wait + b"machine.deepsleep(60000)")
    figures["CPU of a board in time.sleep, part of one"] = _cpu_while(wait + b"time.sleep(60)")
    return figures
