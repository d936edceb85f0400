"""Firmware of upstream's QEMU port with settings of ours: built once each, kept by version, board and settings.

Upstream's source is not touched. What differs is given at compile time: make's variables, a frozen manifest, a header
that is read in place of the port's ``mpconfigport.h`` (upstream's own hook: ``MP_CONFIGFILE``) and includes it, and
for what the port leaves out (time, timers, Ctrl-C, a filesystem) a C module of ours (``port/``).
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock

from .source import Source, source_of
from .tools import cache_folder, require, run

PORT = Path(__file__).parent / "port"


@dataclass(frozen=True)
class Machine:
    """A board of upstream's QEMU port, and how QEMU runs it."""

    name: str
    compiler: str
    qemu: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


# An instruction takes 32 ns, however fast the host is.
_COMMON = ("-display", "none", "-monitor", "none", "-semihosting", "-icount", "shift=5")

AN385 = Machine("MPS2_AN385", "arm-none-eabi-gcc", ("qemu-system-arm", "-M", "mps2-an385", *_COMMON))
MICROBIT = Machine(
    "MICROBIT",
    "arm-none-eabi-gcc",
    (
        *("qemu-system-arm", "-M", "microbit", *_COMMON),
        *("-global", "nrf51-soc.flash-size=1048576", "-global", "nrf51-soc.sram-size=262144"),
    ),
)
RV32 = Machine(
    "VIRT_RV32",
    "riscv64-unknown-elf-gcc",
    ("qemu-system-riscv32", "-M", "virt", "-bios", "none", *_COMMON),
    # Debian's gcc 12 finds its 32-bit libraries by this name only; the older ISA specification has Zicsr in it.
    variables={"RV32_ARCH": "rv32imac"},
    environment={"AFLAGS": "-misa-spec=2.2"},
)


@dataclass(frozen=True)
class Disk:
    """A filesystem in the board's memory: where it is mounted, and its class in ``vfs``."""

    place: str
    format: str


@dataclass(frozen=True)
class Firmware:
    """What is built. ``whole``: with our C module. ``settings``: the VM's macros; ``variables``: make's."""

    machine: Machine
    suite: str
    whole: bool = False
    disk: Disk | None = None
    rom: bool = False
    settings: Mapping[str, str] = field(default_factory=dict)
    heap: int = 143360
    variables: Mapping[str, str] = field(default_factory=dict)

    def described(self) -> dict[str, object]:
        """Everything that the built file depends on beside the source, as plain values."""
        files = sorted(path for path in PORT.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {
            "board": self.machine.name,
            "whole": self.whole,
            "disk": [self.disk.place, self.disk.format] if self.disk else None,
            "rom": self.rom,
            "header": _header(self) if self.whole or self.settings else "",
            "heap": self.heap,
            "kept": ["genhdr/qstrdefs.generated.h", "settings.h"],
            "variables": {**self.machine.variables, **self.variables},
            "environment": dict(self.machine.environment),
            "port": {str(file.relative_to(PORT)): _hash(file.read_bytes()) for file in files} if self.whole else None,
            "compiler": run((self.machine.compiler, "-dumpfullversion"), self.machine.compiler, timeout=20).strip(),
        }


@dataclass(frozen=True)
class Built:
    """A firmware file. ``release`` is upstream's version."""

    firmware: Firmware
    release: str
    elf: Path
    #: Upstream's tree, and its board; what the build read in place of the port's settings, None: those.
    tree: Path
    header: Path | None

    @property
    def command(self) -> list[str]:
        """How it is run, with its console on a pseudo-terminal."""
        return [*self.firmware.machine.qemu, "-serial", "pty", "-kernel", str(self.elf)]

    def reference(self) -> dict[str, object]:
        """The board's ``reference`` in boards.yaml: a VM from the same tree with the same settings."""
        entry: dict[str, object] = {"tree": str(self.tree), "board": f"qemu/{self.firmware.machine.name}"}
        entry["build_folder"] = str(self.elf.parent)
        if self.header is not None:
            entry["header"] = str(self.header)
        if self.firmware.whole:
            entry["sources"] = [str(PORT)]
        return entry


def build(firmware: Firmware) -> Built:
    """The firmware, built unless the cache has it; of several processes one builds and the others wait.

    Raises :class:`tests.emulated.tools.Unavailable` when it cannot be built here.
    """
    require((firmware.machine.compiler, firmware.machine.qemu[0], "make"))
    source = source_of(firmware.suite)
    described = firmware.described()
    key = _hash(json.dumps(described, sort_keys=True).encode())[:16]
    folder = cache_folder() / "builds"
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{source.version}-{firmware.machine.name}-{key}"
    header = kept / "settings.h" if firmware.whole or firmware.settings else None
    built = Built(firmware, source.release, kept / "firmware.elf", source.tree, header)
    if built.elf.exists():
        return built
    with FileLock(folder / "work.lock"):  # one at a time, each with two processes
        if not built.elf.exists():
            work = folder / "work"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            _make(firmware, source, work)
            ready = work / "ready"
            ready.mkdir()
            (work / "build" / "firmware.elf").rename(ready / "firmware.elf")
            (ready / "genhdr").mkdir()
            names = "genhdr/qstrdefs.generated.h"
            (work / "build" / names).rename(ready / names)
            if header is not None:
                (work / "settings.h").rename(ready / "settings.h")
            (ready / "described.json").write_text(json.dumps(described, indent=1) + "\n")
            ready.rename(kept)
            shutil.rmtree(work, ignore_errors=True)
    return built


def _make(firmware: Firmware, source: Source, folder: Path) -> None:
    manifest = folder / "manifest.py"
    manifest.write_text(_manifest(firmware, source, folder))
    variables = {
        "BOARD": firmware.machine.name,
        "BUILD": str(folder / "build"),
        "FROZEN_MANIFEST": str(manifest),
        "MICROPY_HEAP_SIZE": str(firmware.heap),
        "MICROPY_MPYCROSS": str(source.mpy_cross),
        "MICROPY_MPYCROSS_DEPENDENCY": "",
        **firmware.machine.variables,
        **firmware.variables,
    }
    if firmware.whole or firmware.settings:
        (folder / "settings.h").write_text(_header(firmware))
        variables["CFLAGS_EXTRA"] = f"-I{folder} -I{PORT / 'board'} '-DMP_CONFIGFILE=<settings.h>'"
    if firmware.whole:
        variables["USER_C_MODULES"] = str(PORT)
    if firmware.disk is not None:
        key = {"VfsLfs2": "MICROPY_VFS_LFS2", "VfsFat": "MICROPY_VFS_FAT"}[firmware.disk.format]
        variables[key] = "1"
    port = source.tree / "ports" / "qemu"
    command: list[str | Path] = ["make", "-C", port, "-j2", *(f"{name}={value}" for name, value in variables.items())]
    run(command, f"building {firmware.machine.name}", timeout=900, env=firmware.machine.environment)


def _header(firmware: Firmware) -> str:
    """The VM's configuration: the port's, what our part of the board needs, and last the settings."""
    lines = ["#include <mpconfigport.h>"]
    if firmware.whole:
        lines.append('#include "board.h"')
        lines.append(f"#define EMULATED_FILESYSTEM ({int(firmware.disk is not None)})")
    if firmware.disk is not None and firmware.disk.format == "VfsFat":  # long names, cwd, no clock for its dates
        lines += [f"#define MICROPY_FATFS_{name}" for name in ("ENABLE_LFN (1)", "RPATH (2)", "NORTC (1)")]
    settings = {**({"MICROPY_VFS_ROM_IOCTL": "1"} if firmware.rom else {}), **firmware.settings}
    for name, value in settings.items():
        lines += [f"#undef {name}", f"#define {name} ({value})"]
    return "\n".join(lines) + "\n"


def _manifest(firmware: Firmware, source: Source, folder: Path) -> str:
    lines = ["# frozen modules"]
    if firmware.whole:
        lines.append(f"include({str(source.tree / 'extmod' / 'asyncio')!r})")
    if firmware.disk is not None:
        frozen = folder / "frozen"
        frozen.mkdir()
        (frozen / "emulated_board.py").write_text(f"FORMAT = {firmware.disk.format!r}\n")
        start = PORT / "frozen" / ("root" if firmware.disk.place == "/" else firmware.disk.place.strip("/"))
        lines.append(f"freeze({str(PORT / 'frozen')!r}, ('ram_disk.py', 'mounts.py'))")
        lines.append(f"freeze({str(start)!r}, '_boot.py')")
        lines.append(f"freeze({str(frozen)!r}, 'emulated_board.py')")
    return "\n".join(lines) + "\n"


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
