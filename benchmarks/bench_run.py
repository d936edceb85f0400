"""Wall time of the default bench in both paces of its virtual boards."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from harness.campaigns.bench_run import RunRequest, run_bench
from harness.inventory.load import load_bench
from harness.paths import shipped_bench
from harness.results.store import Store


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


def main() -> dict[str, float]:
    figures: dict[str, float] = {}
    for pace in ("chip", "fast"):
        figures[f"default bench, pace {pace}: seconds"], bad = _run(pace)
        figures[f"default bench, pace {pace}: scenarios that did not pass"] = bad
    return figures
