"""A board by place in boards.yaml, its locks, and what is told of it without acquiring anything."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.bench import lab_device
from harness.bench.bench_entries import update_bench
from harness.bench.board_line import BoardLine
from harness.bench.device_of import device_of
from harness.bench.doctor import Patient, examine
from harness.bench.finding import Finding
from harness.bench.lab_device import LabDevice
from harness.bench.plugged import Plugged
from harness.errors import BenchFault, FinalFault, UsageError
from harness.inventory.load import load_bench
from harness.inventory.locks import lock_names
from harness.inventory.model import Bench, Board
from harness.link.coming_back import until_there
from harness.link.deadline import Deadline
from harness.link.session import Session
from harness.link.transcript import Transcript
from harness.power.switches import switch_for
from harness.runtimes.traits import traits_of
from tests.bench.fake_machines import raspberry_pi
from tests.link.test_session import ScriptedPort

GONE = FinalFault("place 'p' was released by somebody else while it was in use")
PLACES = """\
Place 'esp-1':
  tags: chip=esp32
  acquired: lab2/bob
  changed: 2026-11-28 03:35:46.079135
Place 'esp-2':
  tags: chip=esp32
  acquired: None
"""


def board(place: dict[str, object] | None = None, **more: object) -> Board:
    identity = {"labgrid": place or {"place": "esp-1"}}
    return Board.model_validate({"id": "b", "chip": "esp32", "runtime": "micropython", "identity": identity, **more})


def loaded(folder: Path, text: str) -> Bench:
    (folder / "boards.yaml").write_text(text)
    return load_bench(folder / "boards.yaml")


# -- boards.yaml -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labgrid", "why"),
    [
        ({}, "expected either 'place' or 'tags'; came neither"),
        ({"place": "a", "tags": {"chip": "esp32"}}, "expected either 'place' or 'tags'; came both"),
        ({"place": "-x"}, "pattern"),
        ({"place": "+token"}, "pattern"),
        ({"place": "a=b"}, "pattern"),
        ({"tags": {"Chip": "esp32"}}, "pattern"),
        ({"tags": {"chip": "a b"}}, "pattern"),
        ({"tags": {}}, "at least 1 item"),
        ({"place": "a", "coordinator": "-c evil"}, "pattern"),
    ],
)
def test_a_wrong_place_is_told(labgrid: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        Board.model_validate({"id": "b", "chip": "esp32", "runtime": "micropython", "identity": {"labgrid": labgrid}})


def test_a_place_and_a_socket_of_this_computer_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="'usb_location' would say another one"):
        Board.model_validate(
            {
                "id": "b",
                "chip": "esp32",
                "runtime": "micropython",
                "identity": {"labgrid": {"place": "esp-1"}, "usb_location": "1-1"},
            }
        )


def test_the_lab_of_the_bench_is_that_of_its_boards_unless_they_say_another(tmp_path: Path) -> None:
    bench = loaded(
        tmp_path,
        """
labgrid: {coordinator: "lab:20408", client: /opt/labgrid/bin/labgrid-client}
boards:
  - {id: a, chip: esp32, runtime: micropython, identity: {labgrid: {place: esp-1}}}
  - {id: b, chip: esp32, runtime: micropython, identity: {labgrid: {tags: {slot: 2}, coordinator: "other:1"}}}
  - {id: c, chip: esp32, runtime: micropython, virtual: {}}
""",
    )
    places = [b.identity.labgrid for b in bench.boards if b.identity]
    assert [place.coordinator for place in places if place] == ["lab:20408", "other:1"]
    assert [place.client for place in places if place] == ["/opt/labgrid/bin/labgrid-client"] * 2
    assert places[1] is not None
    assert places[1].tags == {"slot": "2"}


def test_two_boards_at_one_place_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"boards.yaml:4: .*place 'esp-1' is also that of .* in line 3"):
        loaded(
            tmp_path,
            """
boards:
  - {id: a, chip: esp32, runtime: micropython, identity: {labgrid: {place: esp-1}}}
  - {id: b, chip: esp32, runtime: micropython, identity: {labgrid: {place: esp-1}}}
""",
        )


def test_power_by_labgrid_is_for_boards_by_place() -> None:
    with pytest.raises(ValidationError, match="'power.method: labgrid' is for a board by place"):
        Board.model_validate(
            {
                "id": "b",
                "chip": "esp32",
                "runtime": "micropython",
                "identity": {"usb_location": "1-1"},
                "power": {"method": "labgrid"},
            }
        )
    with pytest.raises(UsageError, match="expected 'name' and a text; came nme"):
        switch_for(board(power={"method": "labgrid", "options": {"nme": "x"}}).power)


@pytest.mark.parametrize("method", ["dfu", "swd"])
def test_what_reaches_boards_at_this_computer_writes_no_place_of_a_lab(method: str) -> None:
    with pytest.raises(ValidationError, match="reaches what is plugged in at this computer"):
        board(chip="stm32f405", flash={"method": method})
    assert board(chip="stm32f405", flash={"method": method, "probe": "0671FF"}).flash_method == method


def test_a_place_is_locked_by_its_name_and_any_place_with_tags_by_the_boards() -> None:
    assert lock_names(board()) == lock_names(board(id="other"))
    assert lock_names(board()) != lock_names(board({"place": "esp-2"}))
    assert lock_names(board()) != lock_names(board({"place": "esp-1", "coordinator": "other:1"}))
    tagged: dict[str, object] = {"tags": {"chip": "esp32"}}
    assert lock_names(board(tagged)) != lock_names(board(tagged, id="other"))


def test_what_is_plugged_in_here_is_not_taken_for_it(tmp_path: Path) -> None:
    file = tmp_path / "boards.yaml"
    text = "boards:\n  - {id: a, chip: esp32, runtime: micropython, identity: {labgrid: {place: esp-1}}}\n"
    file.write_text(text)
    plug = Plugged("port", "/dev/ttyUSB0", "10c4:ea60", "S1", "1-1", "CP2102", "an adapter")
    (change,) = update_bench(file, [plug], {})
    assert change.what == "added"
    assert file.read_text().startswith(text)


# -- told without acquiring ------------------------------------------------------------------------


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """labgrid-client prints a list of places, and knows nothing else."""
    program = tmp_path / "labgrid-client"
    program.write_text(f'#!/bin/sh\n[ "$*" = "-v places" ] || exit 1\ncat <<"E"\n{PLACES}E\n')
    program.chmod(0o755)
    monkeypatch.setenv("HARNESS_LABGRID_CLIENT", str(program))
    monkeypatch.setenv("LG_COORDINATOR", "lab:1")
    lab_device._places.cache_clear()
    return program


@pytest.mark.parametrize(
    ("place", "state", "holder"),
    [
        ({"place": "esp-1"}, "held in the lab", "bob on lab2, since 2026-11-28 03:35:46"),
        ({"place": "esp-2"}, "free in the lab", ""),
        ({"place": "esp"}, "the lab has no such place", ""),
        ({"tags": {"chip": "esp32"}}, "1 of 2 such places free", ""),
        ({"tags": {"chip": "esp8266"}}, "the lab has no such place", ""),
    ],
)
def test_where_it_is_and_who_has_it(
    client: Path, place: dict[str, object], state: str, holder: str, tmp_path: Path
) -> None:
    device = device_of(board(place), tmp_path)
    where, told = device.whereabouts()
    assert (told, device.holder) == (state, holder)
    assert where.endswith(" at lab:1")
    with pytest.raises(BenchFault, match="its place is not acquired"):
        device.find()


def lab_findings(tmp_path: Path, *boards: Board) -> list[Finding]:
    patient = Patient(raspberry_pi(tmp_path / "pi").machine, Bench(boards=boards), tmp_path / "state", "anna")
    return [
        finding for finding in examine(patient) if finding.check in ("lab", "identities") and "b" in finding.what[:1]
    ]


def test_the_doctor_looks_for_the_place_and_not_for_a_cable(client: Path, tmp_path: Path) -> None:
    (held,) = lab_findings(tmp_path, board())
    assert (held.check, held.severity) == ("lab", "note")
    assert held.what == "b: place esp-1 at lab:1: held by bob on lab2, since 2026-11-28 03:35:46"


def test_the_doctor_tells_of_a_client_that_is_not_there(client: Path, tmp_path: Path) -> None:
    client.unlink()
    (missing,) = lab_findings(tmp_path, board())
    assert missing.severity == "problem"
    assert "pipx install labgrid" in missing.fix


# -- a board that is not ours any more -------------------------------------------------------------


def test_nothing_is_read_from_it_or_written_to_it() -> None:
    port = ScriptedPort([b"abc", b"def"])
    gone: list[FinalFault] = []
    session = Session(port, why_gone=lambda: gone[0] if gone else None)
    assert session.read_exactly(3, deadline=1).data == b"abc"
    gone.append(GONE)
    with pytest.raises(FinalFault, match="released by somebody else"):
        session.read_exactly(3, deadline=1)
    with pytest.raises(FinalFault, match="released by somebody else"):
        session.write(b"x")
    assert port.written == b""
    assert port.chunks


def test_a_port_that_closes_for_that_reason_says_so() -> None:
    gone: list[FinalFault] = []

    class Cut(ScriptedPort):
        def read(self, size: int = 1) -> bytes:
            gone.append(GONE)
            raise OSError("closed")

    with pytest.raises(FinalFault, match="released by somebody else"):
        Session(Cut([]), why_gone=lambda: gone[0] if gone else None).read_until(b"x", idle=1, deadline=1)


def test_it_is_not_looked_for_again_and_its_reason_stays() -> None:
    asked: list[int] = []

    def reopen() -> ScriptedPort:
        asked.append(1)
        raise GONE

    with pytest.raises(FinalFault) as told:
        Session(ScriptedPort([], closes=True), reopen=reopen).reconnect(within=30)
    assert told.value is GONE
    assert len(asked) == 1
    with pytest.raises(FinalFault):
        until_there(reopen, Deadline(30), sleep=lambda _: pytest.fail("waited"))


class _Switch:
    name = "a switch"

    def __init__(self) -> None:
        self.orders: list[str] = []

    def on(self) -> None:
        self.orders.append("on")

    def off(self) -> None:
        self.orders.append("off")


def test_a_line_of_bytes_alone_is_reset_by_power(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        lab = LabDevice(board(power={"off_seconds": 0.01}))
        lab._url = f"socket://127.0.0.1:{server.getsockname()[1]}"
        lab.switch = switch = _Switch()
        line = BoardLine(board(), lab, traits_of("micropython"), Transcript(tmp_path / "t.jsonl"), lambda *_: None)
        line.open(0.0, Deadline(0), lambda _: None)
        reset = line._resetter
        assert reset is not None
        reset()
        assert switch.orders == ["off", "on"]
        lab.switch = None
        assert line._resetter == line.pulse_reset
        line.hang_up()
