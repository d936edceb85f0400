"""What a user is told about a port that cannot be opened, and what the reset lines do to a chip."""

import errno
import os
import socket
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from harness.errors import BenchFault, UsageError
from harness.formats.virtual_image import flash_offset
from harness.link.ports import open_port
from harness.link.session import Session
from harness.power.reset import CustomReset, HardReset
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from tests.running_boards import write_flash_file

_HOLD = (
    "import serial, sys; p = serial.Serial(sys.argv[1], exclusive=True); print('held', flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize(
    "address",
    ["rfc2217://", "rfc2217://bench-pi", "rfc2217://bench-pi:", "rfc2217://:4000", "rfc2217://bench-pi:x", "socket://",
     "rfc2217://bench-pi:99999", "rfc2217://[::1", "socket://bench-pi", "rfc2217://\udcff?ign_set_control"],
)  # fmt: skip
def test_an_address_without_host_or_port_is_told_as_that(address: str) -> None:
    with pytest.raises(BenchFault, match=r": cannot be opened: expected \w+://HOST:PORT"):
        open_port(address)


def test_a_port_that_another_program_holds_names_it() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    path = os.ttyname(slave)
    with subprocess.Popen([sys.executable, "-c", _HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BenchFault, match=rf"in use by \S+ \(process {holder.pid}\)"):
            open_port(path)
        holder.communicate()
    open_port(path).close()  # free again
    os.close(master)
    os.close(slave)


def test_a_port_without_permission_says_which_group(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "/dev/ttyUSB0")

    monkeypatch.setattr(serial, "Serial", refused)
    with pytest.raises(BenchFault, match="no permission") as caught:
        open_port("/dev/ttyUSB0")
    assert "dialout" in str(caught.value)


@pytest.mark.parametrize("scheme", ["rfc2217", "socket"])
def test_an_address_where_nothing_listens(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
    with pytest.raises(BenchFault, match="nothing listens there"):
        open_port(f"{scheme}://127.0.0.1:{number}")


def test_an_address_that_makes_no_sense() -> None:
    with pytest.raises(BenchFault, match="cannot be opened"):
        open_port("nonsense://x")
    with pytest.raises(BenchFault, match="cannot be opened"):
        open_port("rfc2217://127.0.0.1:99999")


@pytest.mark.parametrize("sequence", ["", "D2", "D0|X1", "W", "U1", "D0||R1"])
def test_a_typo_in_a_reset_sequence_fails_when_it_is_made(sequence: str) -> None:
    with pytest.raises(UsageError, match="is not known"):
        CustomReset(sequence)


@pytest.fixture
def echoing(tmp_path: Path, firmware_files: dict[str, Path]) -> Iterator[RunningBoard]:
    spec = VirtualSpec("techo", "esp32", str(tmp_path), app="echo")
    write_flash_file(spec, flash_offset("esp32"), firmware_files["esp32"].read_bytes())
    with start(spec) as board:
        yield board


def test_the_lines_choose_between_bootloader_and_application(echoing: RunningBoard) -> None:
    port = open_port(echoing.url)
    session = Session(port)
    CustomReset("U0,0|U0,1|W0.1|U1,0|W0.05|U0,0")(port)  # IO0 is low while EN rises
    assert session.read_until(b"waiting for download", idle=2, deadline=5, watch_panics=False).ok
    HardReset()(port)
    with session.expecting_reset():
        read = session.read_until(b"entry 0x", idle=2, deadline=5)
    assert read.ok
    assert b"FLASH_BOOT" in read.data
    session.close()
