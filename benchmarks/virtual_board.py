"""A virtual board at the chip's pace: how late it wakes by the host's clock, and what it costs while it waits."""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

import serial

from benchmarks._boards import virtual_esp32

_TICK = os.sysconf("SC_CLK_TCK")
#: How long each state is watched, in seconds; the kernel counts CPU time in steps of 10 ms.
_WATCHED = 3.0


def main() -> dict[str, float]:
    with virtual_esp32() as (board, _), serial.serial_for_url(board.url, baudrate=115200, timeout=10) as port:

        def raw() -> None:
            port.write(b"\r\x03\x01")
            port.read_until(b"exit\r\n>")

        def late_ms(program: bytes, begin: bytes, end: bytes, asked_ms: float) -> float:
            port.write(program + b"\x04")
            port.read_until(begin)
            started = time.perf_counter()
            port.read_until(end)
            return 1e3 * (time.perf_counter() - started) - asked_ms

        def cpu_percent(program: bytes) -> float:
            port.write(program + b"\x04")
            port.read_until(b"on\r\n")
            before = _cpu_seconds(board.pid)
            time.sleep(_WATCHED)
            return 100 * (_cpu_seconds(board.pid) - before) / _WATCHED

        raw()
        slept = [
            late_ms(b"import time\nprint('on')\ntime.sleep_ms(50)\nprint('off')", b"on\r\n", b"off\r\n\x04\x04>", 50)
            for _ in range(20)
        ]
        woken = []
        for _ in range(10):
            woken.append(late_ms(b"import machine\nprint('on')\nmachine.deepsleep(50)", b"on\r\n", b"rst:0x5", 50))
            port.read_until(b">>> ")
            raw()
        return {
            "sleep_ms(50) late by ms, median": statistics.median(slept),
            "deepsleep(50) to the ROM's text late by ms, median": statistics.median(woken),
            "CPU % idle at the prompt": cpu_percent(b"print('on')"),
            "CPU % with a 10 ms timer at the prompt": cpu_percent(
                b"from machine import Timer\nt = Timer(0, period=10, callback=lambda t: None)\nprint('on')"
            ),
            "CPU % in time.sleep": cpu_percent(b"import time\nt.deinit()\nprint('on')\ntime.sleep(4)"),
            "CPU % in deep sleep": cpu_percent(b"import machine\nprint('on')\nmachine.deepsleep(60000)"),
        }


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
