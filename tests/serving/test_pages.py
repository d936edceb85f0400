"""The lab's pages: what they show, who may read them, and that nothing a board said acts in them."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.request
from base64 import b64encode
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("flask")
from flask.testing import FlaskClient
from sqlalchemy import update

from harness.bench.firmware_record import FirmwareRecord
from harness.bench.health import HealthBook
from harness.errors import UsageError
from harness.inventory.load import load_bench
from harness.inventory.locks import board_lock
from harness.judging.outcome import Outcome
from harness.results.run_record import BoardRecord, ScenarioResult
from harness.results.store import Store
from harness.results.store_schema import RUN
from harness.serving.app import Served, is_loopback, make_app
from tests.results.sample_stores import nightly

BENCH = """
boards:
  - {id: b, chip: esp32, runtime: micropython, virtual: {pace: fast}, firmware: {build: virtual}}
"""
ATTACK = "<script>alert(1)</script>\x1b[31m"


@pytest.fixture
def served(tmp_path: Path) -> Served:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "certificates").mkdir()
    return Served(
        tmp_path / "boards.yaml", tmp_path / ".harness", tmp_path / ".harness/results.sqlite", tmp_path / "certificates"
    )


@pytest.fixture
def client(served: Served) -> FlaskClient:
    return make_app(served, hosts=frozenset({"localhost"})).test_client()


def store_of(served: Served) -> Store:
    return Store(served.store)


def text(client: FlaskClient, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert "<script" not in answer.text and "\x1b" not in answer.text
    return answer.text


def test_a_bench_without_results_is_a_page_too(client: FlaskClient) -> None:
    assert "No run is in the store yet" in text(client, "/")
    assert "no results yet" in text(client, "/run-1.html", 404)


def test_the_bench_says_who_holds_a_board_and_how_it_is(client: FlaskClient, served: Served) -> None:
    HealthBook(served.state).fault("b", f"the port vanished {ATTACK}")
    (board,) = load_bench(served.bench_file).boards
    with board_lock(board, served.state, purpose="harness run"):
        page = text(client, "/")
    assert "suspect since" in page and "the port vanished" in page and "harness run" in page
    assert "free" in text(client, "/")


def test_a_runs_page_is_asked_for_again_while_it_goes_on(client: FlaskClient, served: Served) -> None:
    store = store_of(served)
    run = store.start_run("harness run")
    store.record_board(run, BoardRecord("b", "esp32", FirmwareRecord("fw", "v1", "ab")))
    store.record_scenario(run, "b", ScenarioResult("reload", "first", Outcome.PASS, "", (), 1.0, time.time()))
    assert 'http-equiv="refresh"' in text(client, f"/run-{run}.html") and "Goes on: " in text(client, "/")
    store.finish_run(run)
    assert 'http-equiv="refresh"' not in text(client, f"/run-{run}.html") + text(client, "/")
    killed = store.start_run("harness run")
    with store.database.writing() as connection:
        connection.execute(update(RUN).where(RUN.c.id == killed).values(started=time.time() - 7200))
    assert "Goes on" not in text(client, "/")


def test_a_figure_over_the_boards_names_the_run_of_its_step(client: FlaskClient, served: Served) -> None:
    store = store_of(served)
    for build, value in enumerate([784] * 4 + [800] * 3):
        nightly(store, {"x": ("heap", value)}, build=build)
        nightly(store, {"x": ("heap", 500)}, build=build, board="other")
    links = re.findall(r"/figure/[^']+", text(client, "/board/b"))
    assert links == ["/figure/reload/leaks/x"]
    page = text(client, links[0])
    assert "784 B → 800 B" in page and page.count("<svg") == 2
    assert re.search(r"first in <a href='/run-9.html'>run 9</a>", page)  # two runs a night: the fifth night's first
    assert "no board has a figure" in text(client, "/figure/reload/leaks/y", 404)


def test_nothing_that_a_board_or_a_file_said_acts_in_a_page(client: FlaskClient, served: Served) -> None:
    store = store_of(served)
    run = store.start_run(f"harness run {ATTACK}")
    board = BoardRecord(f"b{ATTACK}/..", "esp32", FirmwareRecord(ATTACK, ATTACK, "ab"), problem=ATTACK)
    store.record_board(run, board)
    store.record_board(run, replace(board, id="b"))
    result = ScenarioResult(ATTACK, ATTACK, Outcome.FAIL, ATTACK, (), 1.0, 1000.0)
    store.record_scenario(run, board.id, result)
    store.finish_run(run)
    (served.certificates / "x.certificate.html").write_text(f"<script>{ATTACK}</script>")
    for path in ("/", f"/run-{run}.html", "/board/b", "/board/<script>", "/figure/<script>/a/b", "/%3Cscript%3E"):
        answer = client.get(path)
        assert "<script" not in answer.text and "\x1b" not in answer.text, path
    assert "is not a certificate" in text(client, "/certificate/x.certificate.html", 404)
    assert client.get("/certificate/..%2Fboards.yaml").status_code == 404


def test_nothing_can_be_changed_and_no_other_name_is_answered(client: FlaskClient) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.open("/", method=method).status_code == 405
    assert client.get("/", headers={"Host": "elsewhere.example"}).status_code == 421
    assert client.get("/", headers={"Host": "localhost:8321"}).status_code == 200


def test_a_token_is_needed_where_one_is_set(served: Served) -> None:
    token = "0123456789abcdef"
    client = make_app(served, token=token).test_client()

    def status(words: str) -> int:
        return client.get("/", headers={"Authorization": words} if words else {}).status_code

    def basic(password: str) -> str:
        return "Basic " + b64encode(f"lab:{password}".encode()).decode()

    wrong = ["", "Bearer", "Bearer " + token[:-1], basic(token + "0"), "Basic !", "Digest " + token, basic("")]
    assert [status(words) for words in wrong] == [401] * len(wrong)
    assert status(f"Bearer {token}") == status(basic(token)) == 200
    with pytest.raises(UsageError, match="at least 16"):
        make_app(served, token="short")


def test_what_is_this_machine_alone() -> None:
    assert [host for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost") if not is_loopback(host)] == []
    assert [host for host in ("0.0.0.0", "::", "192.168.1.2", "lab", "") if is_loopback(host)] == []


def serve(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "harness", "serve", "--port", "0", *arguments]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_command_serves_and_ends(served: Served) -> None:
    folder = served.bench_file.parent
    with serve(folder) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[0]
            with urllib.request.urlopen(url, timeout=30) as answer:
                assert b"The bench" in answer.read() and answer.headers["Cache-Control"] == "no-store"
        finally:
            process.terminate()
    with serve(folder, "--host", "0.0.0.0") as process:
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 2 and "no token is set" in said
    (folder / "picture.png").write_bytes(bytes(range(256)) * 20)
    with serve(folder, "--store", "picture.png") as process:
        said = process.communicate(timeout=30)[0]
    assert process.returncode == 2 and "picture.png" in said and "http" not in said


def test_the_lists_of_runs_are_counted_by_the_database(
    client: FlaskClient, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(served)
    for build in range(3):
        nightly(store, {"x": ("heap", 48)}, build=build, outcome=Outcome.FAIL if build else Outcome.PASS)

    def whole(*_arguments: object, **_options: object) -> None:
        raise AssertionError("a list needs no scenario of its own")

    monkeypatch.setattr(Store, "load_runs", whole)
    monkeypatch.setattr(Store, "load_run", whole)
    page = text(client, "/")
    assert page.count("1 fail") == 2 and "1 pass" in page
    assert text(client, "/board/b").count("1 fail") == 2
