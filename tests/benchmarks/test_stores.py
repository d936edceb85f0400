"""The benchmarks that write a store's tables by themselves know the tables of today."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks import history, lab_store
from harness.results.series import figure_histories, histories
from harness.results.store import Store
from tests.results.postgresql_server import running_server


def test_the_store_of_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "many.sqlite"
    Store(path).close()
    history._fill(path, 2, random.Random(1))
    (found,) = histories(Store(path), "board03", "time07")
    assert len(found.entries) == 2


def test_the_store_of_a_year(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "_NIGHTS", 3)
    store = Store(tmp_path / "year.sqlite")
    history._write_year(store, random.Random(1), {})
    assert len(histories(store, "board00")) == 80


def test_a_labs_store() -> None:
    pytest.importorskip("psycopg")
    with running_server() as server:
        store = Store(server.database("lab"))
        lab_store._fill(store, 2, 2, 3, 4, 5)
        found = figure_histories(store, "suite0", "scenario3", "f3_4")
        assert [(one.board, len(one.entries)) for one in found] == [(f"board{n:03}", 2) for n in range(6)]
        run = store.load_run(store.runs(1)[0])
        assert [len(board.scenarios) for board in run.boards] == [4, 4, 4] and len(store.runs()) == 4
        store.close()
