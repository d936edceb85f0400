"""The virtual Feather: CircuitPython's texts on the wire, its lives, safe mode, and what outlives what."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.errors import BenchFault, FirmwareFailure, UsageError
from harness.formats.virtual_image import flash_offset
from harness.link.ports import open_port
from harness.link.session import Session
from harness.power.reset import HardReset
from harness.runtimes.circuitpython.circuitpython_board import CircuitPythonBoard
from harness.runtimes.interface import LAST_RECORD, BoardRuntime
from harness.virtual.application import application_module
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware
from tests.running_boards import tool, write_flash_file

DONE = b"\r\nCode done running.\r\n"
WAIT = b"\r\nPress any key to enter the REPL. Use CTRL-D to reload.\r\n"
STATUS = b"\r\nAuto-reload is off.\r\n"  # the client has turned it off
#: Ends the program's part of a run_to_reset.
RECORD = f"print('\\x020{LAST_RECORD.decode()}00000000\\x03')\n"


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBoard]:
    spec = VirtualSpec("tfeather", "esp32", str(tmp_path_factory.mktemp("feather")), pace="fast")
    write_flash_file(spec, flash_offset("esp32"), build_firmware("esp32", runtime="circuitpython"))
    with start(spec) as board:
        yield board


@pytest.fixture
def board(machine: RunningBoard) -> Iterator[CircuitPythonBoard]:
    """A client of the board just after a reset, with the code.py of a new filesystem."""
    port = open_port(machine.url)
    made = CircuitPythonBoard(Session(port), reset=lambda: HardReset()(port))
    made.hard_reset()
    made.put("code.py", b'print("Hello World!")\n')
    yield made
    made.close()


def _typed(board: CircuitPythonBoard, keys: bytes, until: bytes) -> bytes:
    """What the board says to ``keys``, typed at its friendly prompt or in its wait."""
    board.session.write(keys)
    read = board.session.read_until(until, idle=3.0, deadline=5.0)
    assert read.ok, read.data
    return read.data


def _friendly(board: CircuitPythonBoard) -> None:
    board.enter()
    _typed(board, b"\x02", b">>> ")


def _to_wait(board: CircuitPythonBoard) -> bytes:
    _friendly(board)
    return _typed(board, b"\x04", WAIT)


def test_firmware_is_told_by_its_end_and_by_nothing_else() -> None:
    assert application_module(b"\0asm\1\0\0\0" + b"harness.circuitpython") == "harness.virtual.circuitpython_board"
    assert application_module(b"\0asm\1\0\0\0harness.circuitpython\0") == "harness.virtual.cpu"
    with pytest.raises(ValueError, match="no code"):
        application_module(b"harness.circuitpython")


def test_there_is_no_such_firmware_for_another_chip_and_no_defect_of_another_runtime() -> None:
    with pytest.raises(UsageError, match="circuitpython for the esp8266"):
        build_firmware("esp8266", runtime="circuitpython")
    with pytest.raises(UsageError, match="leak64"):
        build_firmware("esp32", runtime="circuitpython", variant="leak64")
    with pytest.raises(UsageError, match="cp_leak64"):
        build_firmware("esp32", variant="cp_leak64")


def test_it_is_a_board_that_says_circuitpython(board: CircuitPythonBoard) -> None:
    assert isinstance(board, BoardRuntime)
    assert board.facts.name == "circuitpython"
    assert board.run("import machine").stderr.endswith(b"ImportError: no module named 'machine'\r\n")


def test_ctrl_d_at_the_prompt_reloads_and_the_board_waits(board: CircuitPythonBoard) -> None:
    said = _to_wait(board)
    assert said == b"\r\nsoft reboot\r\n" + STATUS + b"code.py output:\r\nHello World!\r\n" + DONE + WAIT


def test_in_the_wait_ctrl_d_reloads_and_any_other_key_enters_the_repl(board: CircuitPythonBoard) -> None:
    _to_wait(board)
    assert _typed(board, b"\x04", WAIT).startswith(b"soft reboot\r\n" + STATUS)
    banner = _typed(board, b"x", b">>> ")
    assert banner.startswith(b"\r\nAdafruit CircuitPython ") and b"; virtual Feather ESP32 with ESP32\r\n" in banner
    assert b"help()" not in banner
    assert _typed(board, b"1+1\r", b">>> ") == b"1+1\r\n2\r\n>>> "


def test_an_error_in_code_is_told_without_the_ports_frames(board: CircuitPythonBoard) -> None:
    (said,) = board.run_code("def f():\n    1/0\nf()\n")
    assert said.splitlines() == [
        b"Traceback (most recent call last):",
        b'  File "hx_files/hx_code.py", line 3, in <module>',
        b'  File "hx_files/hx_code.py", line 2, in f',
        b"ZeroDivisionError: divide by zero",
    ]


def test_each_run_and_each_repl_has_a_vm_of_its_own(board: CircuitPythonBoard) -> None:
    board.run("x = 1")
    assert b"NameError" in board.run_code("print(x)")[0]
    assert b"NameError" in board.run("print(x)").stderr
    board.run("x = 1")
    board.soft_reset()
    assert b"NameError" in board.run("print(x)").stderr


def test_reload_in_the_raw_repl_runs_no_code(board: CircuitPythonBoard) -> None:
    board.restart_by("import supervisor\nx = 1\nsupervisor.reload()")
    assert b"NameError" in board.run("print(x)").stderr
    with pytest.raises(FirmwareFailure, match="did not restart"):
        board.restart_by("x = 1")


def test_a_code_file_without_end_is_reached_by_ctrl_c(board: CircuitPythonBoard) -> None:
    board.put("code.py", b"print('READY')\nwhile True:\n    pass\n")
    board.hard_reset()
    assert board.run("print(6*7)").stdout == b"42\r\n"
    assert board.run_code("print('READY')\nwhile True: pass", interrupt_at=b"READY\r\n")[0].endswith(
        b"KeyboardInterrupt: \r\n"
    )


def test_a_program_that_does_not_end_is_stopped_and_named(board: CircuitPythonBoard) -> None:
    with pytest.raises(FirmwareFailure, match="did not end within 0.5 s"):
        board.run_code("while True: pass", timeout=0.5)
    assert board.run("print(6*7)").stdout == b"42\r\n"


def test_a_crash_leads_to_safe_mode_that_runs_no_code_and_ends_with_a_reset(board: CircuitPythonBoard) -> None:
    with pytest.raises(FirmwareFailure, match="crashed"):
        board.run("import uctypes\nuctypes.bytearray_at(0x7FFFFFF0, 4)[0] = 1")
    with pytest.raises(FirmwareFailure, match="HARD_FAULT"):
        board.run("print(1)")
    reason = "import supervisor\nprint(supervisor.runtime.safe_mode_reason)"
    assert board.run(reason).stdout == b"supervisor.SafeModeReason.NONE\r\n"


def test_a_deep_sleep_is_no_sooner_than_five_seconds_after_a_start(board: CircuitPythonBoard) -> None:
    """The real-time clock stands at 2000-01-01 after a pulse at EN, and goes on through the sleep."""
    look = "import alarm, time, microcontroller as m\n"
    look += "print(m.cpu.reset_reason, alarm.wake_alarm is None, time.time())\n"
    sleep = "alarm.exit_and_deep_sleep_until_alarms(alarm.time.TimeAlarm(monotonic_time=time.monotonic() + 0.5))"
    board.put("code.py", look.encode())
    boot = board.run_to_reset(look + RECORD + sleep).boot
    assert b"rst:0x5 (DEEPSLEEP_RESET)" in boot
    (woke,) = [line.split() for line in boot.splitlines() if b"ResetReason" in line]
    assert woke[:2] == [b"microcontroller.ResetReason.DEEP_SLEEP_ALARM", b"False"]
    assert 5 <= int(woke[2]) - 946_684_800 <= 8
    boot = board.run_to_reset(RECORD + "import microcontroller as m\nm.reset()").boot
    assert b"ResetReason.SOFTWARE True " in boot


def test_a_key_before_the_sleep_begins_leads_to_the_repl(tmp_path: Path, machine: RunningBoard) -> None:
    spec = VirtualSpec("tslow", "esp32", str(tmp_path))
    write_flash_file(spec, flash_offset("esp32"), build_firmware("esp32", runtime="circuitpython"))
    with start(spec) as awake:
        board = CircuitPythonBoard(Session(open_port(awake.url)))
        code = "import alarm, time\nalarm.exit_and_deep_sleep_until_alarms(alarm.time.TimeAlarm(monotonic_time=100))"
        assert board.run_code(code) == (b"",)
        assert board.run("print(6*7)").stdout == b"42\r\n"  # it is within five seconds of its start
        board.close()


def test_files_may_be_read_only(board: CircuitPythonBoard) -> None:
    board.run("import storage\nstorage.remount('/', readonly=True)")
    with pytest.raises(BenchFault, match="read-only"):
        board.put("x.bin", b"1")
    assert board.run("import storage\nprint(storage.getmount('/').readonly)").stdout == b"True\r\n"
    board.run("import storage\nstorage.remount('/', readonly=False)")
    board.put("x.bin", b"1")
    assert board.get("x.bin") == b"1"


def test_a_file_written_at_the_repl_starts_no_auto_reload(board: CircuitPythonBoard) -> None:
    said = board.run_code("import time\nwith open('n.txt', 'w') as f: f.write('x')\ntime.sleep(1.5)\nprint('whole')")
    assert said == (b"whole\r\n",)


def test_nvm_outlives_resets_and_power(board: CircuitPythonBoard, machine: RunningBoard) -> None:
    board.run("import microcontroller as m\nm.nvm[10:14] = b'abcd'\nm.nvm[-1] = 7")
    machine.power(on=False)
    machine.power(on=True)
    board.enter(after_reset=True)
    said = board.run("import microcontroller as m\nprint(bytes(m.nvm[9:15]), m.nvm[-1], len(m.nvm))").stdout
    assert said == b"b'\\xffabcd\\xff' 7 8192\r\n"
    board.run("m.nvm[10:14] = b'\\xff' * 4\nm.nvm[-1] = 255")


def test_the_unmodified_mpremote_executes_runs_and_copies(board: CircuitPythonBoard, machine: RunningBoard) -> None:
    assert machine.pty
    board.session.write(b"\x02")

    def mpremote(*arguments: str) -> str:
        return tool("mpremote", "connect", machine.pty or "", *arguments).stdout

    assert mpremote("exec", "import supervisor; print(supervisor.runtime.run_reason)").startswith("supervisor.Run")
    assert "code.py" in mpremote("fs", "ls")
    assert mpremote("fs", "cat", ":code.py") == 'print("Hello World!")\n'
