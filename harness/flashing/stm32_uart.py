"""Flashing STM32 chips through the boot loader in their system memory (AN3155), by stm32loader's API.

NRST hangs on DTR and BOOT0 on RTS unless boards.yaml says otherwise, asserted DTR is reset, asserted RTS is BOOT0
low: what stm32loader's own command line expects.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Collection, Iterator
from typing import Any, Self

import serial
from stm32loader.bootloader import CommandError, Stm32Bootloader, Stm32LoaderError

from harness.chips import STM32_FLASH_BASE, Device
from harness.errors import BenchFault, UsageError
from harness.flashing.flasher import ChipIdentity, FlashImage, FlashingMethod, FlashJob, FlashReport, Progress, silent
from harness.flashing.stm32_plan import CHUNK, Stm32Plan, check_places, make_plan
from harness.flashing.stm32_sectors import Sector, device_of, sectors_of
from harness.link.panics import printable
from harness.link.ports import is_pty
from harness.power.reset import CommandReset, CustomReset, stm32_sequence

#: Seconds to wait for an answer; erasing has its own time.
_PATIENCE = 2.0
_ERASE_PATIENCE = 30.0
#: How often a chip has to refuse being read before it counts as protected.
_ASKED = 3
#: Kilobytes that are erased by one command: the slowest chips take some 30 ms for each.
_ERASE_AT_ONCE = 512 * 1024
#: What is looked at of a sector after it was erased; what stands further on is found when it is verified.
_SAMPLE = 64
_NONSENSE = (ValueError, IndexError, TypeError, AttributeError)


class _Line:
    """The open port as stm32loader wants it. Its own flush never runs, so that is done here.

    stm32loader writes piece by piece (a code, a length, the data, a checksum), each a packet of its own on USB or the
    network; here they leave together, when an answer is waited for.
    """

    def __init__(self, port: Any) -> None:
        self._port = port
        self._pending = bytearray()
        self.sent = self.received = 0

    def write(self, data: bytes) -> int:
        self._pending += data
        return len(data)

    def read(self, length: int = 1) -> bytes:
        pending, self._pending = bytes(self._pending), bytearray()
        if pending:
            self._port.write(pending)
            self.sent += len(pending)
        data: bytes = self._port.read(length)
        self.received += len(data)
        return data

    @property
    def timeout(self) -> float:
        return float(self._port.timeout)

    @timeout.setter
    def timeout(self, seconds: float) -> None:
        if self._port.timeout != seconds:
            self._port.timeout = seconds

    def flush_input_buffer(self) -> None:
        self._pending.clear()
        self._port.reset_input_buffer()


class Stm32UartFlasher:
    """A chip in its system boot loader. Use as a context manager: it always ends with the application starting.

    ``lines`` says how NRST and BOOT0 differ from the usual wiring (``swapped``, ``reset-inverted``,
    ``boot0-inverted``), ``boot_command`` is a program in place of the lines; ``before`` is ``default-reset``,
    ``no-reset`` (the loader runs already) or ``manual``. ``unprotect`` allows to lift a readout protection, by which
    the chip erases its whole flash, and a write protection.
    """

    def __init__(
        self,
        chip: str,
        port: Any,
        *,
        baud: int = 115200,
        progress: Progress = silent,
        connect_attempts: int = 3,
        before: str = "default-reset",
        lines: Collection[str] = (),
        boot_command: tuple[str, ...] = (),
        unprotect: bool = False,
        console_baud: int = 115200,
    ) -> None:
        self._chip = chip
        self._port = port
        self._baud = min(baud, 115200)  # the boot loaders' limit (AN2606), whatever the adapter can
        self._progress = progress
        self._attempts = connect_attempts
        self._before = before
        self._lines = lines
        self._boot_command = boot_command
        self._unprotect = unprotect
        self._console_baud = console_baud
        self._restore_timeout = port.timeout
        self.line = _Line(port)
        self._loader = Stm32Bootloader(self.line, verbosity=0, show_progress=_no_bar)
        self._step = ""
        self._report_steps: list[tuple[str, float]] = []
        self._warnings: list[str] = []
        self._device: Device
        self._sectors: list[Sector]
        self.identity: ChipIdentity

    # -- connecting ------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            with self._doing("connect"):
                self._connect()
            self._identify()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    @property
    def _has_parity(self) -> bool:
        """Even parity, as the boot loader has it, cannot be set on a pseudo-terminal; and nobody needs it there."""
        return not is_pty(self._port)

    @property
    def _resets(self) -> bool:
        return self._before == "default-reset" and (bool(self._boot_command) or not is_pty(self._port))

    def _reset(self, *, boot0: bool) -> None:
        if self._boot_command:
            CommandReset(self._boot_command, boot0)(self._port)
        else:
            CustomReset(stm32_sequence(self._lines, boot0=boot0))(self._port)

    def _connect(self) -> None:
        self._port.baudrate = self._baud
        self._port.timeout = _PATIENCE / 2
        if self._has_parity:
            self._port.parity = serial.PARITY_EVEN
        attempts = self._attempts if self._resets else 1
        for attempt in range(1, attempts + 1):
            if self._resets:
                self._reset(boot0=True)
            heard = self._synchronize()
            if heard is None:
                break
            if attempt == attempts:
                came = f"came {printable(heard, 60)!r}" if heard else "nothing answered"
                raise BenchFault(
                    f"{self._port.port}: flashing failed at step 'connect': "
                    f"the boot loader was asked with 0x7F, {came}",
                    hint="does BOOT0 reach RTS and NRST reach DTR (flash.lines: swapped, reset-inverted, "
                    "boot0-inverted)? Without such wires hold BOOT0 high, reset, and set flash.before: manual. "
                    "Nothing was erased",
                )
        self.line.timeout = _PATIENCE
        self._loader.get()

    def _synchronize(self) -> bytes | None:
        """None when the boot loader answered; else what came. A loader that is in step already takes the first 0x7F
        for half of a command and refuses the pair: that is an answer, too."""
        self.line.flush_input_buffer()
        for _ in range(2):
            self.line.write(b"\x7f")
            answer = self.line.read(1)
            if answer in (b"\x79", b"\x1f"):
                return None
            if answer:
                return answer + self.line.read(32)
        return b""

    def _identify(self) -> None:
        with self._doing("identify"):
            device_id = self._loader.get_id()
            try:
                device_of(self._chip, int(device_id), str(self._port.port))
            except UsageError:  # the id has no checksum
                if (again := self._loader.get_id()) != device_id:
                    raise BenchFault(
                        f"{self._port.port}: the chip was asked twice for its device id; "
                        f"it said 0x{int(device_id):03x}, then 0x{int(again):03x}",
                        hint="the line loses or changes data: check the cable and the adapter; nothing was written",
                    ) from None
            self._device = device_of(self._chip, int(device_id), str(self._port.port))
            if self._is_protected():
                self._lift_protection()
            # Some F4 give the whole block that holds both, and nothing smaller (stm32loader's finding).
            block = self._device.uid_at & ~0xFF
            signature = self._read(block, 256)
            uid = signature[self._device.uid_at - block :][:12]
            kilobytes = int.from_bytes(signature[self._device.size_at - block :][:2], "little")
            size = kilobytes * 1024 if 0 < kilobytes <= 4096 else None
            self._sectors = sectors_of(self._chip, self._device, size)
            description = f"{self._chip} (device id 0x{int(device_id):03x})"
            self.identity = ChipIdentity(self._chip, description, "", size, uid.hex())

    def _is_protected(self) -> bool:
        """Readout protection refuses the command itself (AN3155, "Read Memory command"), each time.

        So is a command refused that was damaged on its way, and lifting a protection erases the chip: it is asked
        again.
        """
        for _ in range(_ASKED):
            try:
                self._loader.read_memory(STM32_FLASH_BASE, 4)
            except CommandError as problem:
                if str(problem) != "NACK Command":
                    raise
            else:
                return False
        return True

    def _lift_protection(self) -> None:
        if not self._unprotect:
            raise UsageError(
                f"{self._port.port}: the chip is protected against readout; "
                "what it holds cannot be compared or written",
                hint="to lift that, by which the chip erases its whole flash: flash.unprotect: true. "
                "Nothing was erased",
            )
        self._lift(Stm32Bootloader.Command.READOUT_UNPROTECT)
        self._warnings.append("the readout protection was lifted; the chip erased its whole flash")

    def _lift(self, command: Stm32Bootloader.Command) -> None:
        """Not by stm32loader's methods: they wait for 20 s whatever the chip needs. It resets itself in the end."""
        self._progress("unprotect", 0, 0)
        self._loader.command(command, command.name)
        self.line.timeout = _ERASE_PATIENCE
        if self.line.read(1) != b"\x79":
            raise CommandError("no answer after the protection was to be lifted")
        self._connect()

    # -- work ------------------------------------------------------------------------------------

    def read(self, offset: int, size: int) -> bytes:
        """Read ``size`` bytes at the address ``offset``."""
        with self._doing("read"):
            return self._read(offset, size)

    def _read(self, address: int, size: int) -> bytes:
        content = bytearray()
        while len(content) < size:
            wanted = min(CHUNK, size - len(content))
            piece = self._loader.read_memory(address + len(content), wanted)
            if len(piece) != wanted:
                raise CommandError(f"{len(piece)} bytes came for {wanted} at 0x{address + len(content):08x}")
            content += piece
            self._progress(self._step, len(content), size)
        return bytes(content)

    def plan(self, images: list[FlashImage]) -> Stm32Plan:
        """What must be erased and written. Raises UsageError when an image does not fit; nothing was erased."""
        check_places(images, self._sectors)
        with self._doing("compare"):
            return make_plan(images, self._sectors, self._read, piece=CHUNK)

    def write(self, images: list[FlashImage]) -> FlashReport:
        """Write what differs and read it back."""
        started = time.perf_counter()
        todo = self.plan(images)
        if todo.erase:
            with self._doing("erase"):
                self._erase(todo.erase)
                self._require_erased(todo.erase)
        if todo.write:
            with self._doing("write"):
                done = 0
                for address, data in todo.write:
                    self._loader.write_memory(address, data)
                    done += len(data)
                    self._progress("write", done, todo.size)
            with self._doing("verify"):
                self._verify(todo)
        report = FlashReport(self.identity, todo.size, todo.unchanged)
        report.steps = self._report_steps
        report.warnings = self._warnings
        report.seconds = time.perf_counter() - started
        return report

    def _erase(self, sectors: tuple[Sector, ...]) -> None:
        self.line.timeout = _ERASE_PATIENCE
        try:
            self._erase_sectors(sectors)
        finally:
            self.line.timeout = _PATIENCE

    def _require_erased(self, sectors: tuple[Sector, ...]) -> None:
        """A sector that is protected against writing is not erased, and the boot loader says nothing of it (AN3155)."""
        kept = self._not_erased(sectors)
        if kept and self._unprotect:
            self._lift(Stm32Bootloader.Command.WRITE_UNPROTECT)
            self._warnings.append("the write protection was lifted")
            self._erase(kept)
            kept = self._not_erased(kept)
        if kept:
            numbers = ", ".join(str(sector.number) for sector in kept[:8]) + (", …" if len(kept) > 8 else "")
            raise UsageError(
                f"{self._port.port}: sectors {numbers} were to be erased and hold what they held: "
                "they are protected against writing",
                hint="to lift that for the whole chip: flash.unprotect: true. Nothing was written"
                + (f"; {len(sectors) - len(kept)} other sectors are erased" if len(kept) < len(sectors) else ""),
            )

    def _not_erased(self, sectors: tuple[Sector, ...]) -> tuple[Sector, ...]:
        beginnings = [(sector, self._loader.read_memory(sector.address, _SAMPLE)) for sector in sectors]
        return tuple(sector for sector, there in beginnings if there.count(0xFF) != _SAMPLE)

    def _erase_sectors(self, sectors: tuple[Sector, ...]) -> None:
        if len(sectors) == len(self._sectors):
            self._loader.erase_memory()
            return
        batch: list[int] = []
        size = done = 0
        for position, sector in enumerate(sectors):
            batch.append(sector.number)
            size += sector.size
            last = position == len(sectors) - 1
            if last or size + sectors[position + 1].size > _ERASE_AT_ONCE or len(batch) == 128:
                self._loader.erase_memory(batch)
                done += len(batch)
                batch, size = [], 0
                self._progress("erase", done, len(sectors))

    def _verify(self, todo: Stm32Plan) -> None:
        done = 0
        for address, data in todo.write:
            there = self._loader.read_memory(address, len(data))
            if bytes(there) != data:
                at = next(n for n, (expected, other) in enumerate(zip(data, there, strict=False)) if expected != other)
                raise CommandError(f"0x{address + at:08x} holds 0x{there[at]:02x}, written was 0x{data[at]:02x}")
            done += len(data)
            self._progress("verify", done, todo.size)

    # -- leaving and errors ----------------------------------------------------------------------

    def _leave(self) -> None:
        if not self._port.is_open:
            return
        with contextlib.suppress(serial.SerialException, OSError, BenchFault, Stm32LoaderError, *_NONSENSE):
            if not self._resets:  # BOOT0 may be held high by hand: a jump starts the application all the same
                with _quiet():
                    self._loader.go(STM32_FLASH_BASE)
            self._port.timeout = self._restore_timeout
            if self._has_parity:
                self._port.parity = serial.PARITY_NONE
            self._port.baudrate = self._console_baud
            if self._resets:
                self._reset(boot0=False)
            self._port.reset_input_buffer()

    @contextlib.contextmanager
    def _doing(self, step: str) -> Iterator[None]:
        self._step = step
        self._progress(step, 0, 0)
        started = time.perf_counter()
        try:
            with _quiet():
                yield
        except (Stm32LoaderError, serial.SerialException, OSError, *_NONSENSE) as problem:
            text = printable(str(problem).encode(), 200)
            raise BenchFault(
                f"{self._port.port}: flashing failed at step '{step}': {text or type(problem).__name__}",
                hint=_HINTS.get(step, "the line loses data, or the chip lost its supply"),
            ) from None
        finally:
            self._report_steps.append((step, time.perf_counter() - started))


_HINTS = {
    "connect": "something answers, but not a boot loader: is flash.baud a rate of this adapter?",
    "erase": "pages that are write-protected, or a dipping supply; the next run writes again what is missing",
    "write": "the line lost data, or the supply dips; the next run writes again what is missing",
    "verify": "is that part write-protected? Then lift it with the vendor's tool; or the flash is worn",
}


def _quiet() -> contextlib.AbstractContextManager[object]:
    """stm32loader talks on standard error."""
    return contextlib.redirect_stderr(io.StringIO())


@contextlib.contextmanager
def _no_bar(_message: str, maximum: int = 0) -> Iterator[Any]:
    class Bar:
        def next(self) -> None: ...

    yield Bar()


def _make(job: FlashJob) -> Stm32UartFlasher:
    settings = job.board.flash
    return Stm32UartFlasher(
        job.board.chip,
        job.port,
        baud=settings.baud,
        progress=job.progress,
        connect_attempts=settings.connect_attempts,
        before=settings.before,
        lines=settings.lines,
        boot_command=settings.boot_command,
        unprotect=settings.unprotect,
        console_baud=job.board.console.baud,
    )


METHOD = FlashingMethod("stm32-uart", _make)
