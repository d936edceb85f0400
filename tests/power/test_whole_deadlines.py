"""A deadline is for all that is asked: neither a device that answers bit by bit nor a program's children extend it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial

from harness.children import OUTPUT_LIMIT, run_child
from harness.errors import BenchFault
from harness.link import rfc2217
from harness.power.http_relay import HttpRelay
from harness.power.run_command import run_command


@contextmanager
def dripping(first: bytes) -> Iterator[int]:
    """A server that says ``first`` and then a byte every twentieth of a second, for ever."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)

        def serve() -> None:
            try:
                client, _ = server.accept()
                with client:
                    client.sendall(first)
                    while not over.wait(0.05):
                        client.sendall(b"x")
            except OSError:
                pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join(5)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n"])
def test_a_relay_that_answers_byte_by_byte_is_given_up(first: bytes) -> None:
    with dripping(first) as port:
        started = time.monotonic()
        with pytest.raises(BenchFault, match=r"not within 0\.5 s"):
            HttpRelay("shelly2", f"http://127.0.0.1:{port}", 0, timeout=0.5).off()
        assert time.monotonic() - started < 3


def test_a_port_server_that_never_comes_to_an_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rfc2217, "_OPENING", 0.5)
    with dripping(b"") as port:
        started = time.monotonic()
        with pytest.raises(serial.SerialException, match="does not seem to support"):
            rfc2217.QuickRfc2217(f"rfc2217://127.0.0.1:{port}").close()
        assert time.monotonic() - started < 2.5


def test_what_a_program_leaves_running_does_not_hold_us_up() -> None:
    started = time.monotonic()
    assert run_command(["sh", "-c", "sleep 30 & echo switched"], what="power off", timeout=10) == "switched"
    assert time.monotonic() - started < 5


def test_a_program_that_takes_too_long_ends_with_its_children(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    with pytest.raises(BenchFault, match="did not end within"):
        run_command(["sh", "-c", f"sleep 60 & echo $! > {note}; wait"], what="power off", timeout=1)
    assert _gone(int(note.read_text()))


def test_of_a_program_that_prints_without_end_only_the_end_is_kept() -> None:
    text = "import os\nfor n in range(600): os.write(1, b'x' * 1000)\nos.write(1, b'last')"
    done = run_child([sys.executable, "-c", text], timeout=20)
    assert (done.code, len(done.output), done.output[-5:]) == (0, OUTPUT_LIMIT, b"xlast")


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
@pytest.mark.parametrize(
    "call",
    [
        "from harness.children import run_child; run_child(['sh', '-c', SAY], timeout=60)",
        "from harness.power.gpio_line import GpioSwitch; import os, time\n"
        "s = GpioSwitch('chip', 1, program=FAKE, settle=0.5); s.off(); time.sleep(60)",
    ],
)
def test_a_child_ends_when_we_are_killed(tmp_path: Path, call: str) -> None:
    note = tmp_path / "pid"
    say = f"echo $$ > {note}.new; mv {note}.new {note}; exec sleep 60"
    fake = tmp_path / "gpioset"
    fake.write_text(f"#!/bin/sh\n{say}\n")
    fake.chmod(0o755)
    parent = subprocess.Popen([sys.executable, "-c", f"SAY = {say!r}; FAKE = {str(fake)!r}\n{call}"])
    end = time.monotonic() + 20
    while not note.exists() and time.monotonic() < end:
        os.sched_yield()
    parent.send_signal(signal.SIGKILL)
    parent.wait(10)
    assert _gone(int(note.read_text()))


def _gone(pid: int) -> bool:
    """Whether the process has ended, or is only waited for, within some seconds."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
    return False
