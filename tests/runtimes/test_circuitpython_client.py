"""The CircuitPython client against a board scripted from CircuitPython's ``main.c``, not from the virtual one."""

from __future__ import annotations

import binascii
import re
import threading
from collections.abc import Callable, Iterator

import pytest

from harness.errors import BenchFault, FirmwareFailure
from harness.link.ports import open_port
from harness.link.session import Session
from harness.runtimes.circuitpython.circuitpython_board import CircuitPythonBoard, safe_mode_text
from harness.runtimes.interface import LAST_RECORD
from tests.runtimes.scripted_repl import GURU, ROM, ScriptedBoard

TITLE = "\x1b]0;🐍BLE:Off | Done | 9.2.8\x1b\\".encode()
BANNER = b"\r\nAdafruit CircuitPython 9.2.8 on 2025-05-28; Adafruit Feather ESP32 V2 with ESP32\r\n>>> "
STATUS = b"\r\nAuto-reload is on. Simply save files over USB to run them or enter REPL to disable.\r\n"
WAIT = b"\r\nPress any key to enter the REPL. Use CTRL-D to reload.\r\n"
DONE = b"\r\nCode done running.\r\n"
RECORD = b"\x020" + LAST_RECORD + b"00000000\x03\r\n"
HARD_FAULT = (
    b"\r\nAuto-reload is off.\r\nRunning in safe mode! Not running saved code.\r\n\r\nYou are in safe mode because:\r\n"
    b"CircuitPython core code crashed hard. Whoops!\r\nHard fault: memory access or instruction error.\r\n"
    b"Please file an issue with your program at github.com/adafruit/circuitpython/issues.\r\n"
    b"Press reset to exit safe mode.\r\n"
)


class ScriptedCircuitPython(ScriptedBoard):
    """Waits for a key after code; ``code`` are what the code files say, one run each, ``safe`` its safe mode."""

    def __init__(self, *, code: tuple[bytes, ...] = (), safe: str = "NONE", read_only: bool = False) -> None:
        self.code, self.safe, self.read_only = list(code), safe, read_only
        self.reset_wanted = False
        self.powered = threading.Event()  # what is said before the port is open, nobody hears
        super().__init__()

    def _run(self) -> None:
        self.powered.wait(5)
        try:
            self.say(TITLE + (HARD_FAULT if self.safe != "NONE" else STATUS + b"code.py output:\r\nHello\r\n" + DONE))
            self._wait()
            while True:
                if self.raw:
                    self._raw_mode()
                else:
                    self._friendly_mode()
        except (EOFError, OSError):
            pass

    def _wait(self) -> None:
        self.say(WAIT)
        if self._getc() == 4:
            self._run_code()
        else:
            self.say(TITLE + BANNER)

    def _friendly_mode(self) -> None:
        while True:
            char = self._getc()
            if char == 1:
                self.raw = True
                self.say(b"\r\nraw REPL; CTRL-B to exit\r\n>")
                return
            if char == 4:
                self.say(b"\r\n")
                self._run_code()
            elif char in (3, 13):
                self.say(b"\r\n>>> ")

    def _run_code(self) -> None:
        self.say(b"soft reboot\r\n" + STATUS)
        text = self.code.pop(0) if self.code else b"code.py output:\r\nHello\r\n" + DONE
        self.say(text)
        if text.endswith((DONE, b"soon.\r\n")):
            self._wait()
        elif text.endswith(WAIT):  # it has fallen asleep, and wakes
            self.say(ROM + STATUS + b"code.py output:\r\nwoke\r\n" + DONE)
            self._wait()
        elif text.endswith(b"READY\r\n"):
            assert self._getc() == 3
            self.say(b"Traceback (most recent call last):\r\nKeyboardInterrupt: \r\n" + DONE)
            self._wait()

    def _restart(self) -> bool:
        self.say(b"\r\nsoft reboot\r\nraw REPL; CTRL-B to exit\r\n>")
        return False

    def _execute(self, source: bytes) -> None:
        if b"safe_mode_reason" in source:
            self.programs.append(source)
            self.say(self.safe.encode() + b"\r\n\x04\x04>")
        elif b"microcontroller.reset()" in source:
            self.safe, self.raw, self.reset_wanted = "NONE", False, True
            self.say(ROM + STATUS)
            self._wait()
        elif b"def _r(" in source and self.read_only:
            self.say(b"\x04Traceback (most recent call last):\r\nOSError: [Errno 30] Read-only filesystem\r\n\x04>")
        elif b"def _r(" in source:
            self.say(b"\x04AttributeError: 'module' object has no attribute 'kbd_intr'\r\n\x04>")
        elif b"def _c(" in source:
            self.say(self._checksum() + b"\r\n\x04\x04>")
        else:
            super()._execute(source)

    def _checksum(self) -> bytes:
        """What the file holds whose hexadecimal text came last."""
        found = [re.search(rb"unhexlify\(b'([0-9a-f]*)'\)", program) for program in self.programs]
        data = b"".join(binascii.unhexlify(match[1]) for match in found if match)
        self.programs = [program for program in self.programs if b"unhexlify" not in program]
        return b"%d %08x" % (len(data), binascii.crc32(data))


Talk = Callable[..., tuple[ScriptedCircuitPython, CircuitPythonBoard]]


@pytest.fixture
def talk() -> Iterator[Talk]:
    made: list[tuple[ScriptedCircuitPython, CircuitPythonBoard]] = []

    def make(**options: object) -> tuple[ScriptedCircuitPython, CircuitPythonBoard]:
        scripted = ScriptedCircuitPython(**options)  # type: ignore[arg-type]
        session = Session(open_port(scripted.path))
        scripted.powered.set()
        made.append((scripted, CircuitPythonBoard(session, boot_timeout=4.0)))
        return made[-1]

    yield make
    for scripted, board in made:
        board.close()
        scripted.close()


def test_the_repl_is_entered_from_the_wait_and_auto_reload_turned_off(talk: Talk) -> None:
    scripted, board = talk()
    board.enter()
    assert any(b"autoreload = False" in program for program in scripted.programs)
    assert board.run("print(6*7)").stdout == b"42\r\n"


def test_a_soft_reset_stays_in_the_raw_repl(talk: Talk) -> None:
    scripted, board = talk()
    board.soft_reset()
    assert scripted.raw
    assert board.run("print(6*7)").stdout == b"42\r\n"


def test_a_code_file_is_chosen_started_and_read_to_its_end(talk: Talk) -> None:
    scripted, board = talk(code=(b"hx_files/hx_code.py output:\r\nmine\r\n" + DONE,))
    assert board.run_code("print('mine')") == (b"mine\r\n",)
    assert any(b"set_next_code_file('hx_files/hx_code.py')" in program for program in scripted.programs)
    assert board.reload_while_waiting() == (b"Hello\r\n",)
    assert board.run("print(6*7)").stdout == b"42\r\n"


def test_a_reload_by_the_program_gives_the_outputs_of_both_runs(talk: Talk) -> None:
    first = b"hx_files/hx_code.py output:\r\none\r\n" + DONE + b"soft reboot\r\n" + STATUS
    _, board = talk(code=(first + b"code.py output:\r\ntwo\r\n" + DONE,))
    assert board.run_code("import supervisor; supervisor.reload()") == (b"one\r\n", b"two\r\n")


def test_ctrl_c_ends_a_code_file(talk: Talk) -> None:
    _, board = talk(code=(b"hx_files/hx_code.py output:\r\nREADY\r\n",))
    assert b"KeyboardInterrupt" in board.run_code("while True: pass", interrupt_at=b"READY\r\n")[0]


def test_a_safe_mode_by_a_dip_of_the_supply_is_the_benchs(talk: Talk) -> None:
    scripted, board = talk(safe="BROWNOUT")
    with pytest.raises(BenchFault, match="BROWNOUT"):
        board.enter(after_reset=True)
    assert scripted.reset_wanted


def test_auto_reload_during_a_program_is_the_benchs_fault(talk: Talk) -> None:
    stopped = b"hx_files/hx_code.py output:\r\nhalf\r\n\r\nCode stopped by auto-reload. Reloading soon.\r\n"
    _, board = talk(code=(stopped,))
    with pytest.raises(BenchFault, match="auto-reload"):
        board.run_code("print('whole')")


def test_safe_mode_is_a_failure_with_its_reason_and_ends_with_a_reset(talk: Talk) -> None:
    scripted, board = talk(safe="HARD_FAULT")
    with pytest.raises(FirmwareFailure, match=r"HARD_FAULT.*Hard fault: memory access"):
        board.enter(after_reset=True)
    assert scripted.reset_wanted
    assert board.run("print(6*7)").stdout == b"42\r\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (HARD_FAULT, "CircuitPython core code crashed hard. Whoops! Hard fault: memory access or instruction error."),
        (b"\r\nYou are in safe mode because:\r\nPower dipped.\r\nPress reset to exit safe mode.\r\n", "Power dipped."),
        (b"You are in safe mode because:\r\n", ""),
        (STATUS + GURU, ""),
    ],
)
def test_the_safe_modes_reason_is_one_line(text: bytes, reason: str) -> None:
    assert safe_mode_text(text) == reason


def test_a_read_only_filesystem_is_explained(talk: Talk) -> None:
    _, board = talk(read_only=True)
    with pytest.raises(BenchFault, match=r"read-only.*\n.*CIRCUITPY"):
        board.put("x.bin", b"data")


def test_a_sleep_ends_with_the_next_start_and_its_text_is_kept(talk: Talk) -> None:
    _, board = talk(code=(b"hx_files/hx_code.py output:\r\n" + RECORD + DONE + WAIT,))
    restart = board.run_to_reset("sleep")
    assert restart.stdout == RECORD
    assert b"woke" in restart.boot
    assert board.run("print(6*7)").stdout == b"42\r\n"


def test_a_program_that_ends_by_an_error_did_not_sleep(talk: Talk) -> None:
    error = b"Traceback (most recent call last):\r\nValueError: alarm\r\n"
    _, board = talk(code=(b"hx_files/hx_code.py output:\r\n" + RECORD + error + DONE,))
    with pytest.raises(FirmwareFailure, match="ValueError: alarm"):
        board.run_to_reset("sleep")


def test_a_restart_of_the_vm_is_no_reset_of_the_chip(talk: Talk) -> None:
    text = (
        b"hx_files/hx_code.py output:\r\n" + RECORD + DONE + b"soft reboot\r\n" + STATUS + b"code.py output:\r\n" + DONE
    )
    _, board = talk(code=(text,))
    with pytest.raises(FirmwareFailure, match="restarted the VM"):
        board.run_to_reset("reload")
