import os
import re
import time
import tty

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault
from harness.link.deadline import Deadline
from harness.link.panics import confirmed_crash, find_panic, printable
from harness.link.ports import open_port
from harness.link.session import Reason, Session
from harness.link.transcript import Entry, ReplayPort, Transcript, load


class ScriptedPort:
    """Gives its chunks one read at a time; then silence, or a closed port."""

    def __init__(self, chunks: list[bytes], *, closes: bool = False) -> None:
        self.chunks = [bytearray(c) for c in chunks if c]
        self.closes = closes
        self.timeout: float | None = None
        self.written = b""

    @property
    def in_waiting(self) -> int:
        return len(self.chunks[0]) if self.chunks else 0

    def read(self, size: int = 1) -> bytes:
        if not self.chunks:
            if self.closes:
                raise OSError("gone")
            return b""
        data = bytes(self.chunks[0][:size])
        del self.chunks[0][:size]
        if not self.chunks[0]:
            self.chunks.pop(0)
        return data

    def write(self, data: bytes) -> int:
        self.written += data
        return len(data)

    def close(self) -> None: ...


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    chunks, at = [], 0
    for size in sizes:
        chunks.append(data[at : at + size])
        at += size
    return [*chunks, data[at:]]


@given(st.binary(max_size=120), st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=60))
def test_any_chunking_finds_the_same_match(before: bytes, after: bytes, sizes: list[int]) -> None:
    data = before.replace(b"#", b"") + b"#END#" + after
    session = Session(ScriptedPort(cut(data, sizes)))
    read = session.read_until(b"#END#", idle=0.01, deadline=1, watch_panics=False)
    assert read.reason is Reason.MATCH
    assert read.data == before.replace(b"#", b"") + b"#END#"


def test_a_read_says_why_it_ended() -> None:
    assert Session(ScriptedPort([b"abc"])).read_until(b"X", idle=0.01, deadline=1).reason is Reason.IDLE
    assert Session(ScriptedPort([b"abc"], closes=True)).read_until(b"X", idle=1, deadline=1).reason is Reason.CLOSED
    endless = ScriptedPort([b"a"] * 100000)
    assert Session(endless).read_until(b"X", idle=1, deadline=0).reason is Reason.DEADLINE


def test_a_flood_is_bounded() -> None:
    read = Session(ScriptedPort([b"a" * 65536] * 200)).read_until(b"X", idle=1, deadline=30, watch_panics=False)
    assert read.reason is Reason.FLOOD
    assert len(read.data) < 5 * 1024 * 1024


PANICS = [
    (b"Guru Meditation Error: Core  0 panic'ed (LoadProhibited). Exception was unhandled.", "panic"),
    (b"abort() was called at PC 0x400d1234 on core 0", "panic"),
    (b"Fatal exception (28):\r\nepc1=0x4020", "panic"),
    (b"HardFault\r\nR0    f2810134\r\nR1    02000063\r\nLR    000014fb", "panic"),
    (b"HardFault exception caught:\nR0:   F2810134 R1:   02000063 R2:   00000003", "panic"),
    (b"MACHINE EXCEPTION CAUGHT:\n\n RA=8000A1B2  SP=80100000", "panic"),
    (b"Brownout detector was triggered", "brown-out"),
    (b"You are in safe mode because:\r\nPower dipped. Make sure you are providing enough power.", "brown-out"),
    (b"You are in safe mode because:\r\nHard fault: memory access or instruction error.", "safe mode"),
    (b"invalid header: 0xffffffff", "boot"),
    (b"csum err:0x4d!=0x4c\r\nets_main.c 384", "boot"),
    (b"E (412) esp_image: Checksum failed. Calculated 0x2e read 0x3e", "boot"),
    (b"E (420) boot: No bootable app partitions in the partition table", "boot"),
]


@pytest.mark.parametrize(("text", "kind"), PANICS)
@given(sizes=st.lists(st.integers(1, 20), max_size=20))
def test_panic_texts_end_a_wait_however_they_arrive(text: bytes, kind: str, sizes: list[int]) -> None:
    session = Session(ScriptedPort(cut(b"some output\r\n" + text + b"\r\n", sizes)))
    read = session.read_until(b"NEVER", idle=0.01, deadline=1)
    assert read.reason is Reason.PANIC
    assert read.panic is not None
    assert read.panic.kind == kind


def test_a_reset_that_was_asked_for_is_no_panic_but_a_boot_loop_is() -> None:
    banner = b"ets Jul 29 2019\r\n\r\nrst:0x1 (POWERON_RESET),boot:0x13\r\n"
    assert find_panic(banner, reset_expected=True) is None
    unexpected = find_panic(banner)
    assert unexpected is not None
    assert unexpected.kind == "reset"
    loop = find_panic(banner * 3, reset_expected=True)
    assert loop is not None
    assert loop.kind == "boot loop"


@given(st.lists(st.integers(1, 40), max_size=40), st.booleans())
def test_what_comes_first_counts_however_it_is_cut(sizes: list[int], panic_first: bool) -> None:
    crash, prompt = b"abort() was called at PC 0x400d1234 on core 0\r\n", b"\r\n>>> "
    data = b"hello\r\n" + (crash + prompt if panic_first else prompt + crash)
    session = Session(ScriptedPort(cut(data, sizes)))
    read = session.read_until(b">>> ", idle=0.01, deadline=1)
    assert read.reason is (Reason.PANIC if panic_first else Reason.MATCH)
    if not panic_first:
        assert read.data == b"hello" + b"\r\n" + prompt
        assert session.read_until(b">>> ", idle=0.01, deadline=1).reason is Reason.PANIC


@given(st.lists(st.integers(1, 900), max_size=40), st.integers(1, 4), st.integers(0, 120))
def test_a_boot_loop_is_found_however_long_its_log_is(sizes: list[int], boots: int, lines: int) -> None:
    boot = b"rst:0xc (SW_CPU_RESET),boot:0x13\r\n" + b"I (31) boot: a line of the loader's log\r\n" * lines
    session = Session(ScriptedPort(cut(boot * boots, sizes)))
    with session.expecting_reset():
        read = session.read_until(b"NEVER", idle=0.01, deadline=1)
    if boots < 3:
        assert read.reason is Reason.IDLE
    else:
        assert (read.reason, read.panic and read.panic.kind) == (Reason.PANIC, "boot loop")


def test_a_boot_loop_is_found_over_several_reads() -> None:
    session = Session(ScriptedPort([b"rst:0x1 (POWERON_RESET)\r\n>>> "] * 3))
    with session.expecting_reset():
        assert session.read_until(b">>> ", idle=0.01, deadline=1).ok
        assert session.read_until(b">>> ", idle=0.01, deadline=1).ok
        assert session.read_until(b">>> ", idle=0.01, deadline=1).reason is Reason.PANIC


@given(st.binary(max_size=2000))
def test_printable_text_is_plain_and_bounded(data: bytes) -> None:
    text = printable(data, 200)
    assert len(text) <= 200
    assert all(char.isprintable() for char in text)


def test_escapes_from_a_board_do_not_reach_the_terminal() -> None:
    assert printable(b"\x1b[2J\x1b]0;title\x07boom\x1b[31m!") == "boom!"


def test_a_transcript_is_kept_bounded_and_replayed(tmp_path) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "t.jsonl"
    transcript = Transcript(file)
    transcript.add("sent", b"print(1)\x04")
    transcript.add("received", b"OK1\r\n\x04\x04>\xff")
    transcript.note("a note")
    for _ in range(100):
        transcript.add("received", b"x" * 10_000)
    transcript.close()
    assert sum(len(e.data) for e in transcript.entries) <= 300_000
    entries = load(file)
    assert len(entries) == 103
    port = ReplayPort(entries[:2])
    session = Session(port)
    session.write(b"print(1)\x04")
    assert session.read_until(b">\xff", idle=0.1, deadline=1).data == b"OK1\r\n\x04\x04>\xff"


def test_a_replay_notices_another_conversation() -> None:
    session = Session(ReplayPort([Entry(0.0, "sent", b"abc")]))
    with pytest.raises(BenchFault, match="the transcript has"):
        session.write(b"abd")


def test_a_port_that_takes_nothing_is_a_bench_fault() -> None:
    class Dead(ScriptedPort):
        def write(self, data: bytes) -> int:
            raise OSError("write failed")

    with pytest.raises(BenchFault, match="did not take"):
        Session(Dead([])).write(b"x")


def test_a_write_has_a_deadline_of_its_own() -> None:
    master, slave = os.openpty()  # nobody reads the other end, so the line fills up
    tty.setraw(slave)
    session = Session(open_port(os.ttyname(slave)))
    started = time.monotonic()
    with pytest.raises(BenchFault, match="did not take|took longer"):
        session.write(b"x" * 1_000_000, deadline=0.3)
    assert time.monotonic() - started < 2
    os.close(master)
    os.close(slave)
    session.close()


class Vanishing:
    """A pty that goes away like a USB port, and comes back as another device."""

    def __init__(self) -> None:
        self.path = ""
        self.master = -1
        self.appear()

    def appear(self) -> None:
        self.master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave

    def vanish(self) -> None:
        os.close(self.master)
        os.close(self._slave)
        self.path = "/dev/does-not-exist"


def test_a_port_that_vanishes_as_expected_is_opened_again() -> None:
    device = Vanishing()
    session = Session(open_port(device.path), reopen=lambda: open_port(device.path))
    first = session.port
    with session.expecting_disconnect(within=5):
        os.write(device.master, b"going to sleep")
        assert session.read_until(b"sleep", idle=1, deadline=2).ok
        device.vanish()
        assert session.read_until(idle=1, deadline=2).reason is Reason.CLOSED
        device.appear()
    assert session.port is not first
    os.write(device.master, b"awake")
    assert session.read_until(b"awake", idle=1, deadline=2).ok
    session.write(b"hello")
    assert os.read(device.master, 100) == b"hello"
    session.close()
    device.vanish()


def test_a_port_that_does_not_come_back_is_a_bench_fault() -> None:
    device = Vanishing()
    session = Session(open_port(device.path), reopen=lambda: open_port(device.path))
    absent = pytest.raises(BenchFault, match=r"did not come back within 0.2 s: .*no such port")
    with absent, session.expecting_disconnect(within=0.2):
        device.vanish()


def test_a_port_that_stays_is_left_alone() -> None:
    session = Session(ScriptedPort([b"abc"]))
    with session.expecting_disconnect(within=1):
        pass
    assert session.read_until(b"abc", idle=0.01, deadline=1).ok


def test_what_came_before_the_port_closed_is_kept() -> None:
    class Dying(ScriptedPort):
        @property
        def in_waiting(self) -> int:
            raise OSError("gone")

    read = Session(Dying([b"l"])).read_until(b"X", idle=1, deadline=1)
    assert (read.reason, read.data) == (Reason.CLOSED, b"l")


def test_a_deadline_is_shared_by_the_waits_inside() -> None:
    whole = Deadline(60)
    assert 59 < whole.left <= 60
    assert whole.at_most(1).left <= 1
    assert Deadline(0).passed
    assert Deadline(0).at_most(5).passed
    assert Deadline.of(whole) is whole


def test_words_of_a_crash_count_at_the_start_of_a_line() -> None:
    assert find_panic(b"the log said: invalid header: 0xffffffff\r\n") is None
    assert find_panic(b"temp\r\n\xf8\x1cinvalid header: 0xffffffff\r\n") is not None  # behind a ROM at another rate
    assert find_panic(b"the cause was rst:0x1 (POWERON_RESET)\r\n") is None
    assert (
        find_panic(b"half a lineGuru Meditation Error: Core  0 panic'ed (X)\r\nrst:0xc (SW_CPU_RESET)\r\n") is not None
    )


@pytest.mark.parametrize("text", [text for text, _ in PANICS if re.match(rb"HardFault|MACHINE|Fatal", text)])
def test_registers_behind_the_words_confirm_a_crash(text: bytes) -> None:
    assert confirmed_crash(b"x\r\n" + text + b"\r\n") is not None
    assert confirmed_crash(b"x\r\n" + text.splitlines()[0] + b"\r\nand on\r\n") is None


@pytest.mark.parametrize("text", [text for text, _ in PANICS])
def test_words_of_a_crash_in_a_program_that_goes_on_are_its_own(text: bytes) -> None:
    session = Session(ScriptedPort([b"x\r\n" + text + b"\r\nand on\x04"]))
    read = session.read_until(b"\x04", idle=0.01, deadline=1, of_program=True)
    assert read.ok and read.panic is not None


def test_a_program_whose_board_is_at_a_fresh_prompt_has_crashed() -> None:
    class Fresh(ScriptedPort):
        def write(self, data: bytes) -> int:
            self.chunks.append(bytearray(b"\r\n>>> "))
            return super().write(data)

    port = Fresh([b"x\r\n" + PANICS[0][0] + b"\r\nMicroPython\r\n>>> "])
    read = Session(port).read_until(b"\x04", idle=5, deadline=5, of_program=True)
    assert (read.reason, port.written) == (Reason.PANIC, b"\r")
