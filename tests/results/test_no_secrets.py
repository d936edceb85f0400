"""A password in a database's address stands nowhere: not in a store, a report, a message, or a child's arguments."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import update

from harness.campaigns import bench_run
from harness.campaigns.bench_run import RunRequest
from harness.campaigns.work import Task
from harness.errors import BenchFault, UsageError
from harness.inventory.load import load_bench
from harness.no_secrets import without_secrets
from harness.paths import shipped_bench
from harness.results.database import Database
from harness.results.exchange import export_lines, import_lines
from harness.results.report.html import run_to_html
from harness.results.report.json_report import run_to_json
from harness.results.report.junit import write_junit
from harness.results.store import Store
from harness.results.store_schema import RUN
from tests.results.test_exchange import filled

URL = "postgresql://lab:s3cr3t@db/results"
COMMAND = f"harness run --store {URL} --boards b"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (URL, "postgresql://lab:***@db/results"),
        ("mysql+x://u:p/a@ss#w@h/db?x=1 and more", "mysql+x://u:***@h/db?x=1 and more"),
        ("postgresql://h/db?user=u&password=s3cr3t&x=1", "postgresql://h/db?user=u&password=***&x=1"),
        ("host=h sslpassword=s3cr3t x", "host=h sslpassword=*** x"),
        ("http://relay-3:80/cm", "http://relay-3:80/cm"),
        ("12:30 a@b", "12:30 a@b"),
    ],
)
def test_only_the_password_goes(text: str, clean: str) -> None:
    assert without_secrets(text) == clean


def _everything(store: Store, folder: Path) -> str:
    (run,) = [store.load_run(1)]
    write_junit(run, folder / "junit.xml")
    return "\n".join(
        [*export_lines(store), run_to_html(run), json.dumps(run_to_json(run)), (folder / "junit.xml").read_text()]
    )


def test_what_was_typed_is_kept_without_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "a.sqlite")
    run = store.start_run(COMMAND)
    store.finish_run(run)
    assert "--store postgresql://lab:***@db/results" in store.load_run(run).command
    assert b"s3cr3t" not in b"".join(file.read_bytes() for file in tmp_path.glob("a.sqlite*"))
    store.close()


def test_an_old_store_and_an_old_export_give_it_away_no_more(tmp_path: Path) -> None:
    store = filled(tmp_path / "a.sqlite")
    with store.database.writing() as connection:
        connection.execute(update(RUN).values(command=COMMAND))
    assert "s3cr3t" not in _everything(store, tmp_path)
    lines = [line.replace("postgresql://lab:***@db", "postgresql://lab:s3cr3t@db") for line in export_lines(store)]
    assert "s3cr3t" in "".join(lines)
    store.close()
    other = Store(tmp_path / "b.sqlite")
    import_lines(other, lines)
    assert "s3cr3t" not in _everything(other, tmp_path)
    other.close()
    assert b"s3cr3t" not in b"".join(file.read_bytes() for file in tmp_path.glob("b.sqlite*"))


def test_no_message_names_it() -> None:
    assert "s3cr3t" not in str(BenchFault(f"{URL}: gone", hint="x"))
    with pytest.raises(UsageError) as problem:
        Database("nonsense://lab:s3cr3t@127.0.0.1:1/results")
    assert "s3cr3t" not in str(problem.value)


def test_a_boards_process_is_told_by_its_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], dict[str, str]]] = []

    class Process:
        def __init__(self, arguments: list[str], _log: Path, *, environment: dict[str, str]) -> None:
            seen.append((arguments, environment))

    monkeypatch.setattr(bench_run, "BoardProcess", Process)
    bench = load_bench(shipped_bench())
    request = RunRequest(
        bench_file=shipped_bench(), boards=[bench.boards[0]], state=tmp_path, store=URL, command=COMMAND
    )
    bench_run._start(request, Task(bench.boards[0]), 1)
    ((arguments, environment),) = seen
    assert "s3cr3t" not in " ".join(arguments)
    assert URL in environment.values()
