"""The emulated boards' own machinery, without a compiler or QEMU."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from . import builds, source
from .boards import BOARDS, DEFECTS
from .builds import AN385, Firmware
from .table import cell
from .tools import Unavailable, require


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Unavailable, match=r"qemu-system-arm.*apt-get install .*gcc-arm-none-eabi"):
        require(("qemu-system-arm", "arm-none-eabi-gcc"))


def test_the_mirror_is_the_machines_own(monkeypatch: pytest.MonkeyPatch) -> None:
    said = (
        "Other http://localhost/other/\nDebian-Security http://localhost/security/\nDebian http://localhost/debian/\n"
    )
    monkeypatch.setattr(source, "run", lambda *_arguments, **_options: said)
    monkeypatch.setattr(source, "require", lambda _names: None)
    assert source.mirror() == "http://localhost/debian/"


def test_a_machine_without_debians_archive_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "run", lambda *_arguments, **_options: "Ubuntu http://localhost/ubuntu/\n")
    monkeypatch.setattr(source, "require", lambda _names: None)
    with pytest.raises(Unavailable, match="no Debian archive"):
        source.mirror()


def test_each_board_and_each_defect_is_a_build_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "run", lambda *_arguments, **_options: "12.2")
    boards = [*BOARDS, *(defect.board for defect in DEFECTS)]
    assert len({board.id for board in boards}) == len(boards)
    assert len({str(board.firmware and (board.firmware.suite, board.firmware.described())) for board in boards}) == len(
        boards
    )


def test_settings_come_after_the_ports_own() -> None:
    lines = builds._header(Firmware(AN385, "sid", whole=True, settings={"MICROPY_SCHEDULER_DEPTH": "2"})).splitlines()
    assert lines[0] == "#include <mpconfigport.h>"
    assert lines[-2:] == ["#undef MICROPY_SCHEDULER_DEPTH", "#define MICROPY_SCHEDULER_DEPTH (2)"]


def test_a_cell_counts_passed_failed_errors_skipped() -> None:
    outcomes = ("pass", "marginal", "error", "skipped", "skipped", "skipped")
    assert cell([{"outcome": outcome} for outcome in outcomes]) == "2 / 0 / 1 / 3"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_the_emulator_ends_with_whoever_started_it(tmp_path: Path) -> None:
    """Also when that was killed, and nothing of it could be run any more."""
    pid = tmp_path / "pid"
    emulator = tmp_path / "qemu"
    said = "char device redirected to /dev/pts/7 (label serial0)"
    emulator.write_text(f"#!/bin/sh\necho $$ > {pid}\necho '{said}'\nexec sleep 600\n")
    emulator.chmod(0o755)
    program = (
        "from tests.emulated.qemu import emulated\nimport time\n"
        f"with emulated(['{emulator}']) as port:\n    print(port, flush=True)\n    time.sleep(600)\n"
    )
    root = Path(__file__).resolve().parents[2]
    owner = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, cwd=root)
    assert owner.stdout is not None
    assert owner.stdout.readline() == "/dev/pts/7\n"
    number = int(pid.read_text())
    owner.kill()
    owner.wait(10)
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(number, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    os.kill(number, 9)
    pytest.fail("the emulator outlived its owner")
