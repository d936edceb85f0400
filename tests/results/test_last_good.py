"""Which run's times a board's new ones are held against."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.compare import Measurement
from harness.judging.earlier import EDITION, Earlier
from harness.judging.outcome import Outcome
from harness.results.last_good import last_good
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.store import Store

MACHINE = "a board with an ESP32"


def figure(name: str, kind: str, measured: float | str | None) -> Measurement:
    verdict = Outcome.SKIPPED if measured is None else Outcome.PASS
    return Measurement(name, kind, "us" if kind == "time" else "1", measured, None, "", verdict)


def run(
    store: Store,
    version: str,
    took: float,
    *,
    outcome: Outcome = Outcome.PASS,
    board: str = "b",
    machine: str = MACHINE,
    edition: int = EDITION,
    sha256: str = "",
) -> int:
    number = store.start_run("harness run")
    record = BoardRecord(
        board, "esp32", FirmwareRecord("fw", version, sha256), facts={"machine": machine, "version": f"v{version}"}
    )
    store.record_board(number, record)
    figures = (
        figure("bench.loop", "time", took),
        figure("bench.floats", "time", None),
        figure("clock", "state", "160000000"),
        figure("edition", "count", edition),
    )
    store.record_scenario(number, board, ScenarioResult("calibration", "micro_benchmarks", outcome, "", figures))
    return number


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "results.sqlite")


def found(store: Store, now: int, version: str = "3", sha256: str = "") -> Earlier | None:
    return last_good(store, now, "b", machine=MACHINE, firmware=(sha256, f"v{version}"))


def test_the_first_run_has_nothing(store: Store) -> None:
    assert found(store, run(store, "1", 100.0), "1") is None


def test_the_newest_good_run_of_another_firmware(store: Store) -> None:
    for version, took in (("1.0.0", 100.0), ("2.0.0", 110.0), ("3", 120.0), ("3", 121.0)):
        run(store, version, took)
    earlier = found(store, run(store, "3", 122.0))
    assert earlier is not None
    assert (earlier.version, earlier.clock, dict(earlier.times)) == ("2.0.0", "160000000", {"loop": 110.0})


@pytest.mark.parametrize(
    ("said", "short"),
    [
        ("v1.26.0", "v1.26.0"),
        ("3.4.0; MicroPython v1.26.1+ds-1 on 2025-09-13", "v1.26.1+ds-1"),
        ("v1.27.0-preview.225.g3f6d144cb8", "v1.27.0-preview.225.g3f6d144cb8"),
        ("", "an unknown version"),
    ],
)
def test_a_version_is_told_in_short(store: Store, said: str, short: str) -> None:
    run(store, said, 100.0)
    earlier = found(store, run(store, "3.0.0", 101.0), "3.0.0")
    assert earlier is not None
    assert earlier.version == short


def test_the_same_firmware_when_there_was_no_other(store: Store) -> None:
    run(store, "3", 100.0)
    run(store, "3", 101.0)
    earlier = found(store, run(store, "3", 102.0))
    assert earlier is not None
    assert earlier.times == {"loop": 101.0}


def test_two_builds_of_one_version_are_two_firmwares(store: Store) -> None:
    run(store, "3", 100.0, sha256="ab" * 32)
    run(store, "3", 101.0, sha256="cd" * 32)
    earlier = found(store, run(store, "3", 102.0, sha256="cd" * 32), sha256="cd" * 32)
    assert earlier is not None
    assert earlier.times == {"loop": 100.0}


def test_what_failed_is_not_good_and_what_was_marginal_is(store: Store) -> None:
    run(store, "1.0.0", 100.0, outcome=Outcome.MARGINAL)
    run(store, "2", 110.0, outcome=Outcome.FAIL)
    run(store, "2", 110.0, outcome=Outcome.ERROR)
    earlier = found(store, run(store, "3", 120.0))
    assert earlier is not None
    assert earlier.version == "1.0.0"


@pytest.mark.parametrize("other", [{"board": "c"}, {"machine": "another board"}, {"edition": EDITION - 1}])
def test_another_board_another_machine_and_other_programs_do_not_count(store: Store, other: dict[str, str]) -> None:
    run(store, "1", 100.0, **other)  # type: ignore[arg-type]
    assert found(store, run(store, "3", 120.0)) is None
