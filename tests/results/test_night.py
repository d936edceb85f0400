"""Who has which board of a night: in a file, and in PostgreSQL with several hosts at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.bench.firmware_record import FirmwareRecord
from harness.inventory.model import Board, Identity
from harness.judging.outcome import Outcome
from harness.results import night as nights
from harness.results.database import Location
from harness.results.night import DEAD_AFTER, DONE, OPEN, TAKEN, Night
from harness.results.run_record import BoardRecord, Event, ScenarioResult
from harness.results.store import Store
from tests.results.postgresql_server import running_server

BOARDS = [f"b{number}" for number in range(12)]


@pytest.fixture(params=["file", "postgresql"], scope="module")
def where(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Location]:
    if request.param == "file":
        yield tmp_path_factory.mktemp("store") / "results.sqlite"
        return
    pytest.importorskip("psycopg")
    with running_server() as server:
        yield server.database("night")


@pytest.fixture
def host(where: Location, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Night]]:
    """Makes a host's view of this test's own night."""
    made: list[Night] = []

    def one(name: str) -> Night:
        store = Store(where)
        run = store.start_run("harness nightly", environment={})
        made.append(Night(store, request.node.name, name, store.load_run(run).uid))
        made[-1].join(BOARDS)
        return made[-1]

    yield one
    for each in made:
        each.close()


def test_a_board_has_one_holder(host: Callable[[str], Night]) -> None:
    a, b = host("a"), host("b")
    assert a.take("b0")
    assert not b.take("b0")
    assert not a.take("b0"), "nor twice by the same"
    claim = b.claims()["b0"]
    assert (claim.state, claim.holder, claim.dead) == (TAKEN, "a", False)
    assert claim.silent < 10
    b.give_back("b0", "not b's to give")
    b.done("b0")
    assert a.beat() == {"b0"}
    a.give_back("b0", "the place is bob's")
    assert (b.claims()["b0"].state, b.claims()["b0"].problem) == (OPEN, "the place is bob's")
    assert b.take("b0")
    b.done("b0", "it died")
    assert (a.claims()["b0"].state, a.claims()["b0"].problem) == (DONE, "it died")
    assert not a.take("b0")
    assert set(a.claims()) == set(BOARDS)


def test_the_silent_are_taken_from_and_the_living_are_not(
    host: Callable[[str], Night], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = host("a"), host("b")
    assert a.take("b1")
    real = nights._now
    later = DEAD_AFTER + 5
    monkeypatch.setattr(nights, "_now", lambda connection: real(connection) + later)
    assert b.claims()["b1"].dead
    assert not b.take("b1", from_the_dead=False)
    assert a.beat() == {"b1"}
    assert not b.take("b1"), "it has spoken"
    later += DEAD_AFTER + 5
    assert b.take("b1")
    assert a.beat() == set()
    a.done("b1")
    assert b.claims()["b1"].state == TAKEN, "who was taken from has no say any more"


def test_hosts_that_take_at_once_share(host: Callable[[str], Night]) -> None:
    hosts = [host(f"h{number}") for number in range(4)]

    def all_of(one: Night) -> list[str]:
        return [board for board in BOARDS if one.take(board)]

    with ThreadPoolExecutor(len(hosts)) as threads:
        taken = list(threads.map(all_of, hosts))
    assert sorted(board for each in taken for board in each) == sorted(BOARDS)
    assert [one.beat() for one in hosts] == [set(each) for each in taken]


def test_the_runs_of_a_night_are_one_record(host: Callable[[str], Night]) -> None:
    a, b = host("a"), host("b")
    entry = Board(id="b2", chip="esp32", runtime="micropython", identity=Identity(usb_serial="x"))
    firmware = FirmwareRecord("fw", "1.26", "0" * 64)

    def has(one: Night, *results: ScenarioResult, problem: str = "") -> None:
        store = one._store
        run = next(number for number in store.runs() if store.load_run(number).uid == one._uid)
        store.record_board(run, BoardRecord("b2", "esp32", firmware, problem=problem))
        for result in results:
            store.record_scenario(run, "b2", result)
        store.record_event(run, "b2", Event("lab", f"by {one._holder}", results[0].started))
        store.finish_run(run)

    assert a.take("b2")
    has(
        a,
        ScenarioResult("own", "first", Outcome.PASS, started=10.0),
        ScenarioResult("own", "second", Outcome.ERROR, started=20.0),
        problem="its place was lost",
    )
    assert a.finished("b2") == {("own", "first"): 1, ("own", "second"): 1}
    (board,) = a.record([entry], "c").boards
    assert board.problem == "it has not come to its end, a had it last"
    a.give_back("b2", "its place was lost")
    assert b.take("b2")
    has(b, ScenarioResult("own", "second", Outcome.PASS, started=30.0))
    b.done("b2")
    (board,) = a.record([entry], "c").boards
    assert [(s.name, s.outcome) for s in board.scenarios] == [("first", Outcome.PASS), ("second", Outcome.PASS)]
    assert (board.problem, board.outcome, board.firmware.name) == ("", Outcome.PASS, "fw")
    assert [event.text for event in board.events] == ["by a", "by b"]


def test_nights_of_two_names_have_nothing_to_do_with_each_other(where: Location, tmp_path: Path) -> None:
    store = Store(where)
    uids = [store.load_run(store.start_run("c", environment={})).uid for _ in range(2)]
    one, other = (Night(store, f"{tmp_path.name}-{uid[:4]}", uid, uid) for uid in uids)
    one.join(BOARDS)
    other.join(BOARDS)
    assert one.take("b0")
    assert other.take("b0")
    one.done("b0")
    assert other.beat() == {"b0"}
    store.close()
