"""The choice of what a host of a shared night begins, with a lab and a clock of the test's own, and a real store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.bench.firmware_record import FirmwareRecord
from harness.campaigns.lab_night import LabWork, with_twins
from harness.campaigns.nightly import _night_before
from harness.campaigns.plan import Found
from harness.campaigns.plan import Place as Scenario
from harness.campaigns.work import HandedOver, Task
from harness.errors import BenchFault
from harness.inventory.model import Board, Identity, LabgridPlace
from harness.judging.outcome import Outcome
from harness.labgrid.client import Lab, LabAway, Place
from harness.results.database import ServerAway
from harness.results.night import DEAD_AFTER, Night
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult
from harness.results.store import Store

SCENARIOS = [Scenario("own", name) for name in ("first", "second", "third")]


def board(name: str, **labgrid: Any) -> Board:
    identity = Identity(labgrid=LabgridPlace(**labgrid)) if labgrid else Identity(usb_serial=name)
    return Board(id=name, chip="esp32", runtime="micropython", identity=identity)


@dataclass
class World:
    """One lab, one store, one clock; hosts as a test needs them."""

    folder: Path
    places: dict[str, str] = field(default_factory=dict)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    now: float = 1_000_000.0
    lab_is_away: bool = False
    hosts: list[Host] = field(default_factory=list)

    def listed(self, _lab: Lab) -> list[Place]:
        if self.lab_is_away:
            raise LabAway("the lab's coordinator does not answer")
        return [Place(name, self.tags.get(name, {}), holder) for name, holder in self.places.items()]

    def host(self, name: str, *boards: Board, plan: Sequence[Scenario] = SCENARIOS) -> Host:
        made = Host(self, name, list(boards), plan)
        self.hosts.append(made)
        return made


class Host:
    def __init__(self, world: World, name: str, boards: list[Board], plan: Sequence[Scenario]) -> None:
        self.world = world
        self.store = Store(world.folder / "results.sqlite")
        self.run = self.store.start_run("harness nightly", environment={"night": "n"})
        uid = self.store.load_run(self.run).uid
        self.night = Night(Store(world.folder / "results.sqlite"), "n", name, uid)
        self.told: list[str] = []
        self.work = LabWork(
            self.night, boards, Found({one.id: list(plan) for one in boards}), self.store, self.run,
            send=lambda: None, watch=self._watch, places=world.listed, clock=lambda: world.now,
        )  # fmt: skip

    def _watch(self, event: dict[str, Any]) -> None:
        self.told.append(str(event.get("text", "")) or str(event.get("problem", "")))

    def begins(self) -> Task | None:
        """What it begins when some time has passed; its place is acquired then."""
        self.world.now += 20.0
        task = self.work.next()
        if task is not None:
            place = task.place or (task.board.identity.labgrid.place if task.board.identity.labgrid else "")  # type: ignore[union-attr]
            if place in self.world.places:
                self.world.places[place] = self.night._holder
        return task

    def has(self, board: str, *names: str, outcome: Outcome = Outcome.PASS) -> None:
        for name in names:
            self.store.record_scenario(self.run, board, ScenarioResult("own", name, outcome, started=self.world.now))

    def ends(self, task: Task, problem: str = "", kind: str = "") -> None:
        for place, holder in self.world.places.items():
            if holder == self.night._holder:
                self.world.places[place] = ""
        self.work.ended(task.board, problem, HandedOver(kind, problem) if kind else None)

    def close(self) -> None:
        self.work.close()
        self.store.close()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path, {"p1": "", "p2": ""}, {"p1": {"chip": "esp32"}, "p2": {"chip": "esp32"}})
    monkeypatch.setattr("harness.results.night.time.time", lambda: made.now)
    yield made
    for host in made.hosts:
        host.close()


ANY = board("any", tags={"chip": "esp32"})
ONE, TWO = board("one", place="p1"), board("two", place="p2")


def names(task: Task | None) -> list[str]:
    assert task is not None
    assert task.only is not None
    return [scenario.name for scenario in task.only]


def test_each_board_is_begun_by_one_host_only(world: World) -> None:
    a, b = world.host("a", ONE, TWO), world.host("b", ONE, TWO)
    first, second = a.begins(), b.begins()
    assert first is not None
    assert second is not None
    assert {first.board.id, second.board.id} == {"one", "two"}
    assert a.begins() is b.begins() is None
    for host, task in ((a, first), (b, second)):
        host.has(task.board.id, "first", "second", "third")
        host.ends(task)
    assert a.begins() is b.begins() is a.begins() is None
    assert not a.work.goes_on
    assert not b.work.goes_on


def test_a_place_that_somebody_has_is_not_begun_and_the_next_board_is(world: World) -> None:
    world.places["p1"] = "lab/bob"
    a = world.host("a", ONE, TWO)
    task = a.begins()
    assert task is not None
    assert task.board.id == "two"
    assert any("p1 has bob on lab" in words for words in a.told)
    world.places["p1"] = ""
    task = a.begins()
    assert task is not None
    assert task.board.id == "one"
    assert task.wait == 0.0, "who is faster has it: nothing waits in the lab's queue with a board of the night in hand"


def test_what_a_dead_board_leaves_goes_to_another_place_with_its_tags(world: World) -> None:
    a = world.host("a", ANY)
    task = a.begins()
    assert task is not None
    assert (task.place, task.hand_over) == ("p1", True)
    a.has("any", "first")
    a.ends(task, "the board does not answer", "dead")
    assert len(a.work.planned.boards["any"]) == 1, "our run is not held against what another one may do"
    task = a.begins()
    assert task is not None
    assert task.place == "p2"
    assert names(task) == ["second", "third"]
    a.has("any", "second", "third")
    a.ends(task)
    a.begins()
    (record,) = a.night.record([ANY], "c").boards
    assert record.outcome is Outcome.PASS
    assert any("p1: the board does not answer; 2 of 3 scenarios are left" in event.text for event in record.events)


def test_a_kind_of_board_of_which_all_are_dead_is_an_error(world: World) -> None:
    a = world.host("a", ANY)
    for _ in range(2):
        task = a.begins()
        assert task is not None
        a.ends(task, f"nothing answers at {task.place}", "dead")
    assert a.begins() is None
    assert not a.work.goes_on
    (record,) = a.night.record([ANY], "c").boards
    assert record.problem == "nothing answers at p2"


def test_a_named_place_that_is_lost_is_tried_again_and_not_for_ever(world: World) -> None:
    a = world.host("a", ONE)
    begun = []
    for _ in range(60):
        if (task := a.begins()) is not None:
            begun.append(world.now)
            a.ends(task, "exporter 'x' is gone", "lost")
            assert a.work.next() is None, "not at once"
    assert len(begun) == 6
    pauses = [later - before for before, later in pairwise(begun)]
    assert pauses == sorted(pauses)
    assert 400 < sum(pauses) < 700
    assert a.night.claims()["one"].problem == "exporter 'x' is gone"


def test_who_was_faster_costs_nothing(world: World) -> None:
    a = world.host("a", ONE)
    for _ in range(20):  # more often than a lost place would be tried
        task = a.begins()
        assert task is not None
        a.ends(task, "place 'p1' is held by bob", "held")
    assert a.work.goes_on


def test_a_host_that_died_is_gone_on_with_after_a_minute(world: World) -> None:
    a = world.host("a", ONE)
    task = a.begins()
    assert task is not None
    a.has("one", "first")
    world.places["p1"] = ""  # its keeper has given the place back; nothing more is heard of it
    b = world.host("b", ONE)
    world.now += DEAD_AFTER - 30
    assert b.begins() is None
    assert any("run by a" in words for words in b.told)
    world.now += 20
    taken = b.begins()
    assert names(taken) == ["second", "third"]
    assert taken is not None
    assert a.begins() is None
    assert a.work.gone("one") == "b has taken it over"
    b.has("one", "second", "third")
    b.ends(taken)
    a.ends(task, "b has taken it over")
    b.begins()
    (record,) = b.night.record([ONE], "c").boards
    assert [scenario.name for scenario in record.scenarios] == ["first", "second", "third"]
    assert record.problem == ""
    assert any("taken over from a" in event.text for event in record.events)


def test_a_server_that_was_away_makes_nobody_dead(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is back, whoever lives has been as silent as who does not."""
    a, b = world.host("a", ONE), world.host("b", ONE)
    assert a.begins() is not None
    assert b.begins() is None
    world.places["p1"] = ""
    with monkeypatch.context() as away:

        def gone(_night: Night) -> set[str]:
            raise ServerAway("the store's server cannot be reached")

        away.setattr(Night, "beat", gone)
        for _ in range(10):
            assert b.begins() is None
        assert sum("cannot be reached" in words for words in b.told) == 1
    assert b.begins() is None
    assert "the store is back" in b.told
    assert b.begins() is None
    a.work.next()
    for _ in range(5):
        assert b.begins() is None
        a.work.next()


def test_a_host_that_is_asked_for_more_does_the_rest(world: World) -> None:
    """Two commands in one night, of other suites: the second one's are not taken for done."""
    less = world.host("a", ONE, plan=SCENARIOS[:1])
    task = less.begins()
    assert task is not None
    less.has("one", "first")
    less.ends(task)
    assert less.begins() is None
    assert not less.work.goes_on
    more = world.host("b", ONE)
    assert more.work.goes_on
    task = more.begins()
    assert names(task) == ["second", "third"]
    assert task is not None
    assert less.begins() is None
    more.has("one", "second", "third")
    more.ends(task)
    assert more.begins() is less.begins() is None
    assert not more.work.goes_on
    assert not less.work.goes_on


def test_interrupted_the_rest_is_open_to_others(world: World) -> None:
    a = world.host("a", ONE)
    task = a.begins()
    assert task is not None
    a.has("one", "first")
    a.work.over("interrupted before its turn")
    a.ends(task, "interrupted")
    a.work.close()
    b = world.host("b", ONE)
    assert names(b.begins()) == ["second", "third"]
    assert len(a.work.planned.boards["one"]) == 1, "it is not held against what it left to others"
    world.hosts.remove(a)
    a.store.close()


def test_a_lab_that_is_away_is_told_once_and_asked_again(world: World) -> None:
    world.lab_is_away = True
    a = world.host("a", ONE)
    assert a.begins() is a.begins() is None
    assert sum("does not answer" in words for words in a.told) == 1
    world.lab_is_away = False
    assert a.begins() is not None


def test_boards_of_this_desk_are_of_the_night_as_well(world: World) -> None:
    a = world.host("a", board("desk"))
    task = a.begins()
    assert task is not None
    assert (task.place, task.wait, task.hand_over) == ("", None, False)


def test_a_board_that_nobody_had_is_an_error_of_the_night(world: World) -> None:
    world.places["p1"] = "lab/bob"
    a = world.host("a", ONE)
    assert a.begins() is None
    record = a.night.record([ONE, TWO], "c")
    assert [one.id for one in record.boards] == ["one"], "two is not of this night"
    assert record.boards[0].outcome is Outcome.ERROR
    assert record.boards[0].problem == "it has not come to its end"


def test_twins_are_told_of_each_other() -> None:
    unknown = FirmwareRecord("", "", "")
    done = tuple(ScenarioResult("own", s.name, Outcome.PASS) for s in SCENARIOS)
    boards = (
        BoardRecord("one", "esp32", unknown, done[:1], problem="its exporter is gone"),
        BoardRecord("two", "esp32", unknown, done),
    )
    one, two = with_twins(RunRecord(0, 1.0, 2.0, "c", boards), [ONE, TWO]).boards
    assert [event.text for event in one.events] == [
        "2 scenarios that have no result here have one on two, of the same chip, runtime and firmware"
    ]
    assert [event.text for event in two.events] == ["stands for one, which did not come to its end"]
    other = Board(id="two", chip="esp8266", runtime="micropython", identity=TWO.identity)
    assert not any(each.events for each in with_twins(RunRecord(0, 1.0, 2.0, "c", boards), [ONE, other]).boards)


def test_a_broken_store_is_no_reason_to_go_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    a = world.host("a", ONE)

    def broken(_night: Night) -> set[str]:
        raise BenchFault("the disk is full")

    monkeypatch.setattr(Night, "beat", broken)
    with pytest.raises(BenchFault, match="disk is full"):
        a.begins()
    monkeypatch.undo()


def test_a_shared_night_is_held_against_the_whole_of_the_one_before(tmp_path: Path) -> None:
    """Neither against another host's part of the same night, nor against one host's part of the last."""
    store = Store(tmp_path / "results.sqlite")
    unknown = FirmwareRecord("", "", "")
    runs = []
    for night, one in (("1", ONE), ("1", TWO), ("2", ONE), ("2", TWO)):
        run = store.start_run("harness nightly --lab " + night, environment={"night": night})
        part = Night(store, night, one.id, store.load_run(run).uid)
        part.join(["one", "two"])
        assert part.take(one.id)
        store.record_board(run, BoardRecord(one.id, "esp32", unknown))
        store.record_scenario(run, one.id, ScenarioResult("own", "first", Outcome.PASS))
        part.done(one.id)
        store.finish_run(run)
        runs.append(run)
    earlier = [run for run in store.load_runs(10) if run.id != runs[-1]]
    before = _night_before(store, earlier, [ONE, TWO], "2")
    assert before is not None
    assert before.id == runs[1]
    assert [board.id for board in before.boards] == ["one", "two"]
    own = _night_before(store, earlier, [ONE, TWO], "")
    assert own is not None
    assert own.id == runs[2], "a night of this host alone is held against whatever came last"
    store.close()
