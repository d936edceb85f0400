"""The store on a real PostgreSQL server, started for these tests; skipped where none is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import BenchFault, UsageError
from harness.judging.calibration import Calibration, Point
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
from harness.results import store_schema
from harness.results.database import ServerAway
from harness.results.exchange import export_lines, merge
from harness.results.run_record import BoardRecord, Event, ScenarioResult
from harness.results.store import Store
from harness.results.store_schema import VERSION
from tests.results.postgresql_server import Server, running_server

psycopg = pytest.importorskip("psycopg")

BOARD = BoardRecord("b\x00", "esp32", FirmwareRecord("fw.bin", "v1.27.0", "ab" * 32), facts={"heap_total": 56000})
HEAP = Measurement("x", "heap", "B", 2**70, 48, "exactly 48 B", Outcome.PASS, "to the byte", (48, 64))
STATE = Measurement("s", "state", "-", "ok\x00'\ud800", None, "exactly \x00", Outcome.FAIL)
RESULT = ScenarioResult("reload", "leaks", Outcome.FAIL, "\x00 x'y", (HEAP, STATE), 1.5, 1000.25)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def url(server: Server, request: pytest.FixtureRequest) -> str:
    """An empty database of its own for each test."""
    return server.database(f"t{abs(hash(request.node.nodeid))}")


def test_what_was_recorded_is_loaded(url: str) -> None:
    store = Store(url)
    run = store.start_run("harness run")
    store.record_board(run, replace(BOARD, problem="not yet"))
    store.record_board(run, BOARD)
    store.record_scenario(run, BOARD.id, RESULT)
    store.record_event(run, BOARD.id, Event("reset", "\x00", 1000.5))
    store.finish_run(run)
    store.close()
    again = Store(url)
    found = again.latest()
    assert found.boards == (replace(BOARD, scenarios=(RESULT,), events=(Event("reset", "\x00", 1000.5),)),)
    assert not found.interrupted
    again.save_calibration("b", "aa", Calibration(1.5, 0.1, (Point("loop", 3.0, 2.0),)))
    again.save_calibration("b", "aa", Calibration(2.5, 0.1, ()))
    calibration = again.load_calibration("b", "aa")
    assert calibration is not None
    assert calibration.scale == 2.5
    again.close()


def test_a_store_is_merged_from_sqlite_and_back(url: str, tmp_path: Path) -> None:
    host, central, back = Store(tmp_path / "host"), Store(url), Store(tmp_path / "back")
    run = host.start_run("x")
    host.record_board(run, BOARD)
    host.record_scenario(run, BOARD.id, RESULT)
    merge(central, host)
    assert merge(central, host).scenarios == 0
    merge(back, central)
    assert list(export_lines(back)) == list(export_lines(central)) == list(export_lines(host))
    for store in (host, central, back):
        store.close()


def test_several_writers_make_the_store_and_write_at_once(url: str) -> None:
    def write(number: int) -> None:
        store = Store(url)
        run = store.start_run(f"run {number}")
        store.record_board(run, BOARD)
        for index in range(10):
            store.record_scenario(run, BOARD.id, replace(RESULT, name=f"n{index}"))
        store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    store = Store(url)
    assert [len(store.load_run(run).boards[0].scenarios) for run in store.runs()] == [10] * 4
    store.close()


def test_a_database_of_something_else_is_told_and_left(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE music (title TEXT)")
    with pytest.raises(UsageError, match="database of something else"):
        Store(url)
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname='public'").fetchall()
    assert rows == [("music",)]


def test_a_store_of_a_later_harness_is_refused(url: str) -> None:
    Store(url).close()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"UPDATE store_version SET version={VERSION + 1}")
    with pytest.raises(UsageError, match=f"has version {VERSION + 1}"):
        Store(url)


def test_no_server_and_no_password_in_the_message(tmp_path: Path) -> None:
    with pytest.raises(ServerAway, match="server cannot be reached") as caught:
        Store(f"postgresql://u:secret@/nothing?host={tmp_path}")
    assert "secret" not in str(caught.value)


def test_writing_to_a_run_that_is_not_there_is_told(url: str) -> None:
    store = Store(url)
    with pytest.raises(BenchFault, match="could not be stored"):
        store.record_board(99, BOARD)
    store.close()


_WRITER = """
import sys
from harness.bench.firmware_record import FirmwareRecord
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.store import Store
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome
store = Store(sys.argv[1])
run = store.start_run("child")
store.record_board(run, BoardRecord("b", "esp32", FirmwareRecord("fw", "1", "")))
for index in range(100000):
    m = tuple(Measurement(f"m{i}", "heap", "B", i, i, "", Outcome.PASS) for i in range(20))
    store.record_scenario(run, "b", ScenarioResult("s", f"n{index}", Outcome.PASS, "", m))
    print(index, flush=True)
"""


def test_a_killed_writer_leaves_what_had_finished(url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", _WRITER, url], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        seen = [int(process.stdout.readline()) for _ in range(5)][-1]
        process.kill()
        rest = process.stdout.read().split(b"\n")[:-1]
    seen = int(rest[-1]) if rest else seen
    store = Store(url)
    scenarios = store.latest().boards[0].scenarios
    assert len(scenarios) in (seen + 1, seen + 2)
    assert all(len(s.measurements) == 20 for s in scenarios)
    store.close()


def test_a_store_of_version_5_is_brought_up_to_date(url: str) -> None:
    steps = store_schema._STEP_3.format(serial="INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY", clustered="")
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in f"{steps};\n{store_schema._STEP_4};\n{store_schema._STEP_5}".split(";\n"):
            connection.execute(statement)
        connection.execute("CREATE TABLE store_version (version INTEGER NOT NULL)")
        connection.execute("INSERT INTO store_version VALUES (5)")
        connection.execute("INSERT INTO run VALUES (1, 'u', 1, 2, 'old', '{}')")
    store = Store(url)
    assert store.latest().command == "old"
    store.close()
    with psycopg.connect(url) as connection:
        indices = {name for (name,) in connection.execute("SELECT indexname FROM pg_indexes WHERE schemaname='public'")}
        # A limit that is taken out must not make the server read all measurements.
        checks = connection.execute("SELECT conname FROM pg_constraint WHERE confrelid = 'limit_applied'::regclass")
        assert {"board_by_name", "series_of_figure"} <= indices and checks.fetchall() == []


def test_short_questions_are_planned_as_such(url: str) -> None:
    store = Store(url)
    with store.database.reading() as connection:
        kept = [connection.exec_driver_sql(f"SHOW {name}").scalar_one() for name in ("random_page_cost", "jit")]
    store.close()
    assert kept == ["1.1", "off"]


def test_a_server_that_goes_while_it_is_connected_to_is_away_and_no_traceback(
    server: Server, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    Store(url).close()
    connect = psycopg.connect

    def connected_and_gone(*arguments: object, **options: object) -> object:
        connection = connect(*arguments, **options)
        with connect(server.url % "postgres", autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", [connection.info.backend_pid])
        return connection

    monkeypatch.setattr(psycopg, "connect", connected_and_gone)
    with pytest.raises(ServerAway):
        Store(url)
