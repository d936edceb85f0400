"""The unmodified mpremote against the virtual boards."""

import random
import subprocess
from pathlib import Path

from harness.virtual.bench import RunningBoard
from tests.running_boards import tool


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
