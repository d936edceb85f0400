"""A board that is written without its console's port: first the flash, then the port, then the VM."""

import os
import sys
from pathlib import Path

import pytest

from harness.bench.attach import Options, attach
from harness.errors import BenchFault
from harness.flashing.flasher import FlashImage
from harness.flashing.stm32_uart import Stm32UartFlasher
from harness.inventory.load import load_bench
from harness.link.ports import open_port
from harness.virtual.bench import VirtualSpec, start
from tests.running_boards import wait_for_vm

BENCH = """
boards:
  - id: pyboard
    chip: stm32f405
    runtime: micropython
    identity: {{port: {port}}}
    flash: {{method: dfu, probe: SERIAL, before: no-reset}}
    reset: {{method: none}}
    firmware: {{path: firmware.bin}}
"""
FAKE = Path(__file__).parents[1] / "flashing" / "fake_dfu_util.py"


def test_dfu_writes_before_the_console_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, firmware_files: dict[str, Path]
) -> None:
    """The boot loader is a stand-in for dfu-util, the VM a virtual chip on a pseudo-terminal with the same firmware."""
    image = firmware_files["stm32f405"].read_bytes()
    (tmp_path / "firmware.bin").write_bytes(image)
    tool, device = tmp_path / "bin" / "dfu-util", tmp_path / "bus" / "1-1"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
    tool.chmod(0o755)
    device.mkdir(parents=True)
    (device / "serial").write_text("SERIAL")
    (device / "memory").write_text("@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg")
    (device / "flash").write_bytes(b"\xff" * (1 << 20))
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DFU", str(device.parent))
    with start(VirtualSpec("v", "stm32f405", str(tmp_path / "virtual"), pace="fast")) as virtual:
        port = open_port(virtual.url, rts=True)
        with Stm32UartFlasher("stm32f405", port) as flasher:
            flasher.write([FlashImage(0x0800_0000, image, "firmware")])
        port.close()
        wait_for_vm(virtual)
        assert virtual.pty
        (tmp_path / "boards.yaml").write_text(BENCH.format(port=Path(virtual.pty).resolve()))
        (board,) = load_bench(tmp_path / "boards.yaml").boards
        attached = attach(board, Options(tmp_path), lambda *_: None)
        try:
            assert attached.flashed is not None
            assert attached.flashed.written
            assert attached.runtime.run("print(6 * 7)").stdout == b"42\r\n"
        finally:
            attached.close()
        assert (device.with_name("left") / "flash").read_bytes()[: len(image)] == image
        (device.with_name("left") / "flash").unlink()
        with pytest.raises(BenchFault, match="expected one STM32 boot loader on USB, found none"):
            attach(board, Options(tmp_path), lambda *_: None)
