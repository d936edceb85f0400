"""A reader and a writer of a lab's store, on a real PostgreSQL server: what each may do, and how a refusal is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from harness.errors import UsageError
from harness.judging.calibration import Calibration
from harness.results.exchange import counts
from harness.results.sending import Sending, unsent
from harness.results.store import Store
from tests.results.postgresql_server import Server, running_server
from tests.results.sample_stores import nightly
from tests.results.test_sending import BENCH

psycopg = pytest.importorskip("psycopg")

SUITE = """
from harness.judging.figures import Figure
from harness.kinds import COUNT
from harness.judging.limits import exactly


def test_mine(scenario):
    scenario.take(Figure("figure", COUNT), int(scenario.board.run("print(6*7)").stdout), limit=exactly(42))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as server:
        with psycopg.connect(server.url % "postgres", autocommit=True) as connection:
            for name in ("reader", '"Writer ""1"""'):
                connection.execute(f"CREATE ROLE {name} LOGIN")
        yield server


class Lab:
    """The store's address for its owner, a reader, and a writer with a name that has to be quoted."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.reader = owner.replace("harness@", "reader@")
        self.writer = owner.replace("harness@", "Writer%20%221%22@")


@pytest.fixture
def lab(server: Server, request: pytest.FixtureRequest) -> Lab:
    """With two nights in it, and the grants made by the command."""
    lab = Lab(server.database(f"r{abs(hash(request.node.nodeid))}"))
    store = Store(lab.owner)
    for build in range(2):
        nightly(store, {"x": ("heap", 48 + build)}, build=build)
    store.close()
    done = harness("store", "grant", "--reader", "reader", "--writer", 'Writer "1"', "--yes", "--store", lab.owner)
    assert done.exit_code == 0 and 'reader may read, Writer "1" may add runs' in done.output
    return lab


def harness(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(main, list(arguments))


def refused(*arguments: str) -> None:
    done = harness(*arguments)
    assert done.exit_code == 2, done.output
    assert "the server does not let this role do that: permission denied for table" in done.output
    assert "Traceback" not in done.output and len(done.output.strip().splitlines()) == 2  # and what to try


def filled(url: str) -> dict[str, object]:
    store = Store(url)
    found = counts(store)
    store.close()
    return found


def test_a_reader_reads_everything(lab: Lab, tmp_path: Path) -> None:
    for command in (
        ("store", "info"), ("store", "export", str(tmp_path / "all.jsonl")), ("history", "b"), ("history", "b", "x"),
        ("diff", "1", "2"), ("store", "prune", "--older-than", "0", "--keep", "1"),
    ):  # fmt: skip
        done = harness(*command, "--store", lab.reader)
        assert done.exit_code == 0, (command, done.output)
    assert len((tmp_path / "all.jsonl").read_text().splitlines()) == 7
    pytest.importorskip("flask")
    from harness.serving.app import Served, make_app

    (tmp_path / "boards.yaml").write_text(BENCH)
    client = make_app(Served(tmp_path / "boards.yaml", tmp_path / ".harness", lab.reader, tmp_path)).test_client()
    for page in ("/", "/run-2.html", "/board/b", "/figure/reload/leaks/x"):
        assert client.get(page).status_code == 200, page


def test_a_reader_writes_nothing(lab: Lab, tmp_path: Path) -> None:
    harness("store", "export", str(tmp_path / "all.jsonl"), "--store", lab.owner)
    before = filled(lab.owner)
    refused("store", "prune", "--older-than", "0", "--keep", "1", "--yes", "--store", lab.reader)
    other = Store(tmp_path / "other.sqlite")
    nightly(other, {"x": ("heap", 50)}, build=7)
    other.close()
    refused("store", "merge", str(tmp_path / "other.sqlite"), "--store", lab.reader)
    store = Store(lab.reader)
    with pytest.raises(UsageError, match="permission denied"):
        store.start_run("x")
    with pytest.raises(UsageError, match="permission denied"):
        store.save_calibration("b", "ab", Calibration(1.0, 0.1, ()))
    store.close()
    assert filled(lab.owner) == before


def test_a_run_for_a_reader_is_told_before_it_begins(lab: Lab, tmp_path: Path) -> None:
    sending = Sending(tmp_path / "results.sqlite", lab.reader, tmp_path)
    with pytest.raises(UsageError, match="may read the store and add no runs"):
        sending.begin(["b"])
    sending.stop()


def test_a_writer_has_its_night_and_takes_nothing_away(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_own.py").write_text(SUITE)
    command = [sys.executable, "-m", "harness", "nightly", "own", "--store", lab.writer]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert unsent(tmp_path / ".harness", lab.writer) == []
    before = filled(lab.owner)
    assert (before["run"], before["scenario"]) == (3, 3)
    refused("store", "prune", "--older-than", "0", "--keep", "1", "--yes", "--store", lab.writer)
    told = harness("store", "grant", "--writer", "reader", "--yes", "--store", lab.writer)
    assert told.exit_code == 2 and "this role did not make the store" in told.output
    with psycopg.connect(lab.writer, autocommit=True) as connection:
        connection.execute("INSERT INTO night_board VALUES ('n', 'b', 'open', '', '', 0, '')")
        assert connection.execute("UPDATE night_board SET state = 'taken'").rowcount == 1
        tables = (
            "run",
            "board",
            "scenario",
            "series",
            "limit_applied",
            "measurement",
            "event",
            "calibration",
            "night_board",
        )
        for table in tables:
            for statement in (f"DELETE FROM {table}", f"TRUNCATE {table} CASCADE", f"DROP TABLE {table} CASCADE"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement)
        for statement in (
            "UPDATE run SET command = ''", "UPDATE measurement SET measured = '0'", "UPDATE scenario SET outcome = 'x'",
            "CREATE TABLE mine (x int)", "UPDATE store_version SET version = 1",
        ):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
    assert filled(lab.owner) == before


def test_the_printed_sql_is_what_is_executed_and_lowers_a_writer_again(lab: Lab) -> None:
    Store(lab.writer).start_run("x")
    printed = harness("store", "grant", "--reader", 'Writer "1"', "--store", lab.owner)
    assert printed.exit_code == 0 and printed.output.startswith("REVOKE CREATE")
    Store(lab.writer).start_run("x")  # nothing was changed
    with psycopg.connect(lab.owner, autocommit=True) as connection:
        connection.execute(printed.output)
    with pytest.raises(UsageError, match="permission denied"):
        Store(lab.writer).start_run("x")


def test_what_cannot_be_granted_is_told(lab: Lab, tmp_path: Path) -> None:
    for arguments, words in (
        (("--reader", "nobody_here", "--yes", "--store", lab.owner), 'role "nobody_here" does not exist'),
        (("--reader", "reader", "--yes", "--store", str(tmp_path / "x.sqlite")), "a file has no roles"),
        (("--store", lab.owner), "nobody is named"),
        (("--reader", "", "--store", lab.owner), "no name of a role"),
    ):
        done = harness("store", "grant", *arguments)
        assert done.exit_code == 2 and words in done.output, done.output
        assert "Traceback" not in done.output


def test_a_reader_of_an_older_store_leaves_it_as_it_is(lab: Lab) -> None:
    with psycopg.connect(lab.owner, autocommit=True) as connection:
        connection.execute("UPDATE store_version SET version = 6")
        connection.execute("DROP INDEX board_by_name, series_of_figure")
    with pytest.raises(UsageError, match="must be owner"):
        Store(lab.reader)
