"""What tests of running virtual boards share: their flash, a wait for their VM, a third party's command line tool."""

from __future__ import annotations

import subprocess
import sys

from harness.link.ports import open_port
from harness.link.session import Session
from harness.runtimes.micropython.micropython_board import MicroPythonBoard
from harness.virtual.bench import RunningBoard, VirtualSpec

CHIPS = ("esp32", "esp8266")


def tool(*arguments: str, timeout: float = 120, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a third party's command line tool (esptool, mpremote) as a user does."""
    name, *rest = arguments
    done = subprocess.run([sys.executable, "-m", name, *rest], capture_output=True, text=True, timeout=timeout)
    if check:
        assert done.returncode == 0, f"{' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done


def wait_for_vm(board: RunningBoard) -> None:
    """A chip that boots hears nothing yet, like a real one: wait until its VM has answered once."""
    runtime = MicroPythonBoard(Session(open_port(board.url)), boot_timeout=60)
    runtime.enter()
    runtime.close()


def write_flash_file(spec: VirtualSpec, offset: int, data: bytes) -> None:
    """Put ``data`` into a board's flash before it is switched on, as a programmer for bare chips does."""
    spec.folder.mkdir(parents=True, exist_ok=True)
    content = bytearray(b"\xff" * spec.flash_size)
    content[offset : offset + len(data)] = data
    spec.flash_file.write_bytes(content)
