"""What a hung board costs a run of ten, and what ten boards cost while they say nothing."""

from __future__ import annotations

import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import cast

from harness.campaigns.bench_run import RunRequest, run_bench
from harness.inventory.load import load_bench
from harness.link.ports import open_port
from harness.link.session import Port, Session
from harness.results.store import Store
from harness.virtual.bench import VirtualSpec, start

_BOARD = """
  - id: board{number}
    chip: esp32
    runtime: micropython
    virtual: {{pace: fast, faults: {faults}}}
    firmware: {{build: virtual}}
"""
_JOBS = 5
_IDLE = 10.0


def _ten(dead: bool) -> tuple[float, dict[str, str]]:
    """Seconds of a run over ten boards, one of which hangs for good in its first scenario; outcome by board."""
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as name:
        folder = Path(name)
        bench = folder / "boards.yaml"
        faults = ["[{kind: dead, after: 8000}]" if dead and number == 0 else "[]" for number in range(10)]
        bench.write_text("boards:" + "".join(_BOARD.format(number=n, faults=f) for n, f in enumerate(faults)))
        store = folder / "results.sqlite"
        request = RunRequest(
            bench_file=bench, boards=list(load_bench(bench).boards), state=folder, store=store,
            suites=("reload",), keywords=("leak or files or restarts",), jobs=_JOBS,
        )  # fmt: skip
        started = time.perf_counter()
        number = run_bench(request, lambda _event: None)
        seconds = time.perf_counter() - started
        results = Store(store)
        record = results.load_run(number)
        results.close()
        return seconds, {board.id: board.outcome.value for board in record.boards}


def _idle() -> float:
    """CPU seconds that this process takes a second while it waits for ten boards that say nothing."""
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as name, ExitStack() as stack:
        sessions = []
        for number in range(10):
            board = stack.enter_context(start(VirtualSpec(f"b{number}", "esp32", name, pty=False, app="echo")))
            session = Session(cast(Port, open_port(board.url)))
            stack.callback(session.close)
            session.drain(quiet=1.0, deadline=3.0)
            sessions.append(session)

        def wait(session: Session) -> None:
            session.read_until(b"never", idle=_IDLE, deadline=_IDLE)

        threads = [threading.Thread(target=wait, args=(session,)) for session in sessions]
        before = time.process_time()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return (time.process_time() - before) / _IDLE


def main() -> dict[str, float]:
    idle = _idle()
    healthy, outcomes = _ten(dead=False)
    assert set(outcomes.values()) == {"pass"}, outcomes
    hung, outcomes = _ten(dead=True)
    assert outcomes.pop("board0") == "error" and set(outcomes.values()) == {"pass"}, outcomes
    return {
        "ten boards idle: CPU of the harness (% of a core)": 100 * idle,
        f"ten boards, {_JOBS} at a time: seconds": healthy,
        "the same with one that hangs for good: seconds": hung,
        "time lost to it: seconds": hung - healthy,
    }
