"""Flashing an STM32 by whatever reads its memory and writes whole sectors: USB boot loader or debug probe.

What all of them share is here: the chip checked before anything is erased, only sectors that differ written, what no
image covers kept, everything read back.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Protocol, Self

from harness.errors import BenchFault, HarnessError
from harness.flashing.flasher import ChipIdentity, FlashImage, FlashReport, Progress, silent
from harness.flashing.stm32_plan import Stm32Plan, check_places, make_plan
from harness.flashing.stm32_sectors import Sector
from harness.link.panics import printable


class Access(Protocol):
    """One way to a chip's memory. Every method may raise BenchFault, or AccessFailed with what a tool said."""

    where: str
    """What it is reached by, for messages."""

    def open(self) -> tuple[ChipIdentity, Sequence[Sector]]:
        """Find the chip and say what it is. Raises UsageError when it is another one than expected."""
        ...

    def read(self, address: int, size: int) -> bytes: ...

    def write(self, address: int, data: bytes) -> None:
        """Erase the sectors that ``data`` touches, and program it. ``address`` is where a sector begins."""
        ...

    def close(self) -> None:
        """Start the application, as far as the chip is there; may be called without :meth:`open`."""
        ...


class AccessFailed(Exception):
    """What a tool said when it failed; not made printable yet."""


class AccessFlasher:
    """A :class:`~harness.flashing.flasher.Flasher` on an :class:`Access`."""

    def __init__(self, access: Access, *, progress: Progress = silent) -> None:
        self._access = access
        self._progress = progress
        self._steps: list[tuple[str, float]] = []
        self._sectors: Sequence[Sector] = ()
        self.identity: ChipIdentity

    def __enter__(self) -> Self:
        try:
            with self._doing("connect"):
                self.identity, self._sectors = self._access.open()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        with contextlib.suppress(AccessFailed, HarnessError):  # whoever talks to the chip next will say so
            self._access.close()

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at the address ``offset``."""
        with self._doing("read"):
            return self._read(offset, size)

    def _read(self, address: int, size: int) -> bytes:
        data = self._access.read(address, size)
        if len(data) != size:
            raise AccessFailed(f"{len(data)} bytes came for {size} at 0x{address:08x}")
        return data

    def write(self, images: list[FlashImage]) -> FlashReport:
        """Write what differs and read it back. Raises UsageError when an image does not fit; nothing was erased."""
        started = time.perf_counter()
        check_places(images, self._sectors)
        with self._doing("compare"):
            todo = make_plan(images, self._sectors, self._read, always_erase=True)
        runs = _whole_sectors(todo)
        if runs:
            with self._doing("write"):
                done, total = 0, sum(len(data) for _, data in runs)
                for address, data in runs:
                    self._access.write(address, data)
                    done += len(data)
                    self._progress("write", done, total)
            with self._doing("verify"):
                for address, data in runs:
                    self._verify(address, data)
        report = FlashReport(self.identity, sum(len(data) for _, data in runs), todo.unchanged)
        report.steps = self._steps
        report.seconds = time.perf_counter() - started
        return report

    def _verify(self, address: int, data: bytes) -> None:
        there = self._read(address, len(data))
        if there != data:
            at = next(n for n, (expected, other) in enumerate(zip(data, there, strict=True)) if expected != other)
            raise AccessFailed(f"0x{address + at:08x} holds 0x{there[at]:02x}, written was 0x{data[at]:02x}")

    @contextlib.contextmanager
    def _doing(self, step: str) -> Iterator[None]:
        self._progress(step, 0, 0)
        started = time.perf_counter()
        try:
            yield
        except AccessFailed as problem:
            text = printable(str(problem).encode(), 400)
            raise BenchFault(
                f"{self._access.where}: flashing failed at step '{step}': {text}", hint=_HINTS.get(step, "")
            ) from None
        finally:
            self._steps.append((step, time.perf_counter() - started))


_HINTS = {
    "connect": "check the cable and the board's supply; is another program using the device?",
    "compare": "is the chip protected against readout? Lifting that erases it, and is left to the vendor's tool",
    "write": "the supply dipped, the cable moved, or sectors are write-protected; the next run writes again",
    "verify": "is that sector write-protected? Else the flash is worn, or the supply dips",
}


def _whole_sectors(todo: Stm32Plan) -> list[tuple[int, bytes]]:
    """The content of the sectors to be written, neighbours joined."""
    runs: list[tuple[int, bytearray]] = []
    pieces = dict(todo.write)
    for sector in todo.erase:
        content = bytearray(b"\xff" * sector.size)
        for address, data in pieces.items():
            if sector.address <= address < sector.end:
                content[address - sector.address : address - sector.address + len(data)] = data
        if runs and runs[-1][0] + len(runs[-1][1]) == sector.address:
            runs[-1][1].extend(content)
        else:
            runs.append((sector.address, content))
    return [(address, bytes(content)) for address, content in runs]
