"""An STM32 at its own CDC port, as a Black Pill or a pyboard is: the port is the firmware's, the boot loader is DFU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.chips import STM32_FLASH_BASE
from harness.errors import BenchFault, UsageError
from harness.flashing.dfu import parse_list, parse_memory
from harness.link.coming_back import until_there
from harness.link.deadline import Deadline
from harness.link.ports import open_port
from harness.link.session import Session
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.serve import Echo
from harness.virtual.stm32.dfu import DfuLoader, memory_layout, usb_serial
from harness.virtual.stm32.stm32_chip import Stm32Chip, flash_of, loader_view
from tests.running_boards import tool
from tests.virtual.chip_clients import MAC

CHIP = "stm32f411"
SIZE = 512 * 1024


def loader() -> DfuLoader:
    return DfuLoader(loader_view(CHIP), flash_of(CHIP), bytes(range(12)))


def test_the_layout_and_the_serial_number_are_what_the_harness_reads() -> None:
    layout = memory_layout(loader_view(CHIP))
    assert layout == "@Internal Flash  /0x08000000/04*016Kg,01*064Kg,03*128Kg"
    assert sum(sector.size for sector, _ in parse_memory(layout)) == SIZE
    assert usb_serial(bytes(range(1, 13))) == "0C0E0A0A0807"


@given(st.integers(-10, SIZE + 10), st.binary(max_size=300))
def test_a_write_changes_its_sectors_and_nothing_outside_the_flash(offset: int, data: bytes) -> None:
    dfu = loader()
    address = STM32_FLASH_BASE + offset
    if offset < 0 or offset + len(data) > SIZE:
        with pytest.raises(UsageError, match="not in the flash"):
            dfu.write(address, data)
        return
    dfu.write(address, data)
    assert dfu.read(address, len(data)) == data
    whole = dfu.read(STM32_FLASH_BASE, SIZE)
    assert whole[:offset].strip(b"\xff") == whole[offset + len(data) :].strip(b"\xff") == b""


def test_without_firmware_there_is_a_loader_and_no_port_and_no_line_does_anything() -> None:
    chip = Stm32Chip(CHIP, flash_of(CHIP), MAC, Echo)
    chip.put_behind("cdc")
    seen: list[bool] = []
    chip.on_usb = seen.append
    chip.power_on()
    assert chip.usb_loader is not None and chip.settled.is_set()
    chip.set_lines(dtr=True, rts=True)
    assert chip.usb_loader is not None and seen == []
    chip.leave_usb_loader()  # to what it has not
    assert chip.usb_loader is None
    chip.power_off()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[RunningBoard]:
    with start(VirtualSpec("pill", CHIP, str(tmp_path / "virtual"), usb="cdc")) as up:
        yield up


def dfu_util(board: RunningBoard, *arguments: str) -> subprocess.CompletedProcess[str]:
    assert board.pty is not None
    return tool("harness.virtual.dfu_util", str(Path(board.pty).parent), *arguments, check=False)


def device(board: RunningBoard) -> tuple[str, ...]:
    (found,) = parse_list(dfu_util(board, "-l").stdout)
    return ("-d", "0483:df11", "-p", found.path, "-a", str(found.alt))


def speaking(board: RunningBoard) -> MicroPythonBoard:
    port = until_there(lambda: open_port(board.url), Deadline(20))
    session = Session(port, reopen=lambda: open_port(board.url))
    return MicroPythonBoard(session, boot_timeout=30, native_usb=True)


def test_it_is_written_by_dfu_and_asked_into_its_loader_again(
    board: RunningBoard, firmware_files: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(BenchFault):
        open_port(board.url)
    assert board.pty is not None and not Path(board.pty).is_symlink()
    firmware, back = firmware_files[CHIP], tmp_path / "back.bin"
    where = device(board)
    assert dfu_util(board, *where, "-s", "0x08000000:leave", "-D", str(firmware)).returncode == 0
    vm = speaking(board)
    vm.enter()
    assert vm.run("import sys; print(sys.platform)").stdout == b"pyboard\r\n"
    # Its port goes with each reset, and comes back.
    vm.run_to_reset("print('\\x02|end|-|-|\\x03')\nimport machine, time\ntime.sleep_ms(50)\nmachine.reset()\n")
    assert vm.run("import machine; print(machine.reset_cause())").stdout == b"2\r\n"
    vm.session.write(b"import machine; machine.bootloader()\x04")
    vm.session.read_until(idle=5, deadline=10, watch_panics=False)
    assert vm.session.closed
    vm.close()
    assert device(board) == where
    size = firmware.stat().st_size
    assert dfu_util(board, *where, "-s", f"0x08000000:{size}", "-U", str(back)).returncode == 0
    assert back.read_bytes() == firmware.read_bytes()
    refused = dfu_util(board, *where, "-s", "0x08000000:9999999", "-U", str(back))
    assert refused.returncode == 74 and "not in the flash" in refused.stderr
    with pytest.raises(BenchFault):
        open_port(board.url)


BENCH = """
name: t
boards:
  - id: pill
    chip: stm32f411
    runtime: micropython
    virtual: {usb: cdc}
    firmware: {build: virtual}
    flash: {method: dfu}
    reset: {method: none}
    capabilities: [native_usb, romfs]
"""


def test_a_run_writes_it_by_dfu_and_again_when_its_firmware_differs(tmp_path: Path) -> None:
    util = tmp_path / "bin" / "dfu-util"
    util.parent.mkdir()
    state = tmp_path / ".harness" / "virtual"
    util.write_text(f'#!/bin/sh\nexec {sys.executable} -m harness.virtual.dfu_util {state} "$@"\n')
    util.chmod(0o755)
    (tmp_path / "boards.yaml").write_text(BENCH)
    for variant in ([], ["--variant", "leak64"]):
        out = tmp_path / "out.json"
        command = [
            "run",
            "--bench",
            str(tmp_path / "boards.yaml"),
            "-k",
            "files are kept",
            "--json",
            str(out),
            *variant,
        ]
        done = subprocess.run(
            [sys.executable, "-m", "harness", *command],
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, "PATH": f"{util.parent}:{os.environ['PATH']}"},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "kB written" in done.stdout
        assert json.loads(out.read_text())
