"""Flashing by any program: picotool, a vendor's programmer, a script of the lab.

The program is given as a list of arguments, and no shell reads it. ``{port}``, ``{image}``, ``{chip}`` and ``{offset}``
in an argument stand for the board's port, the path of the image file, the chip's name and the offset in hexadecimal.
A board whose boot loader is one of USB (an RP2040's BOOTSEL) is brought there first by ``flash.enter``, and started by
``flash.start_command`` in the end. What was written is proved by a program of the same kind (``verify_command``), which
ends with code 0 when the flash holds the image: it is asked first, so that what is there already is not written again,
and once more afterwards.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import serial

from harness.errors import BenchFault, FinalFault, HarnessError, UsageError
from harness.flashing.flasher import ChipIdentity, FlashImage, FlashingMethod, FlashJob, FlashReport, Progress, silent
from harness.link.coming_back import until_there
from harness.link.deadline import Deadline
from harness.link.ports import open_port, set_lines
from harness.power.run_command import run_command

#: How long a boot loader's USB device may take to be there, in seconds.
_LOADER_WITHIN = 10.0
#: How long it takes as a rule, in seconds.
_LOADER_COMES = 3.0
PLACEHOLDERS = ("port", "image", "chip", "offset")


@dataclass(frozen=True)
class Programmer:
    """``write`` and ``verify`` are argument lists with placeholders; ``verify`` is empty when there is no such program.

    ``start`` starts the application in the end, where ``write`` does not. ``timeout`` in seconds, for each call.
    """

    write: Sequence[str]
    verify: Sequence[str] = ()
    timeout: float = 120.0
    start: Sequence[str] = ()


class CommandFlasher:
    """Writes the flash of ``chip`` by a :class:`Programmer`. ``port`` is the board's device, which is not open.

    ``enter`` brings the board into its boot loader; it raises BenchFault where there is no port, as when it is there
    already.
    """

    def __init__(
        self,
        programmer: Programmer,
        chip: str,
        port: str,
        *,
        progress: Progress = silent,
        enter: Callable[[], None] | None = None,
    ) -> None:
        self._enter = enter
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
                # Programs tell the format by the name's end.
                file = Path(folder) / f"{number}{_suffix(image.label)}"
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
        # The boot loader's USB device takes a moment to be there.
        within = Deadline(_LOADER_WITHIN if self._enter else 0.0)
        until_there(lambda: self._run(self._programmer.write, image, file, "flash.command"), within)
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
        # "It differs" and "there is no boot loader yet" end with the same code.
        within = Deadline(_LOADER_COMES if self._enter else 0.0)
        try:
            until_there(lambda: self._run(self._programmer.verify, image, file, "flash.verify_command"), within)
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
        if self._enter is not None:
            self._progress("entering the boot loader", 0, 0)
            with contextlib.suppress(BenchFault):  # no port: it is there already, or the program will say what is wrong
                self._enter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if not self._programmer.start:
            return
        values = {"port": self._port, "chip": self._chip}
        try:
            arguments = [filled_in(argument, values) for argument in self._programmer.start]
            run_command(arguments, what="flash.start_command", timeout=self._programmer.timeout)
        except HarnessError:
            if kind is None:  # what went wrong before says more
                raise


def touch_1200(address: str) -> None:
    """Open the port at 1200 baud and close it with DTR low: boards with a USB boot loader take that as a call for it.

    TinyUSB ports of MicroPython with ``MICROPY_HW_USB_CDC_1200BPS_TOUCH``, CircuitPython, Arduino cores. Raises
    BenchFault when the port cannot be opened.
    """
    port = open_port(address, baud=1200, dtr=True)
    with contextlib.suppress(OSError, serial.SerialException):  # it goes with that
        set_lines(port, dtr=False, rts=False)
    with contextlib.suppress(OSError, serial.SerialException):
        port.close()


def _suffix(name: str) -> str:
    suffix = Path(name).suffix
    return suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 8 else ".bin"


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
    programmer = Programmer(settings.command, settings.verify_command, settings.timeout, settings.start_command)
    ways = {"bootloader": job.enter_loader, "touch-1200": lambda: touch_1200(job.address)}
    enter = ways[settings.enter] if settings.enter else None
    if settings.enter == "bootloader" and enter is None:
        raise UsageError(
            f"{job.board.id}: flash.enter bootloader needs a VM with machine.bootloader(); {job.board.runtime} has "
            "none",
            hint="flash: {enter: touch-1200}, or hold the board's button while you plug it in",
        )
    return CommandFlasher(programmer, job.board.chip, job.address, progress=job.progress, enter=enter)


METHOD = FlashingMethod("command", _make, needs_port=False)
