"""Results for a server's store, with a real PostgreSQL server that goes and comes."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from harness.bench.firmware_record import FirmwareRecord
from harness.errors import UsageError
from harness.judging.calibration import Calibration, Point
from harness.judging.outcome import Outcome
from harness.results.database import ServerAway
from harness.results.run_record import BoardRecord, Event, ScenarioResult
from harness.results.sending import NotSent, Sending, fetch, remember, send, unsent
from harness.results.store import Store
from tests.results.postgresql_server import Server, running_server

pytest.importorskip("psycopg")

BOARD = BoardRecord("b1", "esp32", FirmwareRecord("fw.bin", "v1.27.0", "ab" * 32))


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with running_server() as server:
        yield server


@pytest.fixture
def url(running: Server, request: pytest.FixtureRequest) -> str:
    return running.database(f"s{abs(hash(request.node.nodeid))}")


def scenario(name: str, suite: str = "reload") -> ScenarioResult:
    return ScenarioResult(suite, name, Outcome.PASS, "", (), 1.0, 100.0)


def begun(state: Path, url: str) -> tuple[Store, int, str]:
    """A run that goes on, with one result; it belongs to the server."""
    local = Store(state / "results.sqlite")
    run = local.start_run("harness run")
    local.record_board(run, BOARD)
    local.record_scenario(run, "b1", scenario("first"))
    uid = local.load_run(run).uid
    remember(state, uid, url)
    return local, run, uid


def there(url: str) -> list[list[str]]:
    """The names of the scenarios of each run in the server's store."""
    store = Store(url)
    found = [[s.name for board in store.load_run(run).boards for s in board.scenarios] for run in store.runs()]
    store.close()
    return found


def test_a_run_is_sent_as_it_grows_and_forgotten_when_it_has_ended(url: str, tmp_path: Path) -> None:
    local, run, uid = begun(tmp_path, url)
    send(local, url, tmp_path)
    assert there(url) == [["first"]] and unsent(tmp_path, url) == [uid]
    local.record_scenario(run, "b1", scenario("second"))
    local.record_event(run, "b1", Event("reset", "again", 5.0, "reload: second"))
    local.record_problem(run, "b1", "gone")
    assert (report := send(local, url, tmp_path)).scenarios == 1
    assert report.events == 1 and report.conflicts == 0
    local.record_problem(run, "b1", "")  # it was resumed
    local.finish_run(run)
    send(local, url, tmp_path)
    assert there(url) == [["first", "second"]] and unsent(tmp_path, url) == []
    server = Store(url)
    (number,) = server.runs()
    whole = server.load_run(number)
    server.close()
    assert replace(whole, id=run) == local.load_run(run)


def test_a_server_that_is_away_keeps_nothing_from_being_kept(running: Server, url: str, tmp_path: Path) -> None:
    local, run, uid = begun(tmp_path, url)
    running.stop()
    try:
        with pytest.raises(ServerAway):
            send(local, url, tmp_path)
        sending = Sending(tmp_path / "results.sqlite", url, tmp_path)
        assert "cannot be reached" in sending.begin(["b1"])
        local.finish_run(run)
        with pytest.raises(NotSent, match=f"as run {run}") as caught:
            sending.end(run, patience=0)
        assert (caught.value.run, caught.value.exit_code) == (run, 3)
        assert unsent(tmp_path, url) == [uid]
    finally:
        running.start()
    send(local, url, tmp_path)
    assert there(url) == [["first"]] and unsent(tmp_path, url) == []


def test_two_that_send_one_run_at_once_send_it_once(url: str, tmp_path: Path) -> None:
    local, run, _ = begun(tmp_path, url)
    for number in range(40):
        local.record_scenario(run, "b1", scenario(f"s{number}"))
    Store(url).close()

    def again(_: int) -> None:
        store = Store(tmp_path / "results.sqlite")
        send(store, url, tmp_path)
        store.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(again, range(8)))
    assert there(url) == [["first", *(f"s{number}" for number in range(40))]]


def test_what_scenarios_look_back_at_comes_from_the_server(url: str, tmp_path: Path) -> None:
    """Another host has had this board: its calibration, and the newest run that measured its times."""
    server = Store(url)
    for name in ("old", "new"):
        run = server.start_run("harness run")
        server.record_board(run, BOARD)
        server.record_scenario(run, "b1", scenario(name, "calibration"))
        server.finish_run(run)
    server.record_board(server.start_run("harness run"), BOARD)  # another goes on
    fit = Calibration(1.5, 0.1, (Point("loop", 3.0, 2.0),))
    server.save_calibration("b1", "aa", fit)
    server.save_calibration("another", "aa", fit)
    server.close()
    local = Store(tmp_path / "results.sqlite")
    fetch(local, url, ["b1", "b2"])
    names = [[s.name for board in local.load_run(run).boards for s in board.scenarios] for run in local.runs()]
    assert names == [["new"]]
    assert local.load_calibration("b1", "aa") == fit and local.load_calibration("another", "aa") is None


def test_a_store_that_is_none_is_told_before_the_run(running: Server, tmp_path: Path) -> None:
    sending = Sending(tmp_path / "results.sqlite", running.url % "no_such_database", tmp_path)
    with pytest.raises(UsageError, match="no_such_database"):
        sending.begin(["b1"])
    sending.stop()


SUITE = """
import subprocess
from harness.judging.figures import Figure
from harness.kinds import COUNT
from harness.judging.limits import exactly

FIGURE = Figure("figure", COUNT)


def test_a_before(scenario):
    scenario.take(FIGURE, int(scenario.board.run("print(6*7)").stdout), limit=exactly(42))


def test_b_in_between(scenario):
    subprocess.run({stop}, check=True, cwd="/", stdout=subprocess.DEVNULL)
    scenario.take(FIGURE, int(scenario.board.run("print(6*7)").stdout), limit=exactly(42))


def test_c_afterwards(scenario):
    subprocess.run({start}, check=True, cwd="/", stdout=subprocess.DEVNULL)
    scenario.take(FIGURE, int(scenario.board.run("print(6*7)").stdout), limit=exactly(42))
"""
BENCH = """
boards:
  - id: tv32
    chip: esp32
    runtime: micropython
    virtual: {pace: fast}
    firmware: {build: virtual}
"""


def test_a_server_that_is_restarted_in_the_middle_costs_a_run_nothing(
    running: Server, url: str, tmp_path: Path
) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "own").mkdir()
    suite = SUITE.format(stop=running.command(*running.end), start=running.command(*running.begin))
    (tmp_path / "own" / "test_own.py").write_text(suite)
    command = [sys.executable, "-m", "harness", "run", "own", "--store", url, "--json", "out.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "out.json").read_text())["exit_code"] == 0
    assert there(url) == [["a_before", "b_in_between", "c_afterwards"]]
    assert unsent(tmp_path / ".harness", url) == []
