"""The store: what was recorded is there, whatever happened next."""

from __future__ import annotations

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harness.results.database as database_module
from harness.bench.firmware_record import FirmwareRecord
from harness.errors import BenchFault, UsageError
from harness.judging.calibration import Calibration, Point
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.store import Store

FIRMWARE = FirmwareRecord("micropython", "v1.27.0", "ab" * 32)
BOARD = BoardRecord("vesp32", "esp32", FIRMWARE, facts={"heap_total": 56000, "machine": "x'y"})
HEAP = Measurement("x", "heap", "B", 48, 48, "exactly 48 B", Outcome.PASS, "to the byte", (48, 48, 64))
TIME = Measurement("t", "time", "us", 12.5, None, "at most 3 µs", Outcome.FAIL)
STATE = Measurement("s", "state", "-", "ok\x00'\"; DROP TABLE run", "ok", "exactly ok", Outcome.FAIL)
RESULT = ScenarioResult("reload", "leaks", Outcome.FAIL, "t is 12.5 us", (HEAP, TIME, STATE), 1.5, 1000.25)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deeper" / "results.sqlite"


def test_what_was_recorded_is_loaded(path: Path) -> None:
    store = Store(path)
    run = store.start_run("harness run")
    store.record_board(run, BOARD)
    store.record_scenario(run, "vesp32", RESULT)
    store.record_scenario(run, "vesp32", replace(RESULT, name="files", outcome=Outcome.PASS, measurements=(HEAP,)))
    store.finish_run(run)
    store.close()
    found = Store(path).load_run(run)
    assert found.command == "harness run"
    assert 0 < found.started <= found.finished
    (board,) = found.boards
    assert (board.id, board.chip, board.firmware, board.facts) == ("vesp32", "esp32", FIRMWARE, BOARD.facts)
    assert board.scenarios[0] == RESULT
    assert [s.name for s in board.scenarios] == ["leaks", "files"]
    assert found.outcome is Outcome.FAIL


_FIGURES = st.one_of(st.integers(-(2**63), 2**63), st.floats(allow_nan=False), st.text(st.characters(codec="utf-8")))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(
    st.builds(
        Measurement,
        name=st.text(st.characters(codec="utf-8"), max_size=20),
        kind=st.sampled_from(["heap", "time", "count", "state", "of_another_package"]),
        unit=st.sampled_from(["B", "us", "-"]),
        measured=st.none() | _FIGURES,
        reference=st.none() | _FIGURES,
        limit=st.text(st.characters(codec="utf-8"), max_size=20),
        verdict=st.sampled_from(Outcome),
        rule=st.text(st.characters(codec="utf-8"), max_size=20),
        samples=st.lists(st.integers(0, 2**40), max_size=4).map(tuple),
        reason=st.text(st.characters(codec="utf-8"), max_size=20),
    )
)
def test_a_measurement_comes_back_as_it_was(path: Path, measurement: Measurement) -> None:
    store = Store(path)
    run = store.start_run("x")
    store.record_board(run, BOARD)
    store.record_scenario(run, "vesp32", replace(RESULT, measurements=(measurement,)))
    (found,) = store.load_run(run).boards[0].scenarios[0].measurements
    store.close()
    assert found == measurement
    assert type(found.measured) is type(measurement.measured)


def test_boards_keep_their_order_and_are_replaced_without_losing_scenarios(path: Path) -> None:
    store = Store(path)
    run = store.start_run("x")
    for position, name in enumerate(["zeta", "alpha"]):
        store.record_board(run, replace(BOARD, id=name, firmware=FirmwareRecord("", "", "")), position=position)
    store.record_scenario(run, "zeta", RESULT)
    store.record_board(run, replace(BOARD, id="zeta"), position=0)
    store.record_problem(run, "alpha", "the port vanished")
    zeta, alpha = store.load_run(run).boards
    assert (zeta.id, zeta.firmware, len(zeta.scenarios)) == ("zeta", FIRMWARE, 1)
    assert (alpha.problem, alpha.outcome) == ("the port vanished", Outcome.ERROR)


def test_runs_newest_first(path: Path) -> None:
    store = Store(path)
    with pytest.raises(UsageError, match="holds no run yet"):
        store.latest()
    made = [store.start_run(f"run {n}") for n in range(5)]
    assert store.runs(3) == made[:1:-1]
    assert store.latest().command == "run 4"
    for number in (0, -1, 2**31, 10**30):
        with pytest.raises(UsageError, match=f"has no run {number}\n"):
            store.load_run(number)
    with pytest.raises(UsageError, match=r"has no run 99\n.*newest runs: 5, 4, 3, 2, 1"):
        try:
            store.load_run(99)
        except UsageError as problem:
            raise UsageError(str(problem)) from None


def test_calibrations_are_kept_for_board_and_firmware(path: Path) -> None:
    store = Store(path)
    one = Calibration(1.5, 0.1, (Point("loop", 3.0, 2.0),))
    store.save_calibration("b", "aa", replace(one, scale=9.0))
    store.save_calibration("b", "aa", one)
    assert store.load_calibration("b", "aa") == one
    assert store.load_calibration("b", "bb") is None
    assert store.load_calibration("c", "aa") is None


# -- a run that does not end, several that write at once ------------------------------------------

_WRITER = """
import sys
from pathlib import Path
from harness.bench.firmware_record import FirmwareRecord
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.store import Store
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
path, run, board, count = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
store = Store(path)
run = run or store.start_run("child")
store.record_board(run, BoardRecord(board, "esp32", FirmwareRecord("fw", "1", "")))
for index in range(count):
    m = tuple(Measurement(f"m{i}", "heap", "B", i, i, "", Outcome.PASS) for i in range(20))
    store.record_scenario(run, board, ScenarioResult("s", f"n{index}", Outcome.PASS, "", m))
    print(index, flush=True)
"""


def writer(path: Path, run: int, board: str, count: int) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", _WRITER, str(path), str(run), board, str(count)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE)


@pytest.mark.parametrize("after", [1, *random.Random(8).sample(range(2, 60), 4)])
def test_a_killed_run_keeps_what_had_finished(path: Path, after: int) -> None:
    with writer(path, 0, "b", 1_000_000) as process:
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(after)][-1]
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split(b"\n")[:-1]
    seen = int(rest[-1]) if rest else seen
    store = Store(path)
    found = store.latest()
    assert found.interrupted
    assert (found.outcome, found.exit_code) == (Outcome.ERROR, 3)
    names = [s.name for s in found.boards[0].scenarios]
    # What was reported is there; one more may have been committed and not yet reported. None is half there.
    assert names in ([f"n{i}" for i in range(seen + 1)], [f"n{i}" for i in range(seen + 2)])
    assert all(len(s.measurements) == 20 for s in found.boards[0].scenarios)
    again = store.start_run("next")
    store.finish_run(again)
    assert not store.load_run(again).interrupted


def test_several_processes_write_at_once_into_a_store_that_none_has_made(path: Path) -> None:
    names = ["a", "b", "c", "d"]
    processes = [writer(path, 1, name, 25) for name in names]
    assert [process.wait(60) for process in processes] == [0] * 4
    for process in processes:
        assert process.stdout is not None
        process.stdout.close()
    db = sqlite3.connect(path)
    assert db.execute("SELECT count(*) FROM scenario").fetchone() == (100,)
    assert db.execute("SELECT count(*) FROM measurement").fetchone() == (2000,)
    assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()


# -- files that cannot be used --------------------------------------------------------------------


def foreign(path: Path) -> None:
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE music (title TEXT)")
    db.commit()
    db.close()


def foreign_with_version(path: Path) -> None:
    foreign(path)
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=1")
    db.close()


def from_the_future(path: Path) -> None:
    Store(path).close()
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version=99")
    db.close()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"not a database, but long enough to look like one " * 40), "not a database"),
        (lambda path: path.mkdir(), "cannot be used as results store"),
        (foreign, "database of something else"),
        (foreign_with_version, "database of something else"),
        (from_the_future, "has version 99"),
    ],
)
def test_what_is_no_store_is_told_and_left_as_it_was(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    path = tmp_path / "results.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    with pytest.raises(UsageError, match=said) as caught:
        Store(path)
    assert caught.value.hint
    assert (path.read_bytes() if path.is_file() else b"") == before


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be used as results store"):
        Store(tmp_path / "file" / "results.sqlite")


def test_a_store_that_another_program_holds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "BUSY_SECONDS", 0.05)
    store = Store(path)
    run = store.start_run("x")
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(BenchFault, match=r"could not be stored: database is locked"):
        store.record_board(run, BOARD)
    reader = Store(path)
    assert reader.runs() == store.runs() == [run]  # readers go on, and may come new
    reader.close()
    holder.execute("ROLLBACK")
    store.record_board(run, BOARD)
    assert len(store.load_run(run).boards) == 1


def test_a_damaged_store_is_told(path: Path) -> None:
    store = Store(path)
    run = store.start_run("x")
    store.record_board(run, BOARD)
    store.record_scenario(run, "vesp32", RESULT)
    db = sqlite3.connect(path)
    db.execute("UPDATE measurement SET verdict='perfect' WHERE position=1")
    db.commit()
    db.close()
    with pytest.raises(BenchFault, match="damaged.*perfect"):
        store.load_run(run)
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xa5" * (len(data) - 4096)
    path.write_bytes(data)
    with pytest.raises((BenchFault, UsageError)):
        Store(path).load_run(run)
