"""The unmodified mpremote against the virtual boards."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.virtual.bench import RunningBoard
from tests.running_boards import programmed_board, tool


@pytest.fixture(params=["esp32", "esp8266", "stm32f405"])
def programmed(
    request: pytest.FixtureRequest, tmp_path: Path, firmware_files: dict[str, Path]
) -> Iterator[RunningBoard]:
    """A virtual board of each family with the healthy firmware in its flash."""
    with programmed_board(request.param, tmp_path / "state", firmware_files[request.param]) as board:
        yield board


def mpremote(board: RunningBoard, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    assert board.pty
    return tool("mpremote", "connect", board.pty, *arguments, check=check)


def test_exec_run_and_soft_reset(programmed: RunningBoard, tmp_path: Path) -> None:
    assert mpremote(programmed, "exec", "print(6 * 7)").stdout == "42\n"
    program = tmp_path / "program.py"
    program.write_text("x = [i * i for i in range(5)]\nprint(x)\n")
    assert mpremote(programmed, "run", str(program)).stdout == "[0, 1, 4, 9, 16]\n"
    after = mpremote(programmed, "exec", "x = 1", "soft-reset", "exec", "print('x' in globals())")
    assert after.stdout.strip().endswith("False")


def test_an_exception_reaches_the_user(programmed: RunningBoard) -> None:
    done = mpremote(programmed, "exec", "1/0", check=False)
    assert done.returncode != 0
    assert "ZeroDivisionError" in done.stdout + done.stderr


def test_files_are_copied_both_ways(programmed: RunningBoard, tmp_path: Path) -> None:
    data = random.Random(3).randbytes(5000)
    local, back = tmp_path / "data.bin", tmp_path / "back.bin"
    local.write_bytes(data)
    mpremote(programmed, "fs", "cp", str(local), ":data.bin")
    listing = mpremote(programmed, "fs", "ls").stdout
    assert "5000 data.bin" in listing
    assert "boot.py" in listing
    mpremote(programmed, "fs", "cp", ":data.bin", str(back))
    assert back.read_bytes() == data
    mpremote(programmed, "fs", "mkdir", ":d", "+", "fs", "cp", str(local), ":d/x.bin", "+", "fs", "rm", ":data.bin")
    assert "data.bin" not in mpremote(programmed, "fs", "ls").stdout
    missing = mpremote(programmed, "fs", "cat", ":nothing.txt", check=False)
    assert missing.returncode != 0
    assert "No such file" in missing.stdout + missing.stderr


def test_the_files_are_where_the_port_has_them(programmed: RunningBoard) -> None:
    root = mpremote(programmed, "fs", "ls", ":/").stdout.split()
    here = mpremote(programmed, "exec", "import os; print(os.getcwd(), 'boot.py' in os.listdir())").stdout
    if programmed.id == "tstm32f405":
        assert root == ["ls", ":/", "0", "flash/"]
        assert here == "/flash True\n"
        refused = mpremote(programmed, "fs", "touch", ":/x.txt", check=False)
        assert "No such" in refused.stderr + refused.stdout
    else:
        assert root[-1] == "boot.py"
        assert here == "/ True\n"


def test_a_local_folder_is_mounted(programmed: RunningBoard, tmp_path: Path) -> None:
    (tmp_path / "from_host.py").write_text("VALUE = 'from the host'\n")
    (tmp_path / "bytes.bin").write_bytes(bytes(range(256)))
    done = mpremote(
        programmed,
        "mount",
        str(tmp_path),
        "exec",
        "import from_host; print(from_host.VALUE); print(open('bytes.bin', 'rb').read() == bytes(range(256)))",
    )
    assert "from the host" in done.stdout
    assert "True" in done.stdout


def _folder(path: Path) -> Path:
    path.mkdir()
    (path / "from_rom.py").write_text("def work(): return 'a constant that lies in the flash'\n")
    (path / "data.bin").write_bytes(bytes(range(256)) * 40)
    (path / "lib").mkdir()
    (path / "lib" / "in_lib.py").write_text("VALUE = 5\n")
    return path


#: How the port gives its region (docs/virtual-bench.md): size, and what one erasing clears as mpremote learns it.
REGIONS = {"esp32": (0x20000, 4096), "esp8266": (0x50000, 0x50000), "stm32f405": (0x20000, 0x20000)}


def test_romfs_is_queried_deployed_and_runs_in_place(programmed: RunningBoard, tmp_path: Path) -> None:
    chip = programmed.id.removeprefix("t")
    size, block = REGIONS[chip]
    empty = mpremote(programmed, "romfs", "query").stdout
    assert f"ROMFS0 partition has size {size} bytes ({size // block} blocks of {block} bytes each)" in empty
    assert "Not a valid ROMFS" in empty

    said = mpremote(programmed, "romfs", "deploy", str(_folder(tmp_path / "first"))).stdout
    assert "ROMFS image deployed" in said
    assert "ROMFS image size: " in mpremote(programmed, "romfs", "query").stdout

    asked = (
        "import sys, from_rom, in_lib, uctypes, vfs; from machine import mem32; "
        "print(sys.path[2:4], from_rom.__file__, in_lib.VALUE, from_rom.work()); "
        "image = vfs.rom_ioctl(2, 0); start = uctypes.addressof(memoryview(image)); "
        "print(start <= mem32[id(from_rom.work) + 12] & 0xFFFFFFFF < start + len(memoryview(image))); "
        "print(open('/rom/data.bin', 'rb').read() == bytes(range(256)) * 40)"
    )
    done = mpremote(programmed, "soft-reset", "exec", asked).stdout.splitlines()
    assert done == [
        "['/rom', '/rom/lib'] /rom/from_rom.mpy 5 a constant that lies in the flash",
        "True",
        "True",
    ]

    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "other.py").write_text("VALUE = 6\n")
    mpremote(programmed, "romfs", "deploy", str(tmp_path / "second"))
    listed = mpremote(programmed, "soft-reset", "exec", "import os, other; print(os.listdir('/rom'), other.VALUE)")
    assert listed.stdout == "['other.mpy'] 6\n"


def test_a_romfs_that_is_too_large_is_refused_and_nothing_is_written(programmed: RunningBoard, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "large.bin").write_bytes(random.Random(5).randbytes(0x60000))
    refused = mpremote(programmed, "romfs", "deploy", str(folder), check=False)
    assert refused.returncode != 0
    assert "too big" in refused.stdout + refused.stderr
    assert "Not a valid ROMFS" in mpremote(programmed, "romfs", "query").stdout
