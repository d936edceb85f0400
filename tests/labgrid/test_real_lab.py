"""Boards of a lab that labgrid looks after: its own coordinator and exporters, started here, on loopback."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.inventory.model import LabgridPlace
from harness.labgrid.lease import Lease
from tests.labgrid.real_lab import SUITE, RealLab, Relay, ended, needs_labgrid, serial_resource, until
from tests.running_boards import programmed_board

pytestmark = needs_labgrid

OWN_SUITE = (
    SUITE
    + """

def test_stays(scenario):
    board = scenario.bench.attached.board.id
    Path(f"{board}.stays").touch()
    if board == "one" and Path("measured").exists():  # all that is asked of the board was asked
        while not Path("go").exists():
            time.sleep(0.05)
        scenario.take(ANSWER, "42")
        return
    scenario.board.run("import time\\ntime.sleep(250)", timeout=300)  # silent: nothing comes that would end a read
"""
)
BENCH = """\
name: lab
boards:
  - {{id: one, chip: esp32, runtime: micropython, identity: {{labgrid: {{place: esp-1}}}}, {firmware}}}
  - {{id: two, chip: esp32, runtime: micropython, identity: {{labgrid: {{tags: {{chip: esp32, spare: 1}}}}}}}}
"""
#: What a place may stay acquired for after the harness has ended, however that was, in seconds.
RELEASED_WITHIN = 60


class _Standing:
    """The lab as each test finds it: everything up, and every place free."""

    def __init__(self, lab: RealLab, relay: Relay, urls: dict[str, str]) -> None:
        self.lab = lab
        self.relay = relay
        self._resources = {
            name: f"desk:\n{serial_resource(url)}  NetworkPowerPort: {{model: rest, host: '{relay.url}', index: 1}}\n"
            for name, url in urls.items()
        }

    def repair(self) -> None:
        if not self.lab.coordinator_runs:
            self.lab.start_coordinator()
            for name in self._resources:
                self.lab.stop_exporter(name)
        started = [name for name in self._resources if not self.lab.exporter_runs(name)]
        for name in started:
            self.lab.start_exporter(name, self._resources[name])
        for name in started:
            self.lab.wait_for_exporter(name)


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory, firmware_files: dict[str, Path]) -> Iterator[_Standing]:
    folder = tmp_path_factory.mktemp("lab")
    with contextlib.ExitStack() as stack:
        places = {
            "esp-1": ("first/desk/*", {"chip": "esp32"}),
            "esp-2": ("second/desk/*", {"chip": "esp32", "spare": "1"}),
        }
        lab, relay = RealLab(folder, places), Relay()
        stack.callback(lab.close)
        stack.callback(relay.close)
        lab.start_coordinator()
        urls = {}
        for name in ("first", "second"):
            board = stack.enter_context(
                programmed_board("esp32", tmp_path_factory.mktemp(name), firmware_files["esp32"])
            )
            urls[name] = board.url
        yield _Standing(lab, relay, urls)


@pytest.fixture
def lab(standing: _Standing) -> Iterator[RealLab]:
    standing.repair()
    yield standing.lab


@pytest.fixture
def folder(tmp_path: Path, firmware_files: dict[str, Path]) -> Path:
    """A bench of two boards by place, and a suite."""
    (tmp_path / "boards.yaml").write_text(BENCH.format(firmware=f"firmware: {{path: {firmware_files['esp32']}}}"))
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_own.py").write_text(OWN_SUITE)
    return tmp_path


def harness(lab: RealLab, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "harness", *arguments],
        cwd=folder,
        env={**lab.environment, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def running(lab: RealLab, folder: Path, *boards: str, options: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """A run of a scenario that goes on and on, on each of ``boards``."""
    return harness(lab, folder, "run", "own", "--boards", ",".join(boards), "--no-flash", "-k", "stays", *options)


def stays(run: subprocess.Popen[str], folder: Path, *boards: str) -> subprocess.Popen[str]:
    """``run``, once it is in the middle of that scenario."""
    until(lambda: all((folder / f"{b}.stays").exists() for b in boards) or run.poll() is not None, 60, "the scenario")
    assert run.poll() is None, ended(run)
    return run


def test_boards_are_acquired_flashed_run_and_released(lab: RealLab, folder: Path) -> None:
    code, out = ended(harness(lab, folder, "run", "own", "-k", "answers"))
    assert code == 0, out
    assert "2 boards: 2 passed" in out
    assert lab.acquired_before == {"esp-1", "esp-2"}
    assert lab.acquired("esp-1") == lab.acquired("esp-2") == ""


def test_who_holds_a_place_is_told_and_waited_for(lab: RealLab, folder: Path) -> None:
    lab.client("-p", "esp-1", "acquire", user="bob")
    code, out = ended(harness(lab, folder, "boards"))
    assert code == 0
    assert re.search(rf"one .* place esp-1 at {lab.address} +held in the lab +bob on desk, since", out)
    assert re.search(rf"two .* a place with chip=esp32 spare=1 at {lab.address} +1 of 1 such places free +free", out)
    code, out = ended(harness(lab, folder, "power", "one", "off"))
    assert code == 3
    assert "place 'esp-1' is held by bob on desk since" in out
    run = running(lab, folder, "one", options=("--wait", "100"))
    until(lambda: any(b"labgrid-client\0wait" in _command(pid) for pid in below(run.pid)), 60, "it waits")
    lab.client("-p", "esp-1", "release", user="bob")
    stays(run, folder, "one")
    assert lab.acquired("esp-1") == "desk/ann"
    run.send_signal(signal.SIGINT)
    code, out = ended(run, 30)
    assert code == 130, out
    assert lab.acquired("esp-1") == ""
    assert not lab.client("reservations")


def test_a_stolen_place_and_a_lost_exporter_are_no_fault_of_the_firmware(lab: RealLab, folder: Path) -> None:
    """Nor is what was measured meanwhile worth anything; a board that is silent is noticed as well."""
    (folder / "measured").touch()
    run = stays(running(lab, folder, "one", "two"), folder, "one", "two")
    lab.client("-p", "esp-1", "release", "--kick", user="bob")
    lab.client("-p", "esp-1", "acquire", user="bob")
    (folder / "go").touch()
    lab.stop_exporter("second")
    code, out = ended(run, 60)
    assert code == 3, out
    assert "place 'esp-1' was released by somebody else while it was in use" in out
    assert "exporter 'second' of place 'esp-2' is gone" in out
    assert "2 boards: 0 passed, 0 failed, 2 errors" in out
    assert lab.acquired("esp-1") == "desk/bob"  # the run has not taken it back on its way out
    assert lab.acquired("esp-2") == ""
    lab.client("-p", "esp-1", "release", user="bob")


def test_a_killed_run_leaves_no_place_acquired(lab: RealLab, folder: Path) -> None:
    run = stays(running(lab, folder, "one"), folder, "one")
    assert lab.acquired("esp-1") == "desk/ann"
    run.kill()
    run.wait(10)
    until(lambda: not lab.acquired("esp-1"), RELEASED_WITHIN, "the place is free")


def test_a_coordinator_that_restarts_has_forgotten_the_place(lab: RealLab, folder: Path) -> None:
    run = stays(running(lab, folder, "one"), folder, "one")
    lab.kill_coordinator()
    lab.start_coordinator()
    code, out = ended(run, 90)
    assert code == 3, out
    assert "came back and no longer knows that place 'esp-1' is ours" in out
    assert "1 board: 0 passed, 0 failed, 1 error" in out
    assert lab.acquired("esp-1") == ""


def test_power_goes_through_the_places_own_resource(standing: _Standing, lab: RealLab, folder: Path) -> None:
    standing.relay.orders.clear()
    code, out = ended(harness(lab, folder, "power", "one", "off"))
    assert code == 0, out
    assert "one: off, by labgrid's place esp-1" in out
    assert standing.relay.orders == ["0"]
    assert lab.acquired("esp-1") == ""


def test_a_keeper_that_is_killed_is_told_and_its_place_released(lab: RealLab, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in lab.environment.items():
        monkeypatch.setenv(name, value)
    lost = threading.Event()
    lease = Lease(LabgridPlace(place="esp-1"), 0.0, lost.set)
    try:
        assert lease.take(lambda _: None).place == "esp-1"
        assert lab.acquired("esp-1") == "desk/ann"
        keepers = [pid for pid in below(os.getpid()) if b"harness.labgrid.keeper" in _command(pid)]
        assert len(keepers) == 1
        os.kill(keepers[0], signal.SIGKILL)
        assert lost.wait(10)
        why = lease.why_lost()
        assert why is not None
        assert "the process that has place 'esp-1' for us was killed" in why.message
    finally:
        assert lease.release() == ""
    assert lab.acquired("esp-1") == ""


def below(root: int) -> set[int]:
    """``root``, and the processes that stand below it."""
    parents: dict[int, int] = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(process.name)] = int((process / "stat").read_text().rpartition(")")[2].split()[1])
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""
