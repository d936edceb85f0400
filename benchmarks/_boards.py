"""A virtual ESP32 for the benchmarks, and a stop watch."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.virtual.bench import RunningBoard, VirtualSpec, start
from harness.virtual.virtual_firmware import build_firmware

FIRMWARE_OFFSET = 0x1000


@contextmanager
def virtual_esp32(*, programmed: bool = True) -> Iterator[tuple[RunningBoard, Path]]:
    """A board of its own, and the file of the firmware that belongs on it."""
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
        image = Path(folder) / "firmware.bin"
        image.write_bytes(build_firmware("esp32"))
        spec = VirtualSpec("bench32", "esp32", str(Path(folder) / "state"))
        if programmed:
            spec.folder.mkdir()
            content = bytearray(b"\xff" * spec.flash_size)
            content[FIRMWARE_OFFSET : FIRMWARE_OFFSET + image.stat().st_size] = image.read_bytes()
            spec.flash_file.write_bytes(content)
        with start(spec) as board:
            yield board, image


def seconds(action: Callable[[], object], repeat: int = 5) -> float:
    """Median wall time of ``action`` in seconds."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
