"""Flashing by any program: picotool, a vendor's programmer, a script of the lab.

The program is given as a list of arguments, and no shell reads it. ``{port}``, ``{image}``, ``{chip}`` and ``{offset}``
in an argument stand for the board's port, the path of the image file, the chip's name and the offset in hexadecimal.
What was written is proved by a program of the same kind (``verify_command``), which ends with code 0 when the flash
holds the image: it is asked first, so that what is there already is not written again, and once more afterwards.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from harness.errors import BenchFault, FinalFault, UsageError
from harness.flashing.flasher import ChipIdentity, FlashImage, FlashingMethod, FlashJob, FlashReport, Progress, silent
from harness.power.run_command import run_command

PLACEHOLDERS = ("port", "image", "chip", "offset")


@dataclass(frozen=True)
class Programmer:
    """``write`` and ``verify`` are argument lists with placeholders; ``verify`` is empty when there is no such program.

    ``timeout`` in seconds, for each call.
    """

    write: Sequence[str]
    verify: Sequence[str] = ()
    timeout: float = 120.0


class CommandFlasher:
    """Writes the flash of ``chip`` by a :class:`Programmer`. ``port`` is the board's device, which is not open."""

    def __init__(self, programmer: Programmer, chip: str, port: str, *, progress: Progress = silent) -> None:
        self._programmer = programmer
        self._chip = chip
        self._port = port
        self._progress = progress
        #: The program may know which chip it talks to; it does not tell.
        self.identity = ChipIdentity(chip, f"{chip}, by {Path(programmer.write[0]).name}", "", None)

    def write(self, images: list[FlashImage]) -> FlashReport:
        """Raises BenchFault when the program fails, takes too long, or its verification does not hold.

        Raises UsageError when the program is not installed.
        """
        report = FlashReport(self.identity)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
            for number, image in enumerate(images):
                file = Path(folder) / f"{number}.bin"
                file.write_bytes(image.data)
                if self._programmer.verify and self._holds(image, file):
                    report.unchanged += len(image.data)
                    continue
                self._write_one(image, file)
                report.written += len(image.data)
        if not self._programmer.verify:
            report.warnings.append("flash.verify_command is not given: that the image is in the flash was not proved")
        report.seconds = time.monotonic() - started
        report.steps.append(("write", report.seconds))
        return report

    def _write_one(self, image: FlashImage, file: Path) -> None:
        size = len(image.data)
        self._progress("write", 0, size)
        self._run(self._programmer.write, image, file, "flash.command")
        self._progress("write", size, size)
        if self._programmer.verify:
            self._progress("verify", 0, 0)
            try:
                self._run(self._programmer.verify, image, file, "flash.verify_command")
            except BenchFault as problem:
                raise BenchFault(
                    f"{image.label} was written, and the verification does not hold: {problem.message}",
                    hint="run both programs by hand; does flash.command write where flash.verify_command reads?",
                ) from None

    def _holds(self, image: FlashImage, file: Path) -> bool:
        self._progress("compare", 0, 0)
        try:
            self._run(self._programmer.verify, image, file, "flash.verify_command")
        except BenchFault:
            return False
        return True

    def _run(self, arguments: Sequence[str], image: FlashImage, file: Path, what: str) -> None:
        values = {"port": self._port, "image": str(file), "chip": self._chip, "offset": f"{image.offset:#x}"}
        filled = [filled_in(argument, values) for argument in arguments]
        run_command(filled, what=what, timeout=self._programmer.timeout)

    def read(self, offset: int, size: int) -> bytes:
        """A program that writes need not be able to read: raises UsageError."""
        raise UsageError("flash.method command cannot read the flash back")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        return None


def filled_in(argument: str, values: dict[str, str]) -> str:
    """``argument`` with its placeholders replaced, each once: what a value holds is not looked at again.

    ``{{`` and ``}}`` stand for braces. Raises FinalFault for a placeholder that there is not.
    """
    out, rest = [], argument
    while rest:
        if rest.startswith(("{{", "}}")):
            out.append(rest[0])
            rest = rest[2:]
        elif rest.startswith("{"):
            name, closed, rest = rest[1:].partition("}")
            if not closed or name not in values:
                raise FinalFault(
                    f"{argument[:80]!r}: there is no placeholder {{{name[:20]}}}",
                    hint=f"they are {', '.join(f'{{{known}}}' for known in PLACEHOLDERS)}; write {{{{ for a brace",
                )
            out.append(values[name])
        else:
            out.append(rest[0])
            rest = rest[1:]
    return "".join(out)


def _make(job: FlashJob) -> CommandFlasher:
    settings = job.board.flash
    programmer = Programmer(settings.command, settings.verify_command, settings.timeout)
    return CommandFlasher(programmer, job.board.chip, job.address, progress=job.progress)


METHOD = FlashingMethod("command", _make, needs_port=False)
