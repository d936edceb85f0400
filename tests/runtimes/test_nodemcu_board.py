"""The NodeMCU client: what it sends, what it makes of every way a board can answer, and that uploads are exact."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.link.session import Session
from harness.reference.nodemcu.lua_reference import LuaReference
from harness.runtimes.nodemcu.nodemcu_board import NodeMcuBoard
from harness.runtimes.nodemcu.nodemcu_lines import HELPERS, LINE_LIMIT, base64_blocks, text_blocks


class Line:
    """A port whose other end is ``answer``: called with each line sent, without its end; returns what comes back."""

    def __init__(self, answer: Callable[[bytes], bytes], first: bytes = b"") -> None:
        self.timeout: float | None = None
        self._answer = answer
        self._out = bytearray(first)
        self._typed = bytearray()

    @property
    def in_waiting(self) -> int:
        return len(self._out)

    def read(self, size: int = 1) -> bytes:
        data = bytes(self._out[:size])
        del self._out[:size]
        return data

    def write(self, data: bytes) -> int:
        for byte in data:
            if byte == 0x0D:
                line, self._typed = bytes(self._typed), bytearray()
                self._out += line + b"\r\n" + self._answer(line)
            else:
                self._typed.append(byte)
        return len(data)

    def close(self) -> None: ...


def product(line: bytes) -> bytes | None:
    """The answer to the client's question, None for another line."""
    if not line.startswith(b"print(") or b"*" not in line:
        return None
    a, b = line[6:-1].split(b"*")
    return b"%d\r\n> " % (int(a) * int(b))


def board(answer: Callable[[bytes], bytes], first: bytes = b"") -> NodeMcuBoard:
    return NodeMcuBoard(Session(Line(answer, first)), boot_timeout=2.0)


@pytest.fixture(scope="module")
def vm() -> LuaReference:
    made = LuaReference()
    _ = made.facts
    return made


@given(st.binary(max_size=600))
@settings(max_examples=25, deadline=None)
@example(b"FATAL: uncaught exception 28 rst:0x1 (POWERON_RESET)")
@example(b'100% \\ "quoted"\r\n\0001')
def test_every_file_arrives_byte_for_byte(vm: LuaReference, data: bytes) -> None:
    vm.put("any.bin", data)
    assert vm.get("any.bin") == data


@given(st.binary(max_size=2000))
@settings(max_examples=150)
def test_no_line_is_longer_than_the_boards_buffer(data: bytes) -> None:
    for block in (*text_blocks(data), *base64_blocks(data)):
        line = (block % 99999).encode("ascii") + b"\r"
        assert len(line) <= LINE_LIMIT and all(0x20 <= byte < 0x7F for byte in line[:-1])


def test_the_helpers_fit_into_a_line() -> None:
    assert all(len(line) < LINE_LIMIT for line in HELPERS)


def test_garbage_and_an_unfinished_statement_do_not_keep_it_from_the_prompt() -> None:
    vm = LuaReference()
    vm.session.write(b"for i = 1, 3 do\rprint(")
    vm.enter()
    assert vm.run("print('there')").stdout == b"there\r\n"


def test_noise_and_a_late_prompt_are_waited_for() -> None:
    lines: list[bytes] = []

    def answer(line: bytes) -> bytes:
        lines.append(line)
        return b"Lua error: noise\r\n> " if len(lines) < 3 else product(line) or b"> "

    board(answer, b"\x00\xfe\x8e\xe0 garbage \xff\r\n\r\nNodeMCU 3.0.0\r\n> ").enter(after_reset=True)
    assert product(lines[-1])


def test_an_echo_alone_is_no_answer() -> None:
    with pytest.raises(BenchFault, match="no Lua prompt"):
        board(lambda line: b"").enter()


def test_another_language_is_no_lua_prompt() -> None:
    with pytest.raises(BenchFault, match="no Lua prompt"):
        board(lambda line: b"NameError: name isn't defined\r\n>>> ").enter()


class Scripted:
    """A board that takes the helpers and files on trust, and answers the program's start with ``output``."""

    def __init__(self, output: bytes) -> None:
        self._output = output
        self._sum = b""

    def __call__(self, line: bytes) -> bytes:
        if line == b"_hxr()":
            return b"\x04hx>\r\n" + self._output
        if line.startswith(b"_hxo("):
            self._size, self._a, self._b = 0, 1, 0
            return b"\x06open.\r\n> "
        if line.startswith(b"_hxw("):
            number, _, text = line[5:-1].partition(b",")
            for byte in _unquoted(text):
                self._a = (self._a + byte) % 65521
                self._b = (self._b + self._a) % 65521
                self._size += 1
            return b"\x06" + number + b".\r\n> "
        if line.startswith(b"print(_hxa"):
            return b"\x06%d:%d:%d.\r\n> " % (self._size, self._a, self._b)
        return product(line) or b"> "


def _unquoted(text: bytes) -> bytes:
    """Of a quoted Lua string as the client writes it."""
    import re

    names = {b"n": b"\n", b"r": b"\r", b'"': b'"', b"\\": b"\\"}
    return re.sub(
        rb"\\(\d{1,3}|.)", lambda m: bytes([int(m[1])]) if m[1].isdigit() else names[m[1]], text.strip()[1:-1]
    )


FACTS = b"\x02%s|%s|%s|40000|65536|0|file,node|release|\x03\r\n\x04hx<0:\x04hx.\r\n> "


@pytest.mark.parametrize(
    ("language", "numbers"), [("5.1", "float"), ("5.1", "integer"), ("5.3", "float"), ("5.3", "integer")]
)
def test_language_and_numbers_of_the_firmware_are_recognised(language: str, numbers: str) -> None:
    record = FACTS.replace(b"release|", b"release") % (b"3.0.0", b"Lua " + language.encode(), numbers.encode())
    facts = board(Scripted(record)).facts
    assert (facts.name, facts.extra["lua"], facts.extra["numbers"], facts.extra["lfs"]) == (
        "nodemcu", language, numbers, "65536",
    )  # fmt: skip
    assert facts.heap_total == 40000 and facts.word_size == 4


def test_a_board_that_is_not_understood_is_a_fault_of_the_bench() -> None:
    with pytest.raises(BenchFault, match="did not say what it is"):
        _ = board(Scripted(b"what?\r\n\x04hx<0:\x04hx.\r\n> ")).facts


def test_a_damaged_upload_is_seen() -> None:
    class Damaging(Scripted):
        def __call__(self, line: bytes) -> bytes:
            return super().__call__(line.replace(b"good", b"goof") if line.startswith(b"_hxw(") else line)

    with pytest.raises(BenchFault, match="length and Adler-32"):
        board(Damaging(b"")).put("x.lua", b"print('good')")


def test_a_refused_block_is_seen() -> None:
    class Full(Scripted):
        def __call__(self, line: bytes) -> bytes:
            return b"\x15\r\n> " if line.startswith(b"_hxw(") else super().__call__(line)

    with pytest.raises(BenchFault, match="expected an answer"):
        board(Full(b"")).put("x.lua", b"print('good')")


def test_a_panic_during_a_program_is_the_firmwares_failure() -> None:
    text = b"out\r\nPANIC: unprotected error in call to Lua API (not enough memory)\r\n"
    with pytest.raises(FirmwareFailure, match="PANIC: unprotected error"):
        board(Scripted(text)).run("x()")


def test_a_fatal_exception_is_the_firmwares_failure() -> None:
    text = b"Fatal exception 29(StoreProhibitedCause):\r\nepc1=0x40001800, epc2=0x00000000\r\n"
    with pytest.raises(FirmwareFailure, match="Fatal exception 29"):
        board(Scripted(text)).run("x()")


def test_a_restart_nobody_asked_for_is_the_firmwares_failure() -> None:
    with pytest.raises(FirmwareFailure, match="restarted by itself"):
        board(Scripted(b"out\r\n\x00\xff\r\n\r\nNodeMCU 3.0.0 build\r\n> ")).run("x()")


def test_error_and_traceback_are_apart_from_the_output(vm: LuaReference) -> None:
    result = vm.run("print('before') local function f() error('on purpose') end f()")
    assert result.stdout == b"before\r\n"
    assert (
        result.stderr.startswith(b"hx_run.lua:1: on purpose\r\nstack traceback:")
        and b"in function 'f'" in result.stderr
    )
    assert b"near" in vm.run("x x").stderr


def test_a_program_that_goes_on_in_callbacks_ends_when_it_says_so(vm: LuaReference) -> None:
    source = "_hxwait = true local n = 0 tmr.create():alarm(50, 1, function(t) n = n + 1 print(n) "
    result = vm.run(source + "if n == 3 then t:unregister() _hxe('said so') end end)")
    assert result.stdout.replace(b"> ", b"").split() == [b"1", b"2", b"3"] and result.stderr == b"said so"


def test_a_program_that_does_not_end_is_reset(vm: LuaReference) -> None:
    with pytest.raises(FirmwareFailure, match="did not end within 2 s"):
        vm.run("_hxwait = true print('waiting')", timeout=2)
    assert vm.run("print(node.bootreason())").stdout == b"2\t6\r\n"


def test_there_is_no_control_c(vm: LuaReference) -> None:
    with pytest.raises(UsageError, match="no Ctrl-C"):
        vm.run("print(1)", interrupt_at=b"1")


def test_a_program_that_should_reset_and_does_not_is_a_failure(vm: LuaReference) -> None:
    with pytest.raises(FirmwareFailure, match="did not reset the chip: it ended"):
        vm.run_to_reset("print('\\2|end|-|-|\\3')")
    with pytest.raises(FirmwareFailure, match="did not reset the chip: .*broken"):
        vm.restart_by("error('broken')")


@pytest.mark.parametrize("name", ["", "a" * 32, "ä.lua", 'x".lua', "a b"])
def test_a_name_that_the_filesystem_does_not_take_is_the_users(vm: LuaReference, name: str) -> None:
    with pytest.raises(UsageError, match="no file name"):
        vm.put(name, b"x")


def test_a_missing_file_is_said(vm: LuaReference) -> None:
    with pytest.raises(BenchFault, match="no such file"):
        vm.get("none.txt")
