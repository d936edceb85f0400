"""A NodeMCU board at a bad line: what was damaged on its way is the bench's, what the program did is the firmware's."""

import contextlib
from collections.abc import Callable, Iterator

import pytest

from harness.errors import BenchFault, FirmwareFailure
from harness.link.session import Port, Session
from harness.reference.nodemcu.lua_reference import LuaReference
from harness.runtimes.nodemcu.nodemcu_board import NodeMcuBoard
from harness.runtimes.nodemcu.nodemcu_lines import END, HELPERS, LINE_LIMIT

Change = Callable[[bytes], bytes]


class BadPort:
    """A NodeMCU of the host behind a line that ``down`` and ``up`` damage: to the board, and back."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self.down: Change = lambda data: data
        self.up: Change = lambda data: data
        self._held = b""

    @property
    def timeout(self) -> float | None:
        return self._port.timeout

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self._port.timeout = seconds

    def close(self) -> None:
        self._port.close()

    @property
    def in_waiting(self) -> int:
        return len(self._held)

    def write(self, data: bytes) -> int:
        self._port.write(self.down(data))
        return len(data)

    def read(self, size: int = 1) -> bytes:
        if not self._held:
            self._held = self.up(self._port.read(4096))
        data, self._held = self._held[:size], self._held[size:]
        return data


Line = tuple[BadPort, NodeMcuBoard]


@pytest.fixture
def line() -> Iterator[Line]:
    with LuaReference() as reference:
        port = BadPort(reference.session.port)
        board = NodeMcuBoard(Session(port))
        board.enter()
        assert board.run("print(1)").stdout == b"1\r\n"
        yield port, board


def once(old: bytes, new: bytes) -> Change:
    left = [1]

    def change(data: bytes) -> bytes:
        if old in data and left:
            left.clear()
            return data.replace(old, new, 1)
        return data

    return change


def test_a_line_that_arrived_as_another_one_is_a_bench_fault_and_the_next_program_is_well(line: Line) -> None:
    port, board = line
    port.down = once(b"_hxo(", b"_hXo(")
    with pytest.raises(BenchFault, match="came back damaged"):
        board.run("print(2)")
    assert board.run("print(3)").stdout == b"3\r\n"


def test_an_error_text_that_the_line_made_up_is_not_the_programs(line: Line) -> None:
    port, board = line
    port.up = once(END + b"0:", END + b"0:no")
    with pytest.raises(BenchFault, match="arrived damaged"):
        board.run("print(2)")


def test_an_error_of_the_program_keeps_its_words(line: Line) -> None:
    _, board = line
    assert b"so it is" in board.run("error('so it is')").stderr
    assert b"one" in (told := board.run("error('one\\r\\ntwo')").stderr) and b"two" in told


def test_an_end_that_got_lost_is_a_bench_fault(line: Line) -> None:
    port, board = line
    port.up = once(END, b"")
    with pytest.raises(BenchFault, match="the program has ended"):
        board.run("print(2)", timeout=2.0)
    assert board.run("print(3)").stdout == b"3\r\n"


def test_a_program_that_waits_for_callbacks_and_does_not_end_is_the_firmwares(line: Line) -> None:
    _, board = line
    with pytest.raises(FirmwareFailure, match="did not end within"):
        board.run("_hxwait = true", timeout=2.0)


def test_a_stray_control_character_does_not_end_a_program(line: Line) -> None:
    _, board = line
    assert board.run(r"print('a\4b')").stdout == b"a\x04b\r\n"


def test_what_an_interrupted_upload_left_open_does_not_come_over_the_next_one(line: Line) -> None:
    port, board = line
    port.down = once(b"_hxw(1,", b"_hxw(2,")
    with pytest.raises(BenchFault):
        board.put("a.txt", b"x" * 600)
    board.put("a.txt", b"short")
    board.soft_reset()
    assert board.get("a.txt") == b"short"


def test_helpers_fit_the_boards_line() -> None:
    assert all(len(helper) < LINE_LIMIT for helper in HELPERS)


def test_an_interrupted_upload_leaves_nothing_under_the_files_name(line: Line) -> None:
    port, board = line
    board.put("a.lua", b"return 1")
    port.down = once(b"_hxw(1,", b"_hxw(2,")
    with pytest.raises(BenchFault):
        board.put("a.lua", b"-" * 600)
    assert "a.lua" not in board.listdir()
    board.put("a.lua", b"return 2")
    assert board.get("a.lua") == b"return 2" and "hx_coming" not in board.listdir()


def test_a_file_that_does_not_arrive_is_told_by_the_name_that_it_was_given(line: Line) -> None:
    port, board = line
    port.up = once(b"\x061.", b"\x069.")
    with pytest.raises(BenchFault, match=r"^a\.lua: block 1 was not acknowledged"):
        board.put("a.lua", b"-" * 600)


@pytest.mark.parametrize("change", [(b"_hxo(1)", b"_hxo(11)"), (b"_hxo(1)", b"_hxo(2)"), (b"run.lua", b"rrun.lua")])
def test_a_damaged_name_makes_no_file(line: Line, change: tuple[bytes, bytes]) -> None:
    port, board = line
    there = board.listdir()
    port.down = once(*change)
    with contextlib.suppress(BenchFault):
        board.run("print(2)")
    assert set(board.listdir()) <= {*there, "hx_coming"}  # which a sweep takes away
    port.down = once(b'_hxn="a.lua"', b'_hxn="aa.lua"')
    with pytest.raises(BenchFault, match="came back damaged"):
        board.put("a.lua", b"return 1")
    assert not {"a.lua", "aa.lua"} & set(board.listdir())
