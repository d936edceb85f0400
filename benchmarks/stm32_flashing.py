"""An STM32 through its serial boot loader: the harness and stm32loader's own command line, on the same virtual chip.

The chip erases and programs in the times of its data sheet; the line is a loopback and takes none, so times say how
many round trips are made and bytes say what a real line would carry. stm32loader's command line opens no URL: its
process gets ``serial_for_url`` in place of ``serial.Serial``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.flashing.flasher import FlashImage, FlashReport
from harness.flashing.stm32_uart import Stm32UartFlasher
from harness.link.ports import open_port
from harness.virtual.bench import VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware

_BASE = 0x0800_0000
_FAMILY = {"stm32f405": "F4", "stm32l476": "L4"}
#: The flags are passed on as numbers, which an RFC 2217 port does not take.
_COMMAND_LINE = """
import sys, serial
from stm32loader import main, uart

class Serial:
    def __new__(cls, port, xonxoff=0, rtscts=0, **settings):
        found = serial.serial_for_url(port, do_not_open=True)
        found.dtr, found.rts = False, True
        for name, value in settings.items():
            setattr(found, name, value)
        found.open()
        return found

uart.serial.Serial = Serial
main.main(*sys.argv[1:])
"""


def _one(chip: str, image: bytes) -> dict[str, float]:
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
        file = Path(folder) / "image.bin"
        file.write_bytes(image)
        spec = VirtualSpec("bench", chip, str(Path(folder) / "state"), app="echo")
        with start(spec) as board:

            def flash(data: bytes) -> tuple[float, FlashReport, int]:
                port = open_port(board.url, rts=True)
                started = time.perf_counter()
                try:
                    with Stm32UartFlasher(chip, port) as flasher:
                        report = flasher.write([FlashImage(_BASE, data, "image")])
                finally:
                    port.close()
                return time.perf_counter() - started, report, flasher.line.sent + flasher.line.received

            full, report, carried = flash(image)
            assert report.written
            figures[f"{chip} full flash of a blank chip s"] = full
            figures[f"{chip} blank chip, bytes on the wire per image byte"] = carried / len(image)
            again, report, carried = flash(image)
            assert not report.written
            figures[f"{chip} unchanged content s"] = again
            figures[f"{chip} unchanged content, bytes on the wire per image byte"] = carried / len(image)
            changed = bytearray(image)
            changed[len(image) // 2] ^= 0xFF
            one, report, carried = flash(bytes(changed))
            figures[f"{chip} one byte changed s"] = one
            figures[f"{chip} one byte changed, bytes on the wire per image byte"] = carried / len(image)
            inverted = bytes(byte ^ 0x5A for byte in image)
            everything, report, carried = flash(inverted)
            figures[f"{chip} every byte changed s"] = everything
            figures[f"{chip} every byte changed, bytes on the wire per image byte"] = carried / len(image)
            command = [sys.executable, "-c", _COMMAND_LINE, "-p", board.url, "-b", "115200", "-f", _FAMILY[chip]]
            started = time.perf_counter()
            done = subprocess.run([*command, "-e", "-w", "-v", "-q", str(file)], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            figures[f"{chip} stm32loader's command line, erase write verify s"] = time.perf_counter() - started
            assert spec.flash_file.read_bytes()[: len(image)] == image
    return figures


def main() -> dict[str, float]:
    """Figures by name; the unit is the last word of each name."""
    figures: dict[str, float] = {}
    for chip in _FAMILY:
        figures.update(_one(chip, build_firmware(chip)[: 256 * 1024]))
    return figures


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:72} {value:10.3f}")
