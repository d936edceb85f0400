"""A store with a known history, for the tests of what reads it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.kinds import Value, stored
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.store import Store


def nightly(
    store: Store,
    figures: dict[str, tuple[str, Value]],
    *,
    build: int,
    board: str = "b",
    outcome: Outcome = Outcome.PASS,
    name: str = "fw.bin",
    host: str = "pi",
) -> int:
    """One run of one board with one scenario."""
    run = store.start_run("nightly", environment={"host": host})
    store.record_board(run, BoardRecord(board, "esp32", FirmwareRecord(name, f"v1.{build}", f"{build:064x}")))
    measurements = tuple(
        Measurement(figure, kind, stored(kind).units[0], value, None, "any", outcome)
        for figure, (kind, value) in figures.items()
    )
    reason = "" if outcome is Outcome.PASS else "it is wrong"
    store.record_scenario(run, board, ScenarioResult("reload", "leaks", outcome, reason, measurements, 1.0, 1000.0))
    store.finish_run(run)
    return run


def heaps(path: Path, values: Sequence[Value]) -> Store:
    """A run for each value of a figure ``x``; the build changes with every run."""
    store = Store(path)
    for build, value in enumerate(values):
        nightly(store, {"x": ("heap", value)}, build=build)
    return store
