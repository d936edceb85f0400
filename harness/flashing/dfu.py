"""Flashing an STM32 through the USB boot loader in its system memory (AN3156, DfuSe), by dfu-util.

dfu-util is a program of its own (Debian: ``dfu-util``); version 0.9 or newer. Options: dfu-util(1). The string that
tells the memory's layout: UM0424, "DfuSe USB device firmware upgrade", "Memory mapping descriptor".
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.children import run_child
from harness.chips import STM32_FLASH_BASE
from harness.errors import BenchFault, FinalFault, UsageError
from harness.flashing.flasher import ChipIdentity, FlashingMethod, FlashJob
from harness.flashing.stm32_access import AccessFailed, AccessFlasher
from harness.flashing.stm32_sectors import Sector, geometry_of, sectors_of
from harness.link.host_system import this_system
from harness.link.panics import printable

#: The boot loader of all STM32 (AN2606).
VID_PID = "0483:df11"
_FOUND = re.compile(
    r'^Found DFU: \[([0-9a-f]{4}:[0-9a-f]{4})\].*?, path="([^"]{0,80})", alt=(\d+), name="([^"]{0,400})", '
    r'serial="([^"]{0,200})"',
    re.M,
)
_SEGMENT = re.compile(r"(\d{1,4})\*(\d{1,4})([ BKM])([a-g])")
_UNITS = {" ": 1, "B": 1, "K": 1024, "M": 1024 * 1024}
#: Bits of a segment's letter, of which ``a`` is 1.
_READABLE, _ERASABLE, _WRITEABLE = 1, 2, 4
_MOST_SECTORS = 4096
_LIST_PATIENCE, _WORK_PATIENCE = 20.0, 300.0
#: How long a board may take to come back as a boot loader, in seconds.
_ENTER_PATIENCE = 10.0


@dataclass(frozen=True)
class DfuDevice:
    """One boot loader as dfu-util lists it. ``memory`` is the string of its alternate setting for the flash."""

    path: str
    serial: str
    alt: int
    memory: str

    def __str__(self) -> str:
        return f"path {self.path}, serial {self.serial}: {self.memory}"


def parse_list(text: str) -> list[DfuDevice]:
    """The STM32 boot loaders in the output of ``dfu-util -l``, each once, by its internal flash."""
    devices = []
    for vid_pid, path, alt, name, serial in _FOUND.findall(text[:200_000]):
        if vid_pid == VID_PID and name.startswith("@Internal Flash"):
            path, name, serial = (printable(one.encode(), 400) for one in (path, name, serial))
            devices.append(DfuDevice(path, serial, int(alt), name))
    return devices


def parse_memory(text: str) -> list[tuple[Sector, int]]:
    """Sectors and what may be done with each (bits: 1 read, 2 erase, 4 write), from a memory mapping string.

    ``@Internal Flash  /0x08000000/04*016Kg,01*064Kg,07*128Kg``. Raises AccessFailed for anything else.
    """
    _, *parts = text.split("/")
    sectors: list[tuple[Sector, int]] = []
    for start, layout in zip(parts[::2], parts[1::2], strict=False):
        if not re.fullmatch(r"0x[0-9A-Fa-f]{1,8}", start.strip()):
            break
        address = int(start, 16)
        for segment in layout.split(","):
            match = _SEGMENT.fullmatch(segment.strip())
            if match is None or len(sectors) + int(match[1]) > _MOST_SECTORS or not int(match[2]):
                raise AccessFailed(f"the device's memory layout makes no sense: {text[:200]!r}")
            size = int(match[2]) * _UNITS[match[3]]
            for _ in range(int(match[1])):
                sectors.append((Sector(len(sectors), address, size), ord(match[4]) & 7))
                address += size
    if not sectors:
        raise AccessFailed(f"the device tells no memory layout: {text[:200]!r}")
    return sectors


class DfuUtil:
    """An :class:`~harness.flashing.stm32_access.Access` by dfu-util.

    ``serial`` and ``path`` choose among several devices. ``enter`` is asked once to bring the board into its boot
    loader when none is found; None: that has been done by hand.
    """

    def __init__(
        self,
        chip: str,
        *,
        serial: str | None = None,
        path: str | None = None,
        enter: Callable[[], None] | None = None,
        patience: float = _ENTER_PATIENCE,
    ) -> None:
        self._chip = chip
        self._serial = serial
        self._path = path
        self._enter = enter
        self._patience = patience
        self._device: DfuDevice | None = None
        self.where = f"dfu-util ({serial or path or 'any device'})"

    def _entered(self, enter: Callable[[], None]) -> list[DfuDevice]:
        """The devices after ``enter`` has been asked. A board that is just starting has its port soon, or is in its
        boot loader by itself. Raises the BenchFault of ``enter`` when neither came."""
        deadline = time.monotonic() + self._patience
        trouble: BenchFault | None = BenchFault(f"{self.where}: the board could not be asked into its boot loader")
        devices: list[DfuDevice] = []
        while not devices and time.monotonic() < deadline:
            if trouble is not None:
                try:
                    enter()
                    trouble = None
                except FinalFault:
                    raise
                except BenchFault as problem:
                    trouble = problem
            time.sleep(0.2)
            devices = self._matching()
        if not devices and trouble is not None:
            raise trouble
        return devices

    def open(self) -> tuple[ChipIdentity, Sequence[Sector]]:
        devices = self._matching()
        if not devices and self._enter is not None:
            devices = self._entered(self._enter)
        if len(devices) != 1:
            listed = "".join(f"\n    {device}" for device in devices) or " none"
            raise BenchFault(
                f"{self.where}: expected one STM32 boot loader on USB, found{listed}",
                hint="give flash.probe (its serial) or identity.usb_location (its path)"
                if devices
                else "hold BOOT0 high while the board starts, or run machine.bootloader() on it; "
                "may this user write to the USB device (udev rule for 0483:df11)?",
            )
        self._device = devices[0]
        layout = parse_memory(devices[0].memory)
        sectors = [sector for sector, _ in layout if sector.address >= STM32_FLASH_BASE]
        self._require_chip(sectors)
        if any(allowed & (_ERASABLE | _WRITEABLE) != _ERASABLE | _WRITEABLE for _, allowed in layout):
            raise UsageError(
                f"{self.where}: the boot loader lets parts of the flash only be read: {devices[0].memory}",
                hint="lift the write protection with the vendor's tool; nothing was erased",
            )
        if any(not allowed & _READABLE for _, allowed in layout):
            raise UsageError(
                f"{self.where}: the boot loader does not let the flash be read: {devices[0].memory}",
                hint="lifting a readout protection erases the chip: that is left to the vendor's tool",
            )
        size = sum(sector.size for sector in sectors)
        return ChipIdentity(self._chip, devices[0].memory, "", size), sectors

    def _require_chip(self, sectors: Sequence[Sector]) -> None:
        """DfuSe tells no device id; the way the flash is cut is what can be compared."""
        size = sum(sector.size for sector in sectors)
        for device in geometry_of(self._chip).devices.values():
            if [s.size for s in sectors] == [s.size for s in sectors_of(self._chip, device, size)]:
                return
        assert self._device is not None
        raise UsageError(
            f"{self.where}: expected the flash of an {self._chip}, the device has {self._device.memory}",
            hint="correct the board's chip or identity in boards.yaml; nothing was written",
        )

    def _matching(self) -> list[DfuDevice]:
        return [
            device
            for device in parse_list(self._run(["-l"], _LIST_PATIENCE))
            if self._serial in (None, device.serial) and self._path in (None, device.path)
        ]

    def read(self, address: int, size: int) -> bytes:
        with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
            file = Path(folder) / "read.bin"
            self._on_device(f"0x{address:08x}:{size}", "-U", str(file))
            return file.read_bytes()[:size]

    def write(self, address: int, data: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
            file = Path(folder) / "write.bin"
            file.write_bytes(data)
            self._on_device(f"0x{address:08x}", "-D", str(file))

    def close(self) -> None:
        if self._device is None:
            return
        # Leaving is an option of a transfer: the least that can be transferred is read. That dfu-util fails to hear of
        # a device that has left already is no news; whether the application answers is found out by talking to it.
        with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
            self._on_device(f"0x{STM32_FLASH_BASE:08x}:4:leave", "-U", str(Path(folder) / "none.bin"))
        self._device = None

    def _on_device(self, options: str, *action: str) -> None:
        assert self._device is not None
        device = self._device
        chosen = ["-d", VID_PID, "-p", device.path, "-a", str(device.alt), "-s", options]
        self._run([*chosen, *action], _WORK_PATIENCE)

    def _run(self, arguments: list[str], patience: float) -> str:
        program = shutil.which("dfu-util")
        if program is None:
            raise UsageError(
                "flash.method dfu needs the program dfu-util", hint=this_system().install_command("dfu-util")
            )
        try:
            done = run_child([program, *arguments], timeout=patience)
        except subprocess.TimeoutExpired:
            raise AccessFailed(f"dfu-util {' '.join(arguments)}: no end after {patience:g} s") from None
        text = done.output.decode("utf-8", "replace")
        if done.code:
            said = (done.errors[-2000:].decode("utf-8", "replace").strip() or text.strip()).splitlines()
            raise AccessFailed(f"dfu-util ended with {done.code}: {' / '.join(said[-3:])}")
        return text


def _make(job: FlashJob) -> AccessFlasher:
    board, identity = job.board, job.board.identity
    serial = board.flash.probe or (identity.usb_serial if identity else None)
    path = identity.usb_location if identity and not serial else None
    by_hand = board.flash.before in ("manual", "no-reset")
    enter = None if by_hand else job.enter_loader
    return AccessFlasher(DfuUtil(board.chip, serial=serial, path=path, enter=enter), progress=job.progress)


METHOD = FlashingMethod("dfu", _make, needs_port=False)
