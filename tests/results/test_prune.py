"""What a store keeps no longer: dry first, the newest runs of each board never, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import func, select, update

from harness.cli import main
from harness.results.exchange import counts, export_lines
from harness.results.prune import old_runs, remove_runs, remove_unused
from harness.results.store import Store
from harness.results.store_schema import RUN, SERIES
from tests.results.postgresql_server import running_server
from tests.results.sample_stores import nightly

DAY = 86_400.0


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Ten runs of board b a day apart, one of board c on day 0, and one of b on day 3 that never ended."""
    if request.param == "sqlite":
        yield filled(Store(tmp_path / "results.sqlite"))
        return
    pytest.importorskip("psycopg")
    with running_server() as server:
        yield filled(Store(server.database("prune")))


def filled(store: Store) -> Store:
    begun = {nightly(store, {"x": ("heap", 48), f"only{n}": ("heap", n)}, build=n): n for n in range(10)}
    begun[nightly(store, {"x": ("heap", 48)}, build=0, board="c")] = 0
    begun[killed := nightly(store, {"x": ("heap", 48)}, build=3)] = 3
    with store.database.writing() as connection:
        for run, day in begun.items():
            connection.execute(update(RUN).where(RUN.c.id == run).values(started=DAY * (day + 1)))
        connection.execute(update(RUN).where(RUN.c.id == killed).values(finished=0.0))
    return store


def days(store: Store) -> list[float]:
    with store.database.reading() as connection:
        return [started / DAY - 1 for started in connection.execute(select(RUN.c.started).order_by(RUN.c.id)).scalars()]


def test_old_runs_go_and_the_newest_of_each_board_stay(store: Store) -> None:
    old = old_runs(store, before=DAY * 5.5, keep=2)  # days 0 to 4
    assert (len(old.runs), old.scenarios, old.measurements) == (6, 6, 11)  # c's only run stays
    kept = [line for run in store.runs() if run not in old.runs for line in export_lines(store, [run])]
    told: list[int] = []
    remove_runs(store, old.runs, told.append)
    remove_unused(store)
    assert sum(told) == 6 and days(store) == [5, 6, 7, 8, 9, 0]
    assert [line for run in store.runs() for line in export_lines(store, [run])] == kept
    assert counts(store)["measurement"] == len([1 for n in range(5, 10)]) * 2 + 1
    with store.database.reading() as connection:
        names = set(connection.execute(select(SERIES.c.name)).scalars())
        assert names == {"x", *(f"only{n}" for n in range(5, 10))}
        assert connection.execute(select(func.count()).select_from(SERIES)).scalar_one() == 7
    assert old_runs(store, before=DAY * 5.5, keep=2).runs == ()


def test_a_run_that_may_go_on_stays(store: Store) -> None:
    assert len(old_runs(store, before=DAY * 4.5, keep=1).runs) == 4  # days 0 to 3, but not the one without an end
    assert len(old_runs(store, before=DAY * 5.5, keep=1).runs) == 6


def test_the_command_changes_nothing_unless_it_is_told_to(tmp_path: Path) -> None:
    path = tmp_path / "results.sqlite"
    filled(Store(path)).close()

    def prune(*arguments: str) -> str:
        result = CliRunner(env={"COLUMNS": "200"}).invoke(main, ["store", "prune", "--store", str(path), *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    before = path.read_bytes()
    assert "10 runs with 10 scenarios" in (said := prune("--older-than", "30", "--keep", "1")), said
    assert "nothing was changed" in said and path.read_bytes() == before
    assert "were taken out" in prune("--older-than", "30", "--keep", "1", "--yes")
    assert "nothing is so old" in prune("--older-than", "30", "--keep", "1")
    store = Store(path)
    assert days(store) == [9, 0]
    store.close()
