"""Flashing ESP chips through esptool's Python API, on a port that is open already.

esptool has one logger per process: boards that are flashed at the same time need a process each.
esptool documentation: "Embedding into Custom Scripts", "Serial Protocol".
"""

from __future__ import annotations

import functools
import struct
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import esptool
import serial
from esptool.cmds import attach_flash, detect_flash_size, run_stub, write_flash
from esptool.loader import ESPLoader
from esptool.loader import cfg as esptool_settings
from esptool.logger import TemplateLogger, log
from esptool.reset import ResetStrategy as EsptoolReset
from esptool.targets import CHIP_DEFS, ROM_LIST
from esptool.util import FatalError, UnsupportedCommandError, flash_size_bytes

from harness.errors import BenchFault, UsageError
from harness.flashing.esp_entry import look, nobody_there, wait_for_hands
from harness.flashing.esp_safety import refuse_unsafe, security_of
from harness.flashing.esptool_trace import leave_out
from harness.flashing.flasher import ChipIdentity, FlashImage, FlashingMethod, FlashJob, FlashReport, Progress, silent
from harness.flashing.plan import SECTOR, Plan, Write, md5, plan
from harness.link.panics import printable
from harness.link.ports import no_reset_lines
from harness.power.reset import HardReset, ResetStrategy, boot_loader_sequence, strategy_for

ROM_BAUD = 115200

#: What esptool raises when answers make no sense, apart from its own errors.
_NONSENSE = (struct.error, zlib.error, ValueError, IndexError, KeyError, TypeError)


class _Log(TemplateLogger):  # type: ignore[misc]
    """esptool's words and progress become ours; warnings are kept for the report."""

    def __init__(self) -> None:
        self.begin(silent)

    def begin(self, progress: Progress) -> None:
        self._progress = progress
        self.step = ""
        self.warnings: list[str] = []

    def print(self, *_args: Any, **_kwargs: Any) -> None: ...

    def note(self, message: str) -> None: ...

    def warning(self, message: str) -> None:
        if len(self.warnings) < 20:
            self.warnings.append(printable(message.encode()))

    def error(self, message: str) -> None:
        self.warning(message)

    def stage(self, finish: bool = False) -> None: ...

    def progress_bar(self, cur_iter: int, total_iters: int, *_args: Any, **_kwargs: Any) -> None:
        self._progress(self.step, int(cur_iter), int(total_iters))

    def set_verbosity(self, verbosity: str) -> None: ...


def _unsaid(*_words: object) -> None:
    """esptool prints on its own that a port has no reset lines; :class:`_Steps` says it where it matters."""


@functools.cache
def _logger() -> _Log:
    """The process's one logger, installed in esptool at first use (it can be replaced only once)."""
    logger = _Log()
    log.set_logger(logger)
    EsptoolReset.print_once = staticmethod(_unsaid)
    leave_out()
    return logger


_HINTS = {
    "connect": "is the chip wired for auto-reset (DTR to IO0, RTS to EN)? At the chip's own USB: flash.before: "
    "usb-reset. Else hold BOOT while it starts; is another program using the port?",
    "stub": "a weak supply or a long cable shows here first; try a lower flash.baud, or flash.stub: false",
    "baud": "lower flash.baud in boards.yaml",
    "identify": "check the power supply; does the flash chip answer at all?",
    "compare": "the link lost data; lower flash.baud in boards.yaml",
    "write": "the link lost data, or the supply dips while the flash is written; lower flash.baud",
    "verify": "what was written does not read back: a worn flash, or a dipping supply",
}


class _Steps:
    """Names the step that is running, so that an error can say where it happened."""

    def __init__(self, port: serial.SerialBase, progress: Progress) -> None:
        self._port = port
        self._progress = progress
        self.logger = _logger()
        self.logger.begin(progress)
        self.no_lines = no_reset_lines(port)  # esptool closes it when it cannot connect
        self.done: list[tuple[str, float]] = []

    @contextmanager
    def __call__(self, step: str) -> Any:
        self.logger.step = step
        self._progress(step, 0, 0)
        started = time.perf_counter()
        try:
            yield
        except (FatalError, serial.SerialException, OSError) as problem:
            if step == "connect" and (why := self.no_lines):
                raise BenchFault(
                    f"{self._port.port}: flashing failed at step 'connect': this port has no reset lines ({why}), and "
                    "the chip is not in its boot loader",
                    hint="hold BOOT while the chip starts, with 'before: manual' under flash in boards.yaml; or give a "
                    "port with DTR and RTS (a USB adapter, rfc2217://); or 'method: none'",
                ) from None
            text = printable(str(problem).split("\nFor troubleshooting")[0].encode(), 300)
            raise BenchFault(
                f"{self._port.port}: flashing failed at step '{step}': {text}", hint=_HINTS.get(step, "")
            ) from None
        except _NONSENSE as problem:
            text = printable(f"{type(problem).__name__}: {problem}".encode(), 200)
            raise BenchFault(
                f"{self._port.port}: flashing failed at step '{step}': an answer makes no sense ({text})",
                hint=_HINTS.get(step, ""),
            ) from None
        finally:
            self.done.append((step, time.perf_counter() - started))


@contextmanager
def _entering_by(sequence: str) -> Iterator[None]:
    """Inside, esptool takes ``sequence`` into the boot loader, as from its configuration file; "": its own ones."""
    before = esptool_settings.get("custom_reset_sequence")
    if sequence:
        esptool_settings["custom_reset_sequence"] = sequence
    try:
        yield
    finally:
        if sequence and before is None:
            del esptool_settings["custom_reset_sequence"]
        elif sequence:
            esptool_settings["custom_reset_sequence"] = before


class EspFlasher:
    """A chip in download mode. Use as a context manager: it always ends with the chip's application starting."""

    def __init__(
        self,
        chip: str,
        port: serial.SerialBase,
        *,
        baud: int = 460800,
        progress: Progress = silent,
        connect_attempts: int = 7,
        before: str = "default-reset",
        stub: bool = True,
        console_baud: int = ROM_BAUD,
        reset: ResetStrategy | None = None,
        override: Mapping[str, str] | None = None,
        enter_by: str = "",
        attended: bool = False,
    ) -> None:
        """``reset`` starts the application in the end, ``override`` as ``flash.override`` of boards.yaml; ``enter_by``
        is a sequence into the boot loader in place of esptool's own; ``attended``: a person is there who can be asked
        for the boot loader."""
        self._chip = chip
        self._port = port
        self._baud = baud
        self._attempts = connect_attempts
        self._before = "no-reset" if before == "manual" else before
        self._use_stub = stub
        self._stub_runs = False
        self._console_baud = console_baud
        self._reset = reset or HardReset()
        self._override = override or {}
        self._enter_by = enter_by
        self._manual = before == "manual"
        self._attended = attended
        #: A person brought the chip into its boot loader, so no line starts its application.
        self.by_hand = False
        self._steps = _Steps(port, progress)
        self._esp: Any = None
        self._progress = progress
        self.identity: ChipIdentity

    def __enter__(self) -> EspFlasher:
        try:
            self._connect()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        _start_application(self._port, self._console_baud, self._reset)

    # -- connecting ------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Connect; a failure at a high rate is tried again at lower ones before it counts."""
        rates = [rate for rate in (self._baud, 230400, ROM_BAUD) if rate <= self._baud]
        for rate in rates:
            try:
                self._connect_at(rate)
                return
            except BenchFault:
                if rate == rates[-1] or not self._port.is_open or self._steps.done[-1][0] == "connect":
                    raise
                self._steps.logger.warning(f"no success at {rate} baud; trying a lower rate")

    def _connect_at(self, rate: int) -> None:
        step = self._steps
        with step("connect"):
            esp, other = self._met()
            if other and (again := self._met()[1]) != other:
                raise BenchFault(
                    f"{self._port.port}: the chip was asked twice what it is; esptool says: {other}; "
                    f"then: {again or self._chip}",
                    hint="the line loses or changes data: check the cable and the adapter; nothing was written",
                )
            if other:
                raise UsageError(
                    f"{self._port.port}: expected an {self._chip}; esptool says: {other}",
                    hint="correct the board's chip or identity in boards.yaml; nothing was written",
                )
            if esp.secure_download_mode:
                raise UsageError(
                    f"{self._port.port}: this chip is in secure download mode: it tells neither its MAC nor its flash "
                    "size, and what is written cannot be read back; nothing was written",
                    hint="take a chip that can be verified, or write it by flash.method: command",
                )
            security = security_of(esp)
        with step("stub"):
            if self._use_stub:
                esp = run_stub(esp)  # which has reasons of its own not to (secure boot on an ESP32-C3)
            self._stub_runs = bool(esp.IS_STUB)
        if rate > ROM_BAUD and self._stub_runs:
            with step("baud"):
                esp.change_baud(rate)
        with step("identify"):
            attach_flash(esp)
            text = detect_flash_size(esp)
            self.identity = ChipIdentity(
                chip=self._chip,
                description=printable(str(esp.get_chip_description()).encode(), 100),
                mac=_mac(esp),
                flash_size=flash_size_bytes(text) if text else None,
                security=security,
            )
        self._esp = esp

    def _met(self) -> tuple[Any, str]:
        """The chip in its boot loader, and esptool's words when it calls itself another one: a register's value comes
        over the line without a checksum that could be seen to be wrong."""
        self._port.baudrate = ROM_BAUD
        esp = CHIP_DEFS[self._chip](self._port, ROM_BAUD)
        esp.USES_RFC2217 = str(self._port.port).startswith("rfc2217:")
        try:
            self._enter_loader(esp)
        except FatalError as problem:
            if "This chip is" not in str(problem):
                raise
            return esp, printable(str(problem).encode(), 200)
        return esp, ""

    def _enter_loader(self, esp: Any) -> None:
        """Raises FatalError for another chip, BenchFault when the boot loader is not reached."""
        try:
            with _entering_by(self._enter_by):
                # What is to be in its boot loader answers at once; whoever is to bring it there is asked for it.
                esp.connect(self._before, 2 if self._manual else self._attempts)
            return
        except FatalError as problem:
            if "This chip is" in str(problem):
                raise
            if self._steps.no_lines and not self._attended:
                raise
            if self._manual and not self._attended:
                raise nobody_there(self._port, self._chip) from None
            if not self._attended:
                found = look(self._port, self._chip, self._reset)
                raise BenchFault(
                    f"{self._port.port}: the boot loader does not answer, and {found.what}", hint=found.hint
                ) from None
        wait_for_hands(self._port, self._chip, lambda: esp.connect("no-reset", 1), self._progress)
        self.by_hand = True

    # -- work ------------------------------------------------------------------------------------

    def plan(self, image: FlashImage) -> Plan:
        """What of ``image`` is not on the chip yet, by the chip's own MD5."""
        if not self._stub_runs and self._chip == "esp8266":  # its ROM computes no MD5
            return Plan((Write(image.offset, image.data),), 0)
        with self._steps("compare"):
            return plan(image.offset, image.data, self._md5)

    def _md5(self, offset: int, size: int) -> str:
        return str(self._esp.flash_md5sum(offset, size)).lower()

    def write(self, images: list[FlashImage]) -> FlashReport:
        """Write what differs and verify it. Nothing is erased when an image does not fit."""
        started = time.perf_counter()
        size = self.identity.flash_size
        _check_places(images)
        for image in images:
            if size is not None and image.offset + len(image.data) > size:
                end = image.offset + len(image.data)
                raise UsageError(
                    f"{image.label} needs 0x{end:x} bytes of flash, this chip has 0x{size:x}",
                    hint="use an image for this flash size; nothing was written",
                )
        report = FlashReport(self.identity)
        with self._steps("check"):
            report.overridden = refuse_unsafe(self._esp, self._chip, images, size, self._override)
        plans = [(image, self.plan(image)) for image in images]
        report.unchanged = sum(todo.unchanged for _, todo in plans)
        if any(todo.writes for _, todo in plans):
            with self._steps("write"):
                write_flash(
                    self._esp,
                    # All at once: what esptool itself refuses it refuses before the first of them is erased.
                    [(write.offset, write.data) for _, todo in plans for write in todo.writes],
                    compress=self._stub_runs or None,
                    force=bool(report.overridden),
                )
            report.written = sum(todo.size for _, todo in plans)
        for image, todo in plans:
            if todo.writes and (self._stub_runs or self._chip != "esp8266"):
                with self._steps("verify"):
                    if self._md5(image.offset, len(image.data)) != md5(image.data):
                        raise FatalError(f"MD5 of {image.label} on the chip differs from the file's")
        report.by_hand = self.by_hand
        report.proved = self._stub_runs or self._chip != "esp8266"
        report.steps = self._steps.done
        report.warnings = [*report.overridden, *self._steps.logger.warnings]
        report.seconds = time.perf_counter() - started
        return report

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes of the flash."""
        with self._steps("read"):
            data: bytes = self._esp.read_flash(offset, size)
            return data


def _mac(esp: Any) -> str:
    return ":".join(f"{byte:02x}" for byte in esp.read_mac())


def _check_places(images: list[FlashImage]) -> None:
    """Raises UsageError for images that begin inside a sector or on each other."""
    end, before = 0, ""
    for image in sorted(images, key=lambda image: image.offset):
        if image.offset % SECTOR:
            raise UsageError(
                f"{image.label} is to be written to 0x{image.offset:x}, inside a sector of the flash",
                hint=f"offsets are multiples of 0x{SECTOR:x}; nothing was written",
            )
        if image.offset < end:
            raise UsageError(
                f"{image.label} at 0x{image.offset:x} would overwrite the end of {before} (0x{end:x})",
                hint="correct the offsets in boards.yaml; nothing was written",
            )
        end, before = image.offset + len(image.data), image.label


def identify(
    port: serial.SerialBase, *, connect_attempts: int = 7, console_baud: int = ROM_BAUD, progress: Progress = silent
) -> ChipIdentity:
    """Which chip is at ``port``, whatever ESP it is. Ends with its application starting.

    Newer chips say their number; ESP8266, ESP32 and ESP32-S2 are told by a word of their ROM (esptool
    documentation, "Serial Protocol", "Chip detection"). Raises BenchFault when none answers.
    """
    step = _Steps(port, progress)
    try:
        with step("connect"):
            port.baudrate = ROM_BAUD
            found = ESPLoader(port, ROM_BAUD)
            found.USES_RFC2217 = str(port.port).startswith("rfc2217:")
            found.connect("default-reset", connect_attempts, detecting=True)
        with step("identify"):
            esp = _detected(found)(port, ROM_BAUD)
            chip = next(name for name, rom in CHIP_DEFS.items() if rom is type(esp))
            security = security_of(esp)
            if security is not None and security.secure_download:  # it tells nothing else
                return ChipIdentity(chip, str(esp.CHIP_NAME), "", None, security=security)
            attach_flash(esp)
            text = detect_flash_size(esp)
            return ChipIdentity(
                chip=chip,
                description=printable(str(esp.get_chip_description()).encode(), 100),
                mac=_mac(esp),
                flash_size=flash_size_bytes(text) if text else None,
                security=security,
            )
    finally:
        _start_application(port, console_baud, HardReset())


def _detected(found: Any) -> Any:
    """The esptool class for the chip that ``found`` is connected to."""
    try:
        number = found.get_chip_id()
        fitting = [rom for rom in ROM_LIST if not rom.USES_MAGIC_VALUE and number == rom.IMAGE_CHIP_ID]
    except (UnsupportedCommandError, FatalError):
        try:
            number = found.read_reg(ESPLoader.CHIP_DETECT_MAGIC_REG_ADDR)
        except UnsupportedCommandError:  # by esptool's detection: only an ESP32-S2 in secure download mode
            return CHIP_DEFS["esp32s2"]
        fitting = [rom for rom in ROM_LIST if rom.USES_MAGIC_VALUE and number == rom.MAGIC_VALUE]
    if not fitting:
        raise FatalError(f"the chip calls itself 0x{number:x}, which esptool {esptool_version()} does not know")
    return fitting[0]


def _start_application(port: serial.SerialBase, console_baud: int, reset: ResetStrategy) -> None:
    """Reset into the application, at the console's baud rate again."""
    if not port.is_open:
        return
    try:
        port.baudrate = console_baud
        reset(port)
        port.reset_input_buffer()  # type: ignore[attr-defined]
    except (serial.SerialException, OSError, BenchFault):
        return  # the port is gone: whoever uses it next will say so


def esptool_version() -> str:
    return str(esptool.__version__)


def _make(job: FlashJob) -> EspFlasher:
    settings = job.board.flash
    return EspFlasher(
        job.board.chip,
        job.port,
        baud=settings.baud,
        progress=job.progress,
        connect_attempts=settings.connect_attempts,
        before=settings.before,
        stub=settings.stub,
        console_baud=job.board.console.baud,
        reset=strategy_for(job.board),
        override={str(check): reason for check, reason in settings.override.items()},
        attended=job.attended,
        enter_by=boot_loader_sequence(job.board.reset.invert) if settings.before == "default-reset" else "",
    )


METHOD = FlashingMethod("esptool", _make)
