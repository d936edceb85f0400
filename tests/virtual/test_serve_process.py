"""A virtual board as a process: start, find again, stop, die."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import serial

from harness.errors import BenchFault, UsageError
from harness.link.ports import open_port
from harness.link.session import Session
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.virtual.bench import RunningBoard, VirtualSpec, running, start
from tests.running_boards import write_flash_file


def spec_in(folder: Path) -> VirtualSpec:
    return VirtualSpec("unit", "esp32", str(folder), app="echo", flash_size=1 << 20)


def wait_for_end(board: RunningBoard) -> int:
    assert board._child is not None
    return board._child.wait(5)


def test_it_starts_is_found_and_leaves_nothing_running(tmp_path: Path) -> None:
    board = start(spec_in(tmp_path))
    assert board.pty == str(tmp_path / "unit.tty")
    assert Path(board.pty).is_symlink()
    found = running(tmp_path)["unit"]
    assert (found.pid, found.url, found.pty) == (board.pid, board.url, board.pty)
    with serial.serial_for_url(board.url, baudrate=115200, timeout=5) as port:
        assert b"invalid header" in port.read_until(b"invalid header")
    board.stop()
    assert wait_for_end(board) == 0
    assert running(tmp_path) == {}
    assert not Path(board.pty).is_symlink()
    assert (tmp_path / "unit.log").read_text() == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    board = start(spec_in(tmp_path))
    os.kill(board.pid, number)
    assert wait_for_end(board) == 0
    assert not spec_in(tmp_path).info_file.exists()
    board.stop()


def test_a_running_board_is_used_again_and_not_stopped_by_who_found_it(tmp_path: Path) -> None:
    with start(spec_in(tmp_path)) as first:
        second = start(spec_in(tmp_path))
        assert (second.pid, second.url) == (first.pid, first.url)
        second.stop()
        assert running(tmp_path)["unit"].pid == first.pid


def test_after_a_kill_the_note_is_stale_and_the_flash_is_kept(tmp_path: Path) -> None:
    spec = spec_in(tmp_path)
    firmware = tmp_path / "a.bin"
    firmware.write_bytes(b"what was written" * 512)
    board = start(spec)
    tool = [sys.executable, "-m", "esptool", "--port", str(board.pty), "write-flash", "0x20000", str(firmware)]
    assert subprocess.run(tool, capture_output=True, timeout=60).returncode == 0
    os.kill(board.pid, signal.SIGKILL)
    wait_for_end(board)
    assert spec.info_file.exists()
    assert running(tmp_path) == {}
    assert not spec.info_file.exists()
    board.stop()
    with start(spec) as again:
        assert again.pid != board.pid
        assert spec.flash_file.read_bytes()[0x20000:][:8192] == firmware.read_bytes()


def test_it_ends_with_its_starter(tmp_path: Path) -> None:
    board = start(spec_in(tmp_path))
    assert board._child is not None
    assert board._child.stdin is not None
    board._child.stdin.close()
    assert wait_for_end(board) == 0
    assert running(tmp_path) == {}


def test_a_kept_board_outlives_its_starter(tmp_path: Path) -> None:
    board = start(replace(spec_in(tmp_path), keep=True))
    assert board._child is not None
    assert board._child.stdin is not None
    board._child.stdin.close()
    with serial.serial_for_url(board.url, timeout=5) as port:
        assert port.read(1)
    assert running(tmp_path)["unit"].pid == board.pid
    board.stop()


def test_a_taken_port_is_one_clear_fault(tmp_path: Path) -> None:
    with start(spec_in(tmp_path)) as board:
        taken = int(board.url.rsplit(":", 1)[1])
        with pytest.raises(BenchFault, match=rf"'unit' did not start: Address already in use.*{taken}"):
            start(replace(spec_in(tmp_path / "other"), port=taken))


def test_two_processes_never_share_one_flash(tmp_path: Path) -> None:
    spec = spec_in(tmp_path)
    with start(spec):
        command = [sys.executable, "-m", "harness.virtual.serve", json.dumps(asdict(spec))]
        second = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
        assert second.returncode == 1
        assert "another process serves the board 'unit'" in second.stderr
        assert running(tmp_path).keys() == {"unit"}


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', '{"id": "x", "pid": "no", "url": "u", "pty": null}'])
def test_a_damaged_note_is_removed(tmp_path: Path, content: str) -> None:
    note = tmp_path / "x.json"
    note.write_text(content)
    assert running(tmp_path) == {}
    assert not note.exists()


def test_each_board_has_an_address_of_its_own() -> None:
    macs = {VirtualSpec(f"b{i}", "esp32", "x").mac_bytes for i in range(50)}
    assert len(macs) == 50
    assert all(mac[0] & 3 == 2 for mac in macs)
    assert VirtualSpec("b", "esp32", "x", mac="02:00:00:00:00:7f").mac_bytes == b"\x02\0\0\0\0\x7f"


def test_wiring_that_the_chip_cannot_have_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unit: the esp32 has no pin 'PA5'"):
        start(replace(spec_in(tmp_path), loopback=((4, "PA5"),)))
    assert list(tmp_path.iterdir()) == []


def test_wiring_and_pace_of_the_spec_reach_the_chip(tmp_path: Path, firmware_files: dict[str, Path]) -> None:
    spec = replace(spec_in(tmp_path), app="wasm", flash_size=4 << 20, loopback=((18, 19),), pace="fast")
    write_flash_file(spec, 0x1000, firmware_files["esp32"].read_bytes())
    with start(spec) as board:
        runtime = MicroPythonBoard(Session(open_port(board.url)), boot_timeout=60)
        runtime.enter()
        looped = runtime.run(
            "from machine import Pin\nout, back = Pin(18, Pin.OUT), Pin(19, Pin.IN)\n"
            "for level in (1, 0, 1):\n out(level)\n print(back())"
        )
        assert looped.stdout.split() == [b"1", b"0", b"1"]
        hour = runtime.run("import time\nt = time.ticks_ms()\ntime.sleep(3600)\nprint(time.ticks_ms() - t)", timeout=20)
        assert int(hour.stdout) >= 3_600_000
        runtime.close()


def test_hands_cut_the_power_and_wake_a_sleeper(tmp_path: Path, firmware_files: dict[str, Path]) -> None:
    spec = replace(spec_in(tmp_path), app="wasm", flash_size=4 << 20)
    write_flash_file(spec, 0x1000, firmware_files["esp32"].read_bytes())
    with start(spec) as board, serial.serial_for_url(board.url, baudrate=115200, timeout=10) as port:
        board.power(on=False)
        port.reset_input_buffer()
        board.power(on=True)
        assert b"rst:0x1 (POWERON_RESET)" in port.read_until(b">>> ")
        port.write(b"\x05import machine, esp32\nesp32.wake_on_ext0(machine.Pin(4), 1)\nmachine.deepsleep()\n\x04")
        deadline = time.monotonic() + 10
        while not board.asleep:
            assert time.monotonic() < deadline
        board.lead(4, 1)
        assert b"rst:0x5 (DEEPSLEEP_RESET)" in port.read_until(b">>> ")
        assert not board.asleep


def test_orders_that_make_no_sense_are_refused_and_the_next_one_is_heard(tmp_path: Path) -> None:
    with start(spec_in(tmp_path)) as board:
        with pytest.raises(UsageError, match="no pin 99"):
            board.lead(99, 1)
        with pytest.raises(UsageError, match="no button"):
            board.press(down=True)
        for line in (b"\n", b"[]\n", b'{"do": "power", "un": 1}\n', b"x" * 2000):
            with socket.create_connection(("127.0.0.1", board._control), 5) as connection:
                connection.sendall(line)
                assert json.loads(connection.makefile().readline())["error"].startswith("not an order")
        board.power(on=False)
    with pytest.raises(BenchFault, match="does not take the order"):
        board.power(on=True)
