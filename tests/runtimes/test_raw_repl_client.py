"""The raw REPL client against a scripted board: upstream's exact bytes, and what goes wrong with them."""

import ast
import os
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.link.ports import open_port
from harness.link.session import Session
from harness.link.transcript import ReplayPort, Transcript
from harness.runtimes.micropython import raw_programs, raw_repl
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from tests.runtimes.scripted_repl import GURU, ROM, SILENT_RESETS, ScriptedBoard

Talk = Callable[..., tuple[ScriptedBoard, MicroPythonBoard]]


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Talk]:
    """Makes a scripted board and its client; closes both."""
    for module in (raw_repl, raw_programs):
        monkeypatch.setattr(module, "GRACE", 0.4)
    made: list[tuple[ScriptedBoard, MicroPythonBoard]] = []

    def make(
        *,
        transcript: Transcript | None = None,
        nonces: random.Random | None = None,
        heard: bytes = b"",
        buffer: int | None = None,
        **options: Any,
    ) -> tuple[ScriptedBoard, MicroPythonBoard]:
        scripted = ScriptedBoard(**options)
        session = Session(open_port(scripted.path), transcript)
        scripted.say(heard)  # after opening, which drops what came before
        made.append((scripted, MicroPythonBoard(session, boot_timeout=4.0, nonces=nonces, buffer=buffer)))
        return made[-1]

    yield make
    for scripted, board in made:
        board.close()
        scripted.close()


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("paste", ["yes", "refused", "old"])
def test_programs_arrive_whole_with_and_without_raw_paste(talk: Talk, paste: str, split: bool) -> None:
    scripted, board = talk(paste=paste, split=split)
    source = "".join(f"line{i} = {i}\n" for i in range(90))
    assert board.run(source).stdout == b""
    assert board.run("print(6*7)").stdout == b"42\r\n"
    assert scripted.programs[1:] == [source.encode(), b"print(6*7)"]  # the first was the handshake


def test_a_slow_board_is_never_sent_more_than_it_granted(talk: Talk) -> None:
    scripted, board = talk(slow=True)
    board.enter()
    board.run("x" * 100)
    board.run("y" * 200)
    board.run("z" * 600)
    assert [len(program) for program in scripted.programs[1:]] == [100, 200, 600]
    assert scripted.overruns == 0


@pytest.mark.parametrize("proved", [False, True])
@pytest.mark.parametrize("length", [*range(58, 68), 300])
def test_a_ring_of_64_bytes_is_never_filled(talk: Talk, length: int, proved: bool) -> None:
    """It holds 63, and a VM that is late looks when all of it is there: 62 of a program, and the Ctrl-D after it."""
    scripted, board = talk(paste="old", buffer=64)
    board.enter()
    board.verify_programs(proved)
    source = ("#" * (length - 1) + "\n").encode()
    board.run(source.decode())
    sent = scripted.programs[1:]
    assert max(map(len, sent)) <= 62
    pieces = [literal(piece[len(b"_hx[0]+=") :]) for piece in sent if piece.startswith(b"_hx[0]+=")]
    assert b"".join(pieces) == source or source in sent


def literal(text: bytes) -> bytes:
    value = ast.literal_eval(text.decode())
    assert isinstance(value, bytes)
    return value


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(min_codepoint=6, exclude_categories=["Cs"]), max_size=700))
def test_any_text_goes_through_the_window(live: tuple[ScriptedBoard, MicroPythonBoard], text: str) -> None:
    scripted, board = live
    source = "#" + text
    board.run(source)
    assert scripted.programs[-1] == source.encode()


@pytest.fixture
def live(talk: Talk) -> tuple[ScriptedBoard, MicroPythonBoard]:
    return talk()


def test_what_the_repl_would_act_on_is_refused(talk: Talk) -> None:
    scripted, board = talk()
    with pytest.raises(UsageError, match="control character"):
        board.run("x = '\x04'")
    assert scripted.programs == []


def test_a_large_upload_costs_hardly_more_than_its_bytes(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    _, board = talk()
    board.enter()
    sent = 0
    write = board.session.port.write

    def counted(data: bytes) -> int | None:
        nonlocal sent
        sent += len(data)
        return write(data)

    monkeypatch.setattr(board.session.port, "write", counted)
    board.run("#" * 100_000)
    assert 100_000 < sent <= 100_000 * 1.02


def test_a_short_program_takes_one_round_trip(talk: Talk) -> None:
    _, board = talk()
    board.run("print(1)")
    before = len(board.session.transcript.entries)
    assert board.run("print(6*7)").stdout == b"42\r\n"
    kinds = [entry.kind for entry in board.session.transcript.entries[before:]]
    assert kinds.count("sent") == 1


def test_a_board_that_stops_reading_in_the_middle_says_why(talk: Talk) -> None:
    scripted, board = talk(gives_up_after=700)
    assert b"SyntaxError" in board.run("x = 1\n" * 1000).stderr
    assert board.run("print(3*3)").stdout == b"9\r\n"
    assert scripted.programs[-1] == b"print(3*3)"


def test_a_line_that_echoes(talk: Talk) -> None:
    scripted, board = talk(echo=True)
    source = "print(5*5)\n# OK \n" + "y = 2\n" * 100
    assert board.run(source).stdout == b"25\r\n"
    assert board.run("print(2*2)").stdout == b"4\r\n"
    assert scripted.programs[1:] == [source.encode(), b"print(2*2)"]


@pytest.mark.parametrize("heard", [b"", bytes(range(0x80, 0x100)) * 5 + b"\r\n>"])
def test_a_main_py_that_catches_the_first_ctrl_c(talk: Talk, heard: bytes) -> None:
    _, board = talk(stubborn=True, heard=heard)
    board.enter()
    assert board.run("print(4*4)").stdout == b"16\r\n"


def test_a_program_that_hangs_is_stopped_and_the_next_one_runs(talk: Talk) -> None:
    _, board = talk()
    with pytest.raises(FirmwareFailure, match="did not end within 0.2 s; last output: 'working'"):
        board.run("hang", timeout=0.2)
    assert board.run("print(1*1)").stdout == b"1\r\n"


def test_a_flood_ends_and_the_next_program_runs(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.link.session.READ_LIMIT", 100_000)
    _, board = talk()
    with pytest.raises(FirmwareFailure, match="floods"):
        board.run("flood", timeout=20)
    assert board.run("print(1*1)").stdout == b"1\r\n"


def test_a_crash_is_named_and_the_next_program_runs(talk: Talk) -> None:
    _, board = talk()
    with pytest.raises(FirmwareFailure, match=r"the board crashed \(panic\): .*LoadProhibited"):
        board.run("crash")
    assert board.run("print(1*1)").stdout == b"1\r\n"


@pytest.mark.parametrize("program", SILENT_RESETS)
def test_a_reset_in_a_program_is_noticed_by_the_start_of_the_vm(talk: Talk, program: bytes) -> None:
    _, board = talk()
    started = time.monotonic()
    with pytest.raises(FirmwareFailure, match=r"the board crashed \(reset\): MicroPython v1.26.0"):
        board.run(program.decode(), timeout=20.0)
    assert time.monotonic() - started < 10.0
    assert board.run("print(1*1)").stdout == b"1\r\n"


def test_a_reset_in_the_middle_of_a_program_s_way_is_noticed_at_once(
    talk: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(raw_programs, "FLOW_GRACE", 20.0)
    _, board = talk()
    started = time.monotonic()
    with pytest.raises(FirmwareFailure, match=r"the board crashed \(reset\): "):
        board.run("reset now" + "x = 1\n" * 200)
    assert time.monotonic() - started < 12.0
    assert board.run("print(1*1)").stdout == b"1\r\n"


def test_a_program_that_greets_like_a_vm_has_not_restarted(talk: Talk) -> None:
    _, board = talk()
    assert b"and on" in board.run("greet").stdout


def test_a_port_that_vanishes_is_the_bench_s_fault(talk: Talk) -> None:
    scripted, board = talk(vanishes_at=400)
    board.enter()
    with pytest.raises(BenchFault, match="port closed|did not take"):
        board.run("x = 1\n" * 500)
    assert scripted.programs[1:] == []


def test_a_soft_reset_stays_in_raw_mode(talk: Talk) -> None:
    scripted, board = talk()
    board.enter()
    board.soft_reset()
    assert scripted.raw
    assert board.run("print(2*3)").stdout == b"6\r\n"
    assert len(scripted.programs) == 2  # no handshake in between


@pytest.mark.parametrize(
    ("follows", "message"),
    [
        (GURU + ROM, r"crashed at a soft reset \(panic\): .*LoadProhibited"),
        (ROM, r"crashed at a soft reset \(reset\): .*SW_CPU_RESET"),
        (b"", "a soft reset became a reset of the chip"),  # an STM32 resets in silence
    ],
)
def test_a_soft_reset_that_resets_the_chip_is_found(talk: Talk, follows: bytes, message: str) -> None:
    _, board = talk(soft_reset=follows)
    board.enter()
    with pytest.raises(FirmwareFailure, match=message):
        board.soft_reset()
    assert board.run("print(2*3)").stdout == b"6\r\n"


def test_a_recorded_conversation_can_be_held_again_without_the_board(talk: Talk) -> None:
    def conversation(board: MicroPythonBoard) -> list[bytes]:
        board.enter()
        board.soft_reset()
        return [board.run(f"print({i}*{i})").stdout for i in range(5)]

    record = Transcript()
    _, board = talk(transcript=record, nonces=random.Random(7))
    answers = conversation(board)
    entries = list(record.entries)
    assert b"soft reset" in [e.data for e in entries if e.kind == "note"]

    again = MicroPythonBoard(Session(ReplayPort(entries)), nonces=random.Random(7))
    assert conversation(again) == answers == [b"0\r\n", b"1\r\n", b"4\r\n", b"9\r\n", b"16\r\n"]
    other = MicroPythonBoard(Session(ReplayPort(entries)), nonces=random.Random(7))
    other.enter()
    with pytest.raises(BenchFault, match="the transcript has"):
        other.run("print(99)")


def test_a_crash_before_the_vm_ever_answered_is_not_held_against_the_firmware(talk: Talk) -> None:
    _, board = talk(heard=b"Fatal exception (0):\r\nepc1=0x40209004\r\n")
    with pytest.raises(BenchFault, match=r"does not start \(panic\): Fatal exception"):
        board.enter()
    assert board.run("print(2*3)").stdout == b"6\r\n"


def test_words_of_a_crash_that_nothing_follows_are_an_applications(talk: Talk) -> None:
    scripted, board = talk(heard=b"invalid header: 0xffffffff\r\nFatal exception (0):\r\n")
    board.enter()
    scripted.say(GURU + b"ets_main.c 371\r\n")
    board.enter()


def test_a_crash_at_a_later_start_is(talk: Talk) -> None:
    scripted, board = talk()
    board.enter()
    scripted.say(GURU + b"\r\nRebooting...\r\n" + ROM)
    with pytest.raises(FirmwareFailure, match=r"does not start \(panic\)"):
        board.enter()


class Forger(ScriptedBoard):
    """Its programs print words of a crash and of a start, and go on; ``crash`` really starts anew."""

    def _execute(self, source: bytes) -> None:
        if source == b"words":
            self.say(b"so far\r\n" + GURU + b"\r\nRebooting...\r\n" + ROM + b"and on\r\n\x04\x04>")
        else:
            super()._execute(source)


@pytest.fixture
def forger(monkeypatch: pytest.MonkeyPatch) -> Iterator[MicroPythonBoard]:
    for module in (raw_repl, raw_programs):
        monkeypatch.setattr(module, "GRACE", 0.4)
    scripted = Forger()
    board = MicroPythonBoard(Session(open_port(scripted.path)), boot_timeout=4.0)
    yield board
    board.close()
    scripted.close()


def test_a_program_that_prints_a_crash_has_not_crashed(forger: MicroPythonBoard) -> None:
    assert b"and on" in forger.run("words").stdout
    assert forger.run("print(2*3)").stdout == b"6\r\n"
    with pytest.raises(FirmwareFailure, match=r"crashed \(panic\)"):
        forger.run("crash")


class Listening(ScriptedBoard):
    """Keeps what it was sent."""

    def __init__(self) -> None:
        self.heard = bytearray()
        super().__init__()

    def _getc(self) -> int:
        char = super()._getc()
        self.heard.append(char)
        return char


class Reappearing:
    """A board whose port is its own: each reset takes it, and it is another one a moment later."""

    def __init__(self) -> None:
        self.boards = [Listening()]
        self.gone_until = 0.0
        self.session: Session

    def reset(self) -> None:
        old = self.boards[-1]
        old._vanishes_at = old._taken + 1  # its own thread closes it, at the next byte
        self.session.port.write(b"\r")
        old._thread.join(5)
        self.boards.append(Listening())
        self.gone_until = time.monotonic() + 0.3

    def open(self) -> Any:
        if time.monotonic() < self.gone_until:
            raise BenchFault("there is no such port")
        return open_port(self.boards[-1].path)


@pytest.mark.parametrize("native_usb", [True, False])
def test_a_port_that_goes_at_our_own_reset_is_awaited(native_usb: bool) -> None:
    device = Reappearing()
    session = device.session = Session(device.open(), reopen=device.open)
    board = MicroPythonBoard(session, reset=device.reset, boot_timeout=6.0, native_usb=native_usb)
    board.enter()
    for _ in range(2):
        board.hard_reset()
        assert board.run("print(6*7)").stdout == b"42\r\n"
        # The prompt of the start has gone with the port: it is asked for another before anything is interrupted.
        assert device.boards[-1].heard.startswith(b"\r\r\x03\x03" if native_usb else b"\r\x03\x03")
    board.close()
    device.boards.pop().close()
    for scripted in device.boards:
        os.close(scripted._slave)
