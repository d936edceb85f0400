"""The REPL of the virtual firmware against byte strings that upstream firmware sends."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.virtual.board_repl import RAW_BANNER, Repl, SoftReset, incomplete

BANNER = b"MicroPython v1; board\r\n"


class Wire:
    """A terminal with a script of input; running out of input ends the conversation."""

    def __init__(self, typed: bytes) -> None:
        self.typed = iter(typed)
        self.sent = bytearray()

    def getc(self) -> int:
        try:
            return next(self.typed)
        except StopIteration:
            raise EOFError from None

    def send(self, data: bytes) -> None:
        self.sent += data


def talk(typed: bytes, *, raw: bool = False) -> tuple[list[bytes], bytes]:
    """The programs that were handed out (each of which printed nothing), and what was sent."""
    wire = Wire(typed)
    repl = Repl(wire, BANNER, raw=raw)
    programs = []
    try:
        while True:
            programs.append(repl.next_program())
            repl.finished(b"")
    except EOFError:
        return programs, bytes(wire.sent)


def test_entering_and_leaving_raw_mode() -> None:
    programs, sent = talk(b"\x01\x02")
    assert programs == []
    assert sent == BANNER + b">>> \r\n" + RAW_BANNER + b">" + b"\r\n" + BANNER + b">>> "


def test_raw_mode_frames_a_program() -> None:
    programs, sent = talk(b"print(1)\x04", raw=True)
    assert programs == [b"print(1)"]
    assert sent == RAW_BANNER + b">OK\x04\x04>"


def test_ctrl_c_in_raw_mode_forgets_the_line() -> None:
    assert talk(b"garbage\x03x=1\x04", raw=True)[0] == [b"x=1"]


def test_ctrl_d_on_an_empty_line_is_a_soft_reset_and_raw_mode_stays() -> None:
    wire = Wire(b"\x04")
    repl = Repl(wire, BANNER, raw=True)
    with pytest.raises(SoftReset):
        repl.next_program()
    assert bytes(wire.sent) == RAW_BANNER + b">OK\r\n"
    repl.restart()
    assert repl.raw


def test_raw_paste_opens_with_its_window_and_acknowledges_each_128_bytes() -> None:
    source = b"#" * 307
    programs, sent = talk(b"\x05A\x01" + source + b"\x04", raw=True)
    assert programs == [source]
    assert sent == RAW_BANNER + b">" + b"R\x01\x80\x00\x01" + b"\x01\x01" + b"\x04" + b"\x04\x04" + b">"


def test_an_unknown_paste_command_is_refused_and_raw_mode_goes_on() -> None:
    programs, sent = talk(b"\x05B\x01x\x04", raw=True)
    assert programs == [b"x"]
    assert sent.startswith(RAW_BANNER + b">R\x00>OK")


def test_ctrl_c_in_raw_paste_ends_it_with_an_interrupt() -> None:
    assert talk(b"\x05A\x01while\x03", raw=True)[0] == [b"raise KeyboardInterrupt"]


def test_a_traceback_stands_between_the_two_marks() -> None:
    wire = Wire(b"x\x04")
    repl = Repl(wire, BANNER, raw=True)
    repl.next_program()
    repl.finished(b"Traceback\r\n")
    assert bytes(wire.sent).endswith(b"OK\x04Traceback\r\n\x04")


@given(st.binary(max_size=600), st.booleans())
def test_no_input_breaks_it(typed: bytes, raw: bool) -> None:
    with contextlib.suppress(SoftReset):
        talk(typed, raw=raw)


@given(st.binary(max_size=600).map(lambda b: bytes(c for c in b if c not in (3, 4))))
def test_raw_paste_carries_any_source(source: bytes) -> None:
    assert talk(b"\x05A\x01" + source + b"\x04", raw=True)[0] == [source]


@pytest.mark.parametrize(
    ("source", "more"),
    [
        (b"x = 1", False),
        (b"for i in x:", True),
        (b"for i in x:\n  pass", True),
        (b"for i in x:\n  pass\n", False),
        (b"f(1,", True),
        (b"f('(')", False),
        (b"'''open", True),
        (b"x = 1 \\", True),
        (b"@property", True),
        (b"format(1)", False),
    ],
)
def test_when_the_prompt_asks_for_more(source: bytes, more: bool) -> None:
    assert incomplete(source) is more
