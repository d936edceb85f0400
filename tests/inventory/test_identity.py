"""A board is what its USB identity says, wherever it comes back and whatever its port is called then."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from harness.bench.board_port import BoardPort
from harness.errors import BenchFault
from harness.inventory import discover
from harness.inventory.discover import Port, find_port
from harness.inventory.locks import lock_names
from harness.inventory.model import Board, Identity
from harness.link.deadline import driven_by

S3 = Port("/dev/ttyACM0", "24587cd3e810", "1-1.2", "303a:4001", "native USB")


def board(name: str = "b", **identity: object) -> Board:
    return Board(id=name, chip="esp32s3", runtime="micropython", identity=Identity.model_validate(identity))


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> list[Port]:
    plugged: list[Port] = []
    monkeypatch.setattr(discover, "list_ports", lambda: list(plugged))
    return plugged


def test_the_boot_loaders_product_id_is_the_same_board(ports: list[Port]) -> None:
    wanted = board(usb_serial=S3.usb_serial, vid_pid="303a:4001", also_vid_pid=["303A:1001"])
    ports.append(replace(S3, device="/dev/ttyACM5", vid_pid="303a:1001"))
    assert find_port(wanted) == "/dev/ttyACM5"
    ports[0] = replace(S3, vid_pid="303a:0002")
    with pytest.raises(BenchFault, match="vid_pid 303a:4001 or 303a:1001"):
        find_port(wanted)


def test_other_product_ids_make_no_other_board_for_the_locks() -> None:
    plain = board(usb_serial="x1", vid_pid="303a:4001")
    assert lock_names(plain) == lock_names(board(usb_serial="x1", vid_pid="303a:4001", also_vid_pid=["303a:1001"]))


def test_also_vid_pid_needs_vid_pid() -> None:
    with pytest.raises(ValueError, match="belongs to 'vid_pid'"):
        board(usb_serial="x", also_vid_pid=["303a:1001"])


def test_a_serial_number_of_its_own_finds_the_board_in_another_socket(ports: list[Port]) -> None:
    wanted = board(usb_serial=S3.usb_serial, usb_location="1-1.2")
    ports.append(replace(S3, usb_location="1-1.4.1"))
    assert find_port(wanted) == S3.device


@pytest.mark.parametrize("serial", ["0001", "00000000", "0", None])
def test_a_factory_serial_number_does_not(ports: list[Port], serial: str | None) -> None:
    told = {"usb_serial": serial} if serial else {}
    ports.append(replace(S3, usb_serial=serial, usb_location="1-1.4"))
    with pytest.raises(BenchFault, match="expected a port with"):
        find_port(board(usb_location="1-1.2", **told))


def test_a_serial_number_that_two_devices_have_is_no_proof(ports: list[Port]) -> None:
    ports += [replace(S3, usb_location="1-1.3"), replace(S3, device="/dev/ttyACM1", usb_location="1-1.4")]
    with pytest.raises(BenchFault, match="expected a port with"):
        find_port(board(usb_serial=S3.usb_serial, usb_location="1-1.2"))
    ports[0] = replace(S3)  # in its own socket there is nothing to doubt
    assert find_port(board(usb_serial=S3.usb_serial, usb_location="1-1.2")) == S3.device


def test_the_second_port_of_an_adapter_is_its_second_port_in_another_socket(ports: list[Port]) -> None:
    for number in (0, 1):
        ports.append(Port(f"/dev/ttyUSB{number}", "FT4ABCDE", f"3-1:1.{number}", "0403:6010", "FT2232H"))
    assert find_port(board(usb_serial="FT4ABCDE", usb_location="1-2:1.1")) == "/dev/ttyUSB1"


# -- coming back -------------------------------------------------------------------------------------


@dataclass
class FakePort:
    address: str
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass
class Time:
    """Time that passes by waiting; ``then`` is what happens at a moment."""

    now: float = 0.0
    then: dict[int, object] = field(default_factory=dict)
    naps: int = 0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.naps += 1
        action = self.then.get(self.naps)
        if callable(action):
            action()


def reopening(wanted: Board, time: Time, opened: list[FakePort] | None = None) -> BoardPort[FakePort]:
    made = [] if opened is None else opened

    def opener(address: str) -> FakePort:
        made.append(FakePort(address))
        return made[-1]

    return BoardPort(wanted, lambda: find_port(wanted), opener, sleep=time.sleep)


def test_a_board_that_comes_back_under_another_name_is_opened_there(ports: list[Port]) -> None:
    time = Time(then={3: lambda: ports.append(replace(S3, device="/dev/ttyACM9"))})
    again = reopening(board(usb_serial=S3.usb_serial), time)
    assert again.wait(5).address == again.address == "/dev/ttyACM9"
    assert time.naps == 3


def test_a_board_that_stays_away_costs_its_time_and_no_more(ports: list[Port]) -> None:
    time = Time()
    with (
        driven_by(lambda: time.now),
        pytest.raises(BenchFault, match=r"did not come back within 5 s: .*usb_serial 24587cd3e810"),
    ):
        reopening(board(usb_serial=S3.usb_serial), time).wait(5)
    assert 5 <= time.now < 5.3


def test_a_name_that_changes_hands_while_it_is_opened_is_not_used(ports: list[Port]) -> None:
    ports += [S3, replace(S3, device="/dev/ttyACM1", usb_serial="other12345")]
    opened: list[FakePort] = []

    def opener(address: str) -> FakePort:
        if not opened:  # the two swap between the look and the opening
            ports[:] = [replace(S3, device="/dev/ttyACM1"), replace(ports[1], device="/dev/ttyACM0")]
        opened.append(FakePort(address))
        return opened[-1]

    time = Time()
    wanted = board(usb_serial=S3.usb_serial)
    again = BoardPort(wanted, lambda: find_port(wanted), opener, sleep=time.sleep)
    assert again.wait(5).address == "/dev/ttyACM1"
    assert [(port.address, port.closed) for port in opened] == [("/dev/ttyACM0", True), ("/dev/ttyACM1", False)]


IDENTITIES: dict[str, dict[str, object]] = {
    "s3a": {"usb_serial": "aa11", "usb_location": "1-1.1", "vid_pid": "303a:4001", "also_vid_pid": ["303a:1001"]},
    "s3b": {"usb_serial": "bb22", "vid_pid": "303a:4001", "also_vid_pid": ["303a:1001"]},
    "cpa": {"usb_serial": "0001", "usb_location": "1-1.3", "vid_pid": "10c4:ea60"},
    "cpb": {"usb_serial": "0001", "usb_location": "1-1.4", "vid_pid": "10c4:ea60"},
}


class Bench(RuleBasedStateMachine):
    """Two native-USB boards and two CP2102 with one serial number, plugged, unplugged, renamed, reset at will."""

    NATIVE = ("s3a", "s3b")

    def __init__(self) -> None:
        super().__init__()
        self.boards = {name: board(name, **identity) for name, identity in IDENTITIES.items()}
        self.plugged: dict[str, Port] = {}

    def _free(self) -> str:
        names = {port.device for port in self.plugged.values()}
        return next(f"/dev/tty{n}" for n in range(9) if f"/dev/tty{n}" not in names)

    def _plug(self, name: str, location: str, vid_pid: str) -> None:
        serial = str(IDENTITIES[name]["usb_serial"])
        self.plugged.pop(name, None)
        self.plugged[name] = Port(self._free(), serial, location, vid_pid, "")

    @rule(name=st.sampled_from(NATIVE), socket=st.sampled_from(["1-1.1", "1-1.2", "1-2"]), boot=st.booleans())
    def plug_native(self, name: str, socket: str, boot: bool) -> None:
        if all(other == name or port.usb_location != socket for other, port in self.plugged.items()):
            self._plug(name, socket, "303a:1001" if boot else "303a:4001")

    @rule(name=st.sampled_from(["cpa", "cpb"]))
    def plug_adapter(self, name: str) -> None:
        self._plug(name, str(IDENTITIES[name]["usb_location"]), "10c4:ea60")

    @precondition(lambda self: self.plugged)
    @rule(data=st.data())
    def unplug(self, data: st.DataObject) -> None:
        del self.plugged[data.draw(st.sampled_from(sorted(self.plugged)))]

    @precondition(lambda self: len(self.plugged) > 1)
    @rule(data=st.data())
    def swap_names(self, data: st.DataObject) -> None:
        names = data.draw(st.permutations([port.device for port in self.plugged.values()]))
        for name, device in zip(list(self.plugged), names, strict=True):
            self.plugged[name] = replace(self.plugged[name], device=device)

    @invariant()
    def each_board_is_found_as_itself_or_not_at_all(self) -> None:
        listed = sorted(self.plugged.values(), key=lambda port: port.device)
        for name, wanted in self.boards.items():
            found = discover.candidates(wanted, listed)
            assert found == ([self.plugged[name]] if name in self.plugged else [])


TestBench = Bench.TestCase
TestBench.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
