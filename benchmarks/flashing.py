"""Connecting, flashing and flashing again: through the harness and with esptool's command line."""

from __future__ import annotations

import subprocess
import sys
import time

from benchmarks._boards import FIRMWARE_OFFSET, seconds, virtual_esp32
from harness.flashing.esp import EspFlasher
from harness.flashing.flasher import FlashImage, FlashReport
from harness.link.ports import open_port


def main() -> dict[str, float]:
    with virtual_esp32(programmed=False) as (board, file):
        image = FlashImage(FIRMWARE_OFFSET, file.read_bytes(), "firmware")

        def flash() -> FlashReport:
            port = open_port(board.url)
            try:
                with EspFlasher("esp32", port) as flasher:
                    return flasher.write([image])
            finally:
                port.close()

        def identify() -> None:
            port = open_port(board.url)
            flasher = EspFlasher("esp32", port)
            flasher._connect()
            port.close()

        def erase() -> None:
            subprocess.run(
                [sys.executable, "-m", "esptool", "--port", str(board.pty), "erase-flash"],
                check=True,
                capture_output=True,
            )

        connect = seconds(identify, 5)
        full, full_total = [], []
        for _ in range(3):
            erase()
            started = time.perf_counter()
            full.append(flash().seconds)
            full_total.append(time.perf_counter() - started)
        again = [flash().seconds for _ in range(5)]
        again_total = seconds(flash, 5)

        def esptool(port: str) -> float:
            erase()
            command = [sys.executable, "-m", "esptool", "--port", port, "--baud", "460800"]
            started = time.perf_counter()
            subprocess.run([*command, "write-flash", hex(FIRMWARE_OFFSET), str(file)], check=True, capture_output=True)
            return time.perf_counter() - started

        by_url = esptool(board.url)
        by_pty = sorted(esptool(str(board.pty)) for _ in range(3))[1]
    best_full, best_again = sorted(full)[1], sorted(again)[2]
    whole = sorted(full_total)[1]
    return {
        "connect and identify (s)": connect,
        "full write, whole job (s)": whole,
        "full write, write and verify only (s)": best_full,
        "unchanged, whole job (s)": again_total,
        "unchanged, compare only (s)": best_again,
        "unchanged / full, compare against write": best_again / best_full,
        "unchanged / full, whole job": again_total / whole,
        "esptool command line over RFC 2217 (s)": by_url,
        "esptool command line over a pty (s)": by_pty,
        "harness / esptool over RFC 2217": whole / by_url,
        "harness over RFC 2217 / esptool over a pty": whole / by_pty,
    }
