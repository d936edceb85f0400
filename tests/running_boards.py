"""What tests of running virtual boards share: their flash, a wait for their VM, a third party's command line tool."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.chips import CHIPS as CHIP_RECORDS
from harness.formats.virtual_image import flash_offset
from harness.link.ports import open_port
from harness.link.session import Session
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.virtual.bench import RunningBoard, VirtualSpec, start

CHIPS = ("esp32", "esp8266")


def tool(*arguments: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a third party's command line tool (esptool, mpremote) as a user does."""
    name, *rest = arguments
    done = subprocess.run([sys.executable, "-m", name, *rest], capture_output=True, text=True, timeout=timeout)
    if check:
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done


def wait_for_vm(board: RunningBoard, *, rts: bool = False) -> None:
    """A chip that boots hears nothing yet, like a real one: wait until its VM has answered once."""
    runtime = MicroPythonBoard(Session(open_port(board.url, rts=rts)), boot_timeout=60)
    runtime.enter()
    runtime.close()


def write_flash_file(spec: VirtualSpec, offset: int, data: bytes) -> None:
    """Put ``data`` into a board's flash before it is switched on, as a programmer for bare chips does."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    content = bytearray(b"\xff" * spec.flash_size)
    content[offset : offset + len(data)] = data
    spec.flash_file.write_bytes(content)


@contextmanager
def programmed_board(chip: str, folder: Path, firmware: Path) -> Iterator[RunningBoard]:
    """A virtual board with ``firmware`` in its flash and nothing else."""
    size = CHIP_RECORDS[chip].flash_size  # an STM32's own; its image goes to the start
    spec = VirtualSpec(f"t{chip}", chip, str(folder))
    if size is not None:
        spec = replace(spec, flash_size=size)
    write_flash_file(spec, flash_offset(chip) if size is None else 0, firmware.read_bytes())
    with start(spec) as board:
        wait_for_vm(board, rts=size is not None)  # BOOT0 low
        yield board
