"""Stores of older versions become present ones, with everything that was in them."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, inspect

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import UsageError
from harness.judging.compare import Measurement
from harness.judging.limits import Bounds, within_blocks
from harness.judging.outcome import Outcome
from harness.results.run_diff import diff
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.series import histories
from harness.results.store import Store
from harness.results.store_schema import _STEP_3, METADATA, VERSION, key_of

#: The dump of a store that version 2 of the code has written.
_DUMP = (Path(__file__).parent / "version_2.sql").read_text("utf-8")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "results.sqlite"


def old_store(path: Path, version: int) -> None:
    db = sqlite3.connect(path)
    db.executescript(_DUMP)
    if version == 1:
        db.executescript("DROP TABLE calibration; PRAGMA user_version=1;")
    db.close()


def shape(path: Path) -> dict[str, tuple[list[str], ...]]:
    """Tables with their columns, keys and indexes."""
    engine = create_engine(f"sqlite:///{path}")
    found = inspect(engine)
    result: dict[str, tuple[list[str], ...]] = {
        table: (
            [str(column["name"]) for column in found.get_columns(table)],
            found.get_pk_constraint(table)["constrained_columns"],
            sorted(str(index["column_names"]) for index in found.get_indexes(table)),
            sorted(str(unique["column_names"]) for unique in found.get_unique_constraints(table)),
        )
        for table in found.get_table_names()
    }
    engine.dispose()
    return result


@pytest.mark.parametrize("version", [1, 2])
def test_an_old_store_keeps_everything_that_was_in_it(path: Path, version: int) -> None:
    old_store(path, version)
    store = Store(path)
    first, second = store.load_run(1), store.load_run(2)
    assert [first.command, second.command] == ["harness run 0", "harness run 1"]
    assert (first.interrupted, second.interrupted) == (False, True)
    zeta, alpha = second.boards
    assert zeta.firmware == FirmwareRecord("ESP32_GENERIC-20250809-v1.26.0.bin", "v1.26.0", "ab" * 32)
    assert (zeta.facts["machine"], alpha.problem) == ("x'y", "no power")
    assert [(s.name, s.outcome.value) for s in zeta.scenarios] == [
        ("leaks", "fail"),
        ("leaks", "pass"),
        ("files", "error"),
    ]
    x, t, s = zeta.scenarios[0].measurements
    assert (x.measured, x.reference, x.limit, x.rule, x.samples) == (
        64,
        48,
        "exactly 48 B",
        "to the byte",
        (48, 48, 64),
    )
    assert (x.verdict, t.measured, t.reference, s.measured) == (Outcome.FAIL, 12.5, None, "ok\x00'\"")
    found = store.load_calibration("zeta", "ab" * 32)
    assert (found is not None) == (version == 2)
    run = store.start_run("next")
    store.record_board(run, zeta)
    store.record_scenario(run, "zeta", zeta.scenarios[0])
    assert store.latest().boards[0].scenarios == zeta.scenarios[:1]
    store.close()


def test_a_store_of_version_3_gets_bounds_and_agrees_about_its_limits(path: Path) -> None:
    db = sqlite3.connect(path)
    statements = _STEP_3.format(serial="INTEGER NOT NULL PRIMARY KEY", clustered=" WITHOUT ROWID")
    key, series = key_of("exactly 48 B", "to the byte"), key_of("b", "reload", "leaks", "x", "heap", "B")
    db.executescript(
        f"""{statements};
        INSERT INTO run VALUES (1, 'u', 1.0, 2.0, 'old', '{{}}');
        INSERT INTO board VALUES (1, 'b', 0, 'esp32', 'fw', 'v1', '', 'fw', '', '{{}}');
        INSERT INTO scenario VALUES (1, 1, 'b', 0, 'reload', 'leaks', 'pass', '', 1.0, 1.0, '');
        INSERT INTO series VALUES ({series}, 'b', 'reload', 'leaks', 'x', 'heap', 'B');
        INSERT INTO limit_applied VALUES ({key}, 'exactly 48 B', 'to the byte');
        INSERT INTO measurement SELECT id, 1, 0, '48', '48', {key}, 'pass', '[]' FROM series;
        PRAGMA user_version=3"""
    )
    db.close()
    store = Store(path)
    old = store.latest().boards[0].scenarios[0]
    assert (old.measurements[0].measured, old.measurements[0].bounds) == (48, None)
    exact = Bounds(equal=48)
    new = replace(old, measurements=(*old.measurements, replace(old.measurements[0], bounds=exact)))
    store.record_scenario(1, "b", new)
    assert store.latest().boards[0].scenarios == (old, new)
    store.close()
    db = sqlite3.connect(path)
    assert db.execute("SELECT bounds = 'null', count(*) FROM limit_applied GROUP BY 1").fetchall() == [(0, 1), (1, 1)]
    db.close()


def test_figures_that_were_kept_by_name_go_on_as_their_kind(path: Path) -> None:
    """``x.kept`` was of the kind heap once: read as it was, judged as it was, and one history with what comes now."""
    store = Store(path)
    bounds = within_blocks(784, 9, why="another build").bounds
    for kind, value in (("heap", 880), ("heap", 880), ("heap_kept", 880), ("heap_kept", 928), ("heap_kept", 928)):
        run = store.start_run("nightly")
        store.record_board(run, BoardRecord("b", "esp32", FirmwareRecord("fw.bin", "v1", "ab")))
        m = Measurement("import.kept", kind, "B", value, 784, "within 9 blocks", bounds.judge(value), bounds=bounds)
        store.record_scenario(run, "b", ScenarioResult("flash", "mpy", Outcome.PASS, measurements=(m,)))
        store.finish_run(run)
        assert store.load_run(run).boards[0].scenarios[0].measurements == (m,)
        assert m.verdict is Outcome.PASS
    (history,) = histories(store, "b")
    assert (history.kind, [entry.measured for entry in history.entries]) == ("heap_kept", [880, 880, 880, 928, 928])
    (step,) = history.judge().steps
    assert (step.first, step.before, step.after) == (3, 880, 928)
    store.close()


def test_a_figure_skipped_in_some_runs_has_a_history_of_the_others(path: Path) -> None:
    store = Store(path)
    for value in (48, None, 64):
        run = store.start_run("nightly")
        store.record_board(run, BoardRecord("b", "esp32", FirmwareRecord("fw.bin", "v1", "ab")))
        verdict, reason = (Outcome.PASS, "") if value else (Outcome.SKIPPED, "nobody knows")
        m = Measurement("x", "heap", "B", value, None, "any", verdict, reason=reason)
        store.record_scenario(run, "b", ScenarioResult("s", "n", verdict, measurements=(m,)))
    (history,) = histories(store, "b")
    assert [entry.measured for entry in history.entries] == [48, 64]
    (gone,) = [c for c in diff(store, 1, 2) if c.what == "figure"]
    assert (gone.before, gone.after, gone.why) == (48, None, "skipped: nobody knows")
    (back,) = [c for c in diff(store, 2, 3) if c.what == "figure"]
    assert (back.before, back.after, back.why) == (None, 64, "was skipped: nobody knows")
    store.close()


def test_old_and_new_stores_come_to_the_same_tables(tmp_path: Path) -> None:
    old_store(tmp_path / "old", 1)
    Store(tmp_path / "old").close()
    Store(tmp_path / "new").close()
    assert shape(tmp_path / "old") == shape(tmp_path / "new")


def test_the_steps_make_the_tables_that_the_code_queries(tmp_path: Path) -> None:
    Store(tmp_path / "made").close()
    engine = create_engine(f"sqlite:///{tmp_path / 'described'}")
    METADATA.create_all(engine)
    engine.dispose()
    assert shape(tmp_path / "made") == shape(tmp_path / "described")


def test_two_copies_of_an_old_store_hold_the_same_runs(tmp_path: Path) -> None:
    names = []
    for copy in ("a", "b"):
        old_store(tmp_path / copy, 2)
        store = Store(tmp_path / copy)
        names.append([store.load_run(run).uid for run in store.runs()])
        store.close()
    assert names[0] == names[1]
    assert len(set(names[0])) == 2


def test_an_upgrade_that_fails_leaves_the_old_store_as_it_was(path: Path) -> None:
    old_store(path, 2)
    db = sqlite3.connect(path)
    db.execute("UPDATE scenario SET outcome=NULL WHERE id=4")
    db.commit()
    before = list(db.iterdump())
    db.close()
    with pytest.raises(UsageError, match=r"scenario\.outcome"):
        Store(path)
    db = sqlite3.connect(path)
    assert list(db.iterdump()) == before
    assert db.execute("PRAGMA user_version").fetchone() == (2,)
    db.close()


def test_the_version_is_in_the_file_for_older_harnesses_to_refuse(path: Path) -> None:
    Store(path).close()
    db = sqlite3.connect(path)
    assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)
    db.close()
