"""Flashing an STM32 through a debug probe: by pyocd, or by OpenOCD where boards.yaml names its configuration files.

Neither is a dependency of the harness: ``pip install pyocd``, or the program ``openocd`` (Debian: ``openocd``, 0.12 or
newer). pyocd: "Python API" and "Session options" of its documentation; OpenOCD: its User's Guide, "Flash Commands" and
"General Commands". Device id: register DBGMCU_IDCODE of the reference manuals.
"""

from __future__ import annotations

import importlib
import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from harness.children import run_child
from harness.errors import BenchFault, HarnessError, UsageError
from harness.flashing.flasher import ChipIdentity, FlashingMethod, FlashJob
from harness.flashing.stm32_access import AccessFailed, AccessFlasher
from harness.flashing.stm32_sectors import Sector, device_of, geometry_of, sectors_of
from harness.link.host_system import this_system

_PATIENCE = 120.0
_WORD = re.compile(r"^0x([0-9a-f]{8}): ([0-9a-f]{8})", re.M)
_UID_SIZE = 12


def _identified(chip: str, where: str, idcode: int, uid: bytes, kilobytes: int) -> tuple[ChipIdentity, list[Sector]]:
    device_id = idcode & 0xFFF
    device = device_of(chip, device_id, where)
    size = kilobytes * 1024 if 0 < kilobytes <= 4096 else None
    identity = ChipIdentity(chip, f"{chip} (device id 0x{device_id:03x})", "", size, uid.hex())
    return identity, sectors_of(chip, device, size)


class PyOcd:
    """An :class:`~harness.flashing.stm32_access.Access` by pyocd's Python API.

    ``probe`` is (a part of) the probe's unique id; ``target`` pyocd's name of the chip, found by the board when None.
    """

    def __init__(self, chip: str, *, probe: str | None = None, target: str | None = None) -> None:
        self._chip = chip
        self._probe = probe
        self._options: dict[str, Any] = {"connect_mode": "under-reset", "no_config": True}
        if target:
            self._options["target_override"] = target
        self._stack = ExitStack()
        self._session: Any = None
        self.where = f"pyocd (probe {probe or 'any'})"

    def open(self) -> tuple[ChipIdentity, Sequence[Sector]]:
        helpers = _pyocd("core.helpers")
        with _told():
            session = helpers.ConnectHelper.session_with_chosen_probe(
                blocking=False, return_first=self._probe is None, unique_id=self._probe, options=self._options
            )
            if session is None:
                raise BenchFault(
                    f"{self.where}: no such debug probe is plugged in",
                    hint="`pyocd list` shows the probes; flash.probe is the unique id of one of them",
                )
            self._session = self._stack.enter_context(session)
        idcode = int.from_bytes(self.read(geometry_of(self._chip).debug_id_at, 4), "little")
        device = device_of(self._chip, idcode & 0xFFF, self.where)
        uid = self.read(device.uid_at, _UID_SIZE)
        kilobytes = int.from_bytes(self.read(device.size_at, 2), "little")
        return _identified(self._chip, self.where, idcode, uid, kilobytes)

    def read(self, address: int, size: int) -> bytes:
        with _told():
            return bytes(self._session.target.read_memory_block8(address, size))

    def write(self, address: int, data: bytes) -> None:
        programmer = _pyocd("flash.file_programmer").FileProgrammer
        with _told():
            # Sectors only: what no image covers stays. The harness has compared already, by content.
            loader = programmer(self._session, chip_erase="sector", smart_flash=False, trust_crc=False)
            loader.program(io.BytesIO(data), file_format="bin", base_address=address)

    def close(self) -> None:
        if self._session is None:
            return
        session, self._session = self._session, None
        with _told(), self._stack:
            session.target.reset()


def _pyocd(name: str) -> Any:
    try:
        return importlib.import_module(f"pyocd.{name}")
    except ImportError:
        raise UsageError(
            "flash.method swd needs pyocd, which is not installed here",
            hint="pip install pyocd; or name OpenOCD's configuration files in flash.openocd",
        ) from None


@contextmanager
def _told() -> Iterator[None]:
    """What pyocd raises, as :class:`AccessFailed`: its own errors all derive from one, a USB library's do not."""
    try:
        yield
    except (AccessFailed, HarnessError):
        raise
    except Exception as problem:
        raise AccessFailed(f"{type(problem).__name__}: {problem}") from None


class OpenOcd:
    """An :class:`~harness.flashing.stm32_access.Access` by the program ``openocd``, run once for each action."""

    def __init__(self, chip: str, files: Sequence[str], *, probe: str | None = None) -> None:
        self._chip = chip
        self._start = [argument for file in files for argument in ("-f", file)]
        if probe:
            self._start += ["-c", f"adapter serial {probe}"]
        self.where = f"openocd (probe {probe or 'any'})"
        self._opened = False

    def open(self) -> tuple[ChipIdentity, Sequence[Sector]]:
        idcode = self._word(geometry_of(self._chip).debug_id_at)
        device = device_of(self._chip, idcode & 0xFFF, self.where)
        self._opened = True
        uid = self.read(device.uid_at, _UID_SIZE)
        kilobytes = int.from_bytes(self.read(device.size_at & ~3, 4)[device.size_at & 3 :][:2], "little")
        return _identified(self._chip, self.where, idcode, uid, kilobytes)

    def _word(self, address: int) -> int:
        said = self._run("init", "reset halt", f"mdw 0x{address:08x}")
        values = [value for at, value in _WORD.findall(said) if int(at, 16) == address]
        if not values:
            raise AccessFailed(f"expected the word at 0x{address:08x}, openocd said {said[-200:]!r}")
        return int(values[0], 16)

    def read(self, address: int, size: int) -> bytes:
        with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
            file = Path(folder) / "read.bin"
            self._run("init", "reset halt", f"dump_image {{{file}}} 0x{address:08x} {size}")
            return file.read_bytes() if file.exists() else b""

    def write(self, address: int, data: bytes) -> None:
        with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
            file = Path(folder) / "write.bin"
            file.write_bytes(data)
            self._run(f"program {{{file}}} verify 0x{address:08x}")

    def close(self) -> None:
        if self._opened:
            self._opened = False
            self._run("init", "reset run")

    def _run(self, *commands: str) -> str:
        program = shutil.which("openocd")
        if program is None:
            raise UsageError("flash.openocd needs the program openocd", hint=this_system().install_command("openocd"))
        arguments = [part for command in (*commands, "exit") for part in ("-c", command)]
        try:
            done = run_child([program, *self._start, *arguments], timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            raise AccessFailed(f"openocd: no end of {commands[-1]!r} after {_PATIENCE:g} s") from None
        # Its log and its answers go to standard error.
        said = (done.output[-50_000:] + done.errors[-50_000:]).decode("utf-8", "replace")
        if done.code:
            errors = [line for line in said.splitlines() if line.startswith("Error:")] or said.splitlines()
            raise AccessFailed(f"openocd ended with {done.code}: {' / '.join(errors[-3:])}")
        return said


def swd_access(
    chip: str, *, probe: str | None = None, target: str | None = None, openocd: Sequence[str] = ()
) -> PyOcd | OpenOcd:
    """OpenOCD when its files are named, else pyocd. Neither is looked for before it is used."""
    return OpenOcd(chip, openocd, probe=probe) if openocd else PyOcd(chip, probe=probe, target=target)


def _make(job: FlashJob) -> AccessFlasher:
    board, identity = job.board, job.board.identity
    probe = board.flash.probe or (identity.usb_serial if identity else None)
    access = swd_access(board.chip, probe=probe, target=board.flash.target, openocd=board.flash.openocd)
    return AccessFlasher(access, progress=job.progress)


METHOD = FlashingMethod("swd", _make, needs_port=False)
