"""The matrix of defects and scenarios, by running the real suites on virtual boards with defective firmware.

Each case is a run of its own, as ``harness run --variant NAME SUITE`` does it, in a folder of its own.
"""

from __future__ import annotations

import fnmatch
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.campaigns.bench_run import RunRequest, run_bench
from harness.inventory.model import Board
from harness.judging.outcome import Outcome
from harness.results.run_record import RunRecord
from harness.results.store import Store
from harness.virtual.defects import DEFECTS


@dataclass(frozen=True)
class Case:
    """One run: firmware with ``defect`` (empty: healthy), and the suites it goes through (empty: all)."""

    defect: str
    suites: tuple[str, ...]


@dataclass(frozen=True)
class Finding:
    """What a run said of a case. Scenarios are ``suite: name``; ``errors`` are the bench's own."""

    case: Case
    failed: tuple[str, ...]
    errors: tuple[str, ...]
    seconds: float

    @property
    def caught_by(self) -> tuple[str, ...]:
        """The failed scenarios that name the right thing."""
        patterns = DEFECTS[self.case.defect].caught if self.case.defect else ()
        return tuple(name for name in self.failed if any(fnmatch.fnmatch(name, pattern) for pattern in patterns))

    @property
    def blamed(self) -> tuple[str, ...]:
        """What a healthy firmware is blamed for."""
        return () if self.case.defect else (*self.failed, *self.errors)


def cases(names: list[str], *, healthy: int, all_suites: bool) -> list[Case]:
    """A case for each defect, in the suites that are to catch it, and ``healthy`` runs of all suites."""
    suites: dict[str, tuple[str, ...]] = {}
    for name in names:
        suites[name] = () if all_suites else tuple({p.partition(":")[0]: None for p in DEFECTS[name].caught})
    return [Case(name, suites[name]) for name in names] + [Case("", ())] * healthy


def run_cases(
    todo: list[Case], board: Board, bench_file: Path, *, jobs: int, done: Callable[[Finding], None]
) -> list[Finding]:
    """Run the cases, ``jobs`` at the same time; ``done`` hears of each. Ctrl-C ends it with what there is so far."""
    findings: list[Finding] = []
    with _folder() as root, ThreadPoolExecutor(jobs) as pool:
        pending = [pool.submit(_run, case, board, bench_file, root / f"{index}") for index, case in enumerate(todo)]
        try:
            for future in as_completed(pending):
                findings.append(future.result())
                done(findings[-1])
        except KeyboardInterrupt:
            for future in pending:
                future.cancel()
    return findings


@contextmanager
def _folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="vm-harness-selfcheck-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _run(case: Case, board: Board, bench_file: Path, folder: Path) -> Finding:
    folder.mkdir()
    # The state folder stands beside the bench file: a copy of it gives each case a board of its own.
    own = folder / "boards.yaml"
    own.write_bytes(bench_file.read_bytes())
    store_path = folder / "results.sqlite"
    request = RunRequest(
        bench_file=own, boards=[board], state=folder, store=store_path, suites=case.suites, variant=case.defect,
        jobs=1, command="harness selfcheck",
    )  # fmt: skip
    number = run_bench(request, lambda _event: None)
    store = Store(store_path)
    record = store.load_run(number)
    store.close()
    finding = _finding(case, record)
    shutil.rmtree(folder, ignore_errors=True)
    return finding


def _finding(case: Case, record: RunRecord) -> Finding:
    failed, errors = [], []
    for board in record.boards:
        if board.problem:
            errors.append(f"{board.id}: {board.problem}")
        for scenario in board.scenarios:
            base, bracket, parameters = scenario.name.partition("[")
            name = f"{scenario.suite}: {base.replace('_', ' ')}{bracket}{parameters}"
            if scenario.outcome is Outcome.FAIL:
                failed.append(name)
            elif scenario.outcome in (Outcome.ERROR, Outcome.BROKEN):
                errors.append(name)
    return Finding(case, tuple(failed), tuple(errors), record.finished - record.started)
