"""Programs that prove that they arrived whole: the text around them, and the client with a board that is struck."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import BenchFault, FirmwareFailure, HarnessError
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.runtimes.micropython.verified import (
    EXECUTE,
    DamagedProgram,
    Style,
    of_compiling,
    of_execution,
    sum_collected,
    wrapped,
)
from harness.runtimes.program import Program, ask
from harness.runtimes.records import decode
from tests.suites.chip_on_a_queue import VirtualChip

STYLES = [Style(), Style(compiles=False), Style(False), Style(False, False)]
SOURCE = "print('héllo')\nx = '\\x04'\n'''a'''\n'b'"


def executed(*texts: bytes) -> tuple[str, dict[str, object]]:
    """What is printed by what ``texts`` leave to be executed, by the host's own Python; and the globals left."""
    names: dict[str, object] = {"__builtins__": __builtins__}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        for part in texts:
            exec(part, names)
        assert said.getvalue() == ""
        exec(EXECUTE, names)
    del names["__builtins__"]
    return said.getvalue(), names


@pytest.mark.parametrize("style", STYLES)
@given(source=st.text(st.characters(min_codepoint=1, exclude_categories=["Cs"])))
def test_any_text_arrives_as_it_is(style: Style, source: str) -> None:
    program = f"text = {source!r}\n# {' '.join(source.split())}".encode()
    assert executed(wrapped(program, style)) == ("", {"text": source})


@pytest.mark.parametrize("style", STYLES)
def test_the_output_is_that_of_the_program_alone_and_no_name_stays(style: Style) -> None:
    assert executed(wrapped(SOURCE.encode(), style)) == ("héllo\n", {"x": "\x04"})


@pytest.mark.parametrize("style", STYLES)
def test_a_board_with_little_input_sums_up_in_programs_that_it_can_hold(style: Style) -> None:
    programs = sum_collected(SOURCE.encode(), style)
    assert all(len(program) < 63 for program in programs)  # the micro:bit's input is 64 bytes, Ctrl-D among them
    assert executed(f"_hx=[{SOURCE.encode()!r}]".encode(), *programs) == ("héllo\n", {"x": "\x04"})
    with pytest.raises((TypeError, KeyError)):
        executed(f"_hx=[{SOURCE.encode() + b' '!r}]".encode(), *programs)


def flip(text: bytes, at: int, bit: int) -> bytes:
    return text[:at] + bytes([text[at] ^ 1 << bit]) + text[at + 1 :]


def lose(text: bytes, at: int, _: int) -> bytes:
    return text[:at] + text[at + 1 :]


def double(text: bytes, at: int, _: int) -> bytes:
    return text[: at + 1] + text[at:]


def swap(text: bytes, at: int, _: int) -> bytes:
    return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]


#: Its text is a program with any of its bytes lost, doubled or swapped, and with most of its bits flipped.
FRAGILE = b"n=400+11\nm=[n,27,3]\n#abc\nprint(n,m)\n"


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("damage", [flip, lose, double, swap])
@given(data=st.data())
def test_one_damaged_byte_anywhere_executes_nothing_or_what_was_meant(
    style: Style, damage: Callable[[bytes, int, int], bytes], data: st.DataObject
) -> None:
    text = wrapped(FRAGILE, style)
    at, bit = data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(0, 7))
    try:
        output, _ = executed(damage(text, at, bit))
    except Exception:
        return
    assert output == "411 [411, 27, 3]\n"


@pytest.mark.parametrize("damage", [flip, lose, double, swap])
def test_each_damage_to_the_text_of_a_program_is_found(damage: Callable[[bytes, int, int], bytes]) -> None:
    text = wrapped(FRAGILE, Style())
    begin = text.index(b"b'''") + 4
    for at in range(begin, begin + len(FRAGILE) - 1):
        for bit in range(8) if damage is flip else (0,):
            struck = damage(text, at, bit)
            if struck == text or (damage is flip and struck[at] in b"\r\0"):  # the host's own reading of those
                continue
            with pytest.raises(Exception):  # noqa: B017 - a syntax error of any kind, or nothing to execute
                executed(struck)


def test_the_proof_adds_few_bytes_to_a_program() -> None:
    source = b"x = 1\n" * 50
    assert len(wrapped(source, Style())) + len(EXECUTE) + 1 - len(source) <= 144


@pytest.mark.parametrize("style", STYLES)
@given(source=st.binary(min_size=8, max_size=8))
def test_what_proves_a_program_is_as_long_for_each_and_no_object_on_the_heap(style: Style, source: bytes) -> None:
    """Small ints of as many digits and bytes of bytecode (py/emitbc.c, py/smallint.h): another text, the same heap."""
    head = wrapped(source, style).partition(b"b'''")[0]
    assert len(head) == len(wrapped(b"another.", style).partition(b"b'''")[0])
    expected = int(re.findall(rb"==(\d+) and", head)[0])
    assert expected < 1 << 30
    assert (expected >= 1 << 27) == style.crc32
    assert style.crc32 or 1 << 13 <= expected < 1 << 20


def test_no_control_character_travels_inside_the_text() -> None:
    assert not re.search(rb"[\x01-\x05]", wrapped(b"x = '\x03\x04'", Style()))


TRACEBACK = b"Traceback (most recent call last):\r\n"
OURS = b'  File "<stdin>", line 1, in <module>\r\n'


def test_the_frames_around_a_program_are_not_in_its_errors() -> None:
    own = b'  File "<stdin>", line 7, in <module>\r\nValueError: x\r\n'
    assert of_execution(TRACEBACK + OURS + own) == TRACEBACK + own
    syntax = b'  File "<stdin>", line 3\r\nSyntaxError: invalid syntax\r\n'
    frames = b'  File "<stdin>", line 5, in <module>\r\n  File "<stdin>", line 2, in _hx\r\n'
    assert of_compiling(TRACEBACK + frames + syntax) == TRACEBACK + syntax
    at_its_top = OURS + b"SyntaxError: can't assign to literal\r\n"
    assert of_compiling(TRACEBACK + frames + at_its_top) == TRACEBACK + at_its_top
    interrupted = TRACEBACK + OURS + b"KeyboardInterrupt: \r\n"
    assert of_execution(interrupted) == interrupted
    assert of_execution(b"") == b""


def test_a_program_that_was_not_entered_is_not_an_error_of_the_firmware() -> None:
    with pytest.raises(DamagedProgram):
        of_execution(TRACEBACK + OURS + b"NameError: name 'axec' isn't defined\r\n")
    ours = OURS + b'  File "<stdin>", line 2, in _hx\r\n'
    for error in (
        ours + b"NameError: name 'compilf' isn't defined\r\n",
        ours + b"KeyboardInterrupt: \r\n",
        b'  File "<stdin>", line 2\r\nSyntaxError: invalid syntax\r\n',
    ):
        with pytest.raises(DamagedProgram):
            of_compiling(TRACEBACK + error)


# -- on a virtual chip, whose line strikes -------------------------------------------------------


class Striking:
    """A port that flips one bit of what is written, at a place from where it was armed."""

    def __init__(self, board: MicroPythonBoard) -> None:
        self._port, self._write = board.session.port, board.session.port.write
        self._left = -1
        self._bit = 0
        self._port.write = self  # type: ignore[method-assign]

    def arm(self, at: int, bit: int) -> None:
        self._left, self._bit = at, bit

    def __call__(self, data: bytes) -> int | None:
        if 0 <= self._left < len(data):
            struck = data[self._left] ^ 1 << self._bit
            data = data[: self._left] + bytes([struck]) + data[self._left + 1 :]
            self._left = -1
        elif self._left >= 0:
            self._left -= len(data)
        return self._write(data)


def test_no_figure_of_a_damaged_program_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each bit of a program's only number, and a bit here and there of all that goes to the board with it."""
    program = Program("figure", "agent.bytes('figure', 400)\nagent.done()")
    with VirtualChip() as chip:
        board = chip.client
        board.verify_programs(True)
        program.run(board)
        striking = Striking(board)
        text = wrapped(program.source.encode(), Style())
        at = text.index(b"400") + 3  # raw paste begins with three bytes
        places = [(at, bit) for bit in range(3)] + [(n * 13 % len(text), n % 8) for n in range(0, 40, 5)]
        for place, bit in places:
            striking.arm(place, bit)
            try:
                result = board.run(program.source, timeout=3.0)
            except HarnessError as problem:
                assert isinstance(problem, BenchFault | FirmwareFailure)
                program.run(board) if board.run("'agent' in globals()") else None
                continue
            with contextlib.suppress(BenchFault):
                assert decode(result.stdout).value("figure") == 400


def test_which_text_was_proved_is_not_in_what_a_fresh_vm_has() -> None:
    program = Program.load("heap_after_start")
    with VirtualChip() as chip:
        chip.client.verify_programs(True)
        used = []
        for drawn in range(300_000_000, 300_000_009):
            chip.client.soft_reset()
            used.append(program.run(chip.client, drawn=drawn).value("used"))
    assert len(set(used[1:])) == 1, used  # the first start follows a chip's, and the way of proving is found there


def test_a_vm_with_little_memory_gets_a_program_statement_by_statement() -> None:
    with VirtualChip() as chip:
        board = chip.client
        board.verify_programs(True)
        fill = "import gc\ngc.collect()\nkept = []\ntry:\n    while True: kept.append(bytearray(256))\n"
        board.run(fill + "except MemoryError: pass\nfor n in range(24): kept.pop()\n")
        program = "a = 0\n" + "a = a + 1\n" * 300 + "print(a)\n"
        assert board.run(program).stdout == b"300\r\n"
        assert any(b"_hx(b'''a = a + 1'''" in e.data for e in board.session.transcript.entries if e.kind == "sent")


def test_an_answer_comes_in_a_record() -> None:
    with VirtualChip() as chip:
        assert ask(chip.client, "m.x | 5", first="class m: x = 8") == "13"
        assert ask(chip.client, "'a|b %\\x02é'") == "a|b %\x02é"
