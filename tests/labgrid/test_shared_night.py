"""A night that two hosts share: one coordinator, two exporters, one PostgreSQL, virtual boards behind the ports."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.inventory.load import load_bench
from harness.judging.outcome import Outcome
from harness.results import night as nights
from harness.results.run_record import RunRecord
from harness.results.store import Store
from tests.labgrid.real_lab import SUITE, RealLab, ended, needs_labgrid, serial_resource, until
from tests.results.postgresql_server import Server, running_server
from tests.running_boards import programmed_board

pytestmark = needs_labgrid

OWN_SUITE = (
    SUITE
    + """

def test_stays(scenario):
    board = scenario.bench.attached.board.id
    stays = Path(f"{board}.stays")
    if board in Path("holds").read_text() and not stays.exists():
        stays.touch()
        scenario.board.run("import time\\ntime.sleep(250)", timeout=300)
    scenario.take(ANSWER, scenario.board.run("print(42)").stdout.strip().decode())
"""
)
#: What a night may take, in seconds.
_WHOLE_NIGHT = 300
#: Each place, its exporter's group, and its tags.
PLACES = {
    "esp-1": ("first/one/*", {"chip": "esp32"}),
    "esp-2": ("first/two/*", {"chip": "esp32", "any": "1"}),
    "esp-3": ("second/three/*", {"chip": "esp32"}),
    "esp-4": ("second/four/*", {"chip": "esp32", "any": "1"}),
}
BENCH = """\
name: lab
boards:
  - {id: one, chip: esp32, runtime: micropython, identity: {labgrid: {place: esp-1}}}
  - {id: any, chip: esp32, runtime: micropython, identity: {labgrid: {tags: {any: "1"}}}}
  - {id: three, chip: esp32, runtime: micropython, identity: {labgrid: {place: esp-3}}}
"""


class Night:
    """The lab, the store, and the hosts."""

    def __init__(self, lab: RealLab, resources: dict[str, str], folder: Path) -> None:
        self.lab = lab
        self.resources = resources
        self.folder = folder
        self.store = ""
        self._started: list[subprocess.Popen[str]] = []

    def host(self, name: str, *options: str, holds: str = "") -> subprocess.Popen[str]:
        """A nightly of the host ``name``, in a folder of its own; it stays in the middle of the boards in ``holds``."""
        folder = self.at(name)
        folder.mkdir(exist_ok=True)
        (folder / "holds").write_text(holds)
        (folder / "boards.yaml").write_text(BENCH)
        (folder / "own").mkdir(exist_ok=True)
        (folder / "own" / "test_own.py").write_text(OWN_SUITE)
        command = ["nightly", "own", "--lab", "--night", "first", "--store", self.store, *options]
        process = subprocess.Popen(
            [sys.executable, "-m", "harness", *command],
            cwd=folder,
            env={**self.lab.environment, "LG_HOSTNAME": name, "COLUMNS": "200"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def at(self, name: str) -> Path:
        return self.folder / name

    def runs(self) -> list[RunRecord]:
        store = Store(self.store)
        try:
            return [store.load_run(number) for number in sorted(store.runs())]
        finally:
            store.close()

    def whole(self) -> RunRecord:
        """What all hosts have of the night."""
        boards = load_bench(self.at("desk-1") / "boards.yaml").boards
        store = Store(self.store)
        try:
            return nights.Night(store, "first", "", "").record(boards, "")
        finally:
            store.close()

    @property
    def results(self) -> Counter[tuple[str, str]]:
        """How often each scenario of each board has a result, over the runs of all hosts."""
        return Counter((board.id, s.name) for run in self.runs() for board in run.boards for s in board.scenarios)

    def repair(self) -> None:
        for name, resources in self.resources.items():
            if not self.lab.exporter_runs(name):
                self.lab.start_exporter(name, resources)
                self.lab.wait_for_exporter(name)

    def end(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running_server() as running:
        yield running


@pytest.fixture(scope="module")
def standing(
    tmp_path_factory: pytest.TempPathFactory, firmware_files: dict[str, Path]
) -> Iterator[tuple[RealLab, dict[str, str]]]:
    with contextlib.ExitStack() as stack:
        lab = RealLab(tmp_path_factory.mktemp("lab"), PLACES)
        stack.callback(lab.close)
        lab.start_coordinator()
        resources: dict[str, str] = {}
        for match, _ in PLACES.values():
            exporter, group, _ = match.split("/")
            folder = tmp_path_factory.mktemp(group)
            board = stack.enter_context(programmed_board("esp32", folder, firmware_files["esp32"]))
            resources[exporter] = resources.get(exporter, "") + f"{group}:\n{serial_resource(board.url)}"
        yield lab, resources


@pytest.fixture
def night(standing: tuple[RealLab, dict[str, str]], server: Server, tmp_path: Path) -> Iterator[Night]:
    lab, resources = standing
    made = Night(lab, resources, tmp_path)
    made.store = server.database(f"night_{tmp_path.name[-40:].replace('-', '_')}".lower())
    made.repair()
    yield made
    made.end()
    until(lambda: not any(lab.acquired(place) for place in PLACES), 60, "every place is free")


def test_two_hosts_run_each_scenario_once_and_tell_the_same(night: Night) -> None:
    hosts = [night.host(name) for name in ("desk-1", "desk-2")]
    for process in hosts:
        code, out = ended(process, _WHOLE_NIGHT)
        assert code == 0, out
        assert "3 boards: 6 passed" in out
    assert night.results == {(board, name): 1 for board in ("one", "any", "three") for name in ("answers", "stays")}
    assert {run.environment["night"] for run in night.runs()} == {"first"}
    assert not any(night.lab.acquired(place) for place in PLACES)
    summaries = [(night.at(name) / "nightly" / "summary.md").read_text() for name in ("desk-1", "desk-2")]
    assert all("three" in summary and "one" in summary for summary in summaries)
    code, out = ended(night.host("desk-1"), _WHOLE_NIGHT)  # again: there is nothing left to do
    assert code == 0, out
    assert set(night.results.values()) == {1}


def test_a_lost_exporter_costs_its_board_and_the_rest_goes_on_elsewhere(night: Night) -> None:
    """What any board can do is done by another one; one that was named by its place is an error with the reason."""
    run = night.host("desk-1", holds="one any")
    lost = [night.at("desk-1") / f"{board}.stays" for board in ("one", "any")]
    until(lambda: all(file.exists() for file in lost) or run.poll() is not None, 150, "both are in the middle")
    assert night.lab.acquired("esp-2"), "the first that is free"
    night.lab.stop_exporter("first")
    rest = {("any", "stays"), ("three", "answers"), ("three", "stays")}
    until(lambda: rest <= set(night.results) or run.poll() is not None, 150, "the rest is done")
    run.send_signal(signal.SIGINT)  # else it would wait for the exporter for minutes
    code, out = ended(run, _WHOLE_NIGHT)
    assert code == 130, out
    assert "'harness nightly --lab --night first' goes on where it stopped" in out
    record = {board.id: board for board in night.whole().boards}
    assert record["one"].problem.endswith(", ann on desk-1 had it last")
    assert record["one"].outcome is Outcome.ERROR
    assert [s.outcome for s in record["any"].scenarios] == [Outcome.PASS, Outcome.PASS]
    assert any("exporter 'first' of place 'esp-1' is gone" in event.text for event in record["one"].events)
    assert any("esp-2" in event.text and "another board of its kind" in event.text for event in record["any"].events)
    assert record["three"].outcome is Outcome.PASS
    assert [(s.name, s.outcome) for s in record["one"].scenarios] == [("answers", Outcome.PASS)]


def test_an_exporter_that_comes_back_costs_nothing(night: Night) -> None:
    run = night.host("desk-1", holds="one")
    held = night.at("desk-1") / "one.stays"
    until(lambda: held.exists() or run.poll() is not None, 150, "it is in the middle")
    night.lab.stop_exporter("first")
    until(lambda: not night.lab.acquired("esp-1") or run.poll() is not None, 100, "it is given back")
    night.repair()
    code, out = ended(run, _WHOLE_NIGHT)
    assert code == 0, out
    assert "3 boards: 6 passed" in out
    assert "1 of 2 scenarios are left for the same place, when it is there again" in out


def test_what_somebody_else_has_waits_and_a_killed_host_is_gone_on_with(night: Night) -> None:
    night.lab.client("-p", "esp-3", "acquire", user="bob")
    killed = night.host("desk-1", holds="one")
    until(lambda: (night.at("desk-1") / "one.stays").exists() or killed.poll() is not None, 150, "it is in the middle")
    killed.send_signal(signal.SIGKILL)
    other = night.host("desk-2")
    until(lambda: night.results["one", "stays"] > 0 or other.poll() is not None, 300, "it was gone on with")
    assert other.poll() is None, "esp-3 is bob's"
    assert night.results["three", "answers"] == 0
    night.lab.client("-p", "esp-3", "release", user="bob")
    code, out = ended(other, _WHOLE_NIGHT)
    assert code == 0, out
    assert "3 boards: 6 passed" in out
    assert set(night.results.values()) == {1}
    assert "taken over from ann on desk-1, of whom nothing was heard for" in out
