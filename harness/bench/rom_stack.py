"""The modules in a board's ROMFS segment, as ``fixtures/modules/rom_modules.py`` on the board keeps them: a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from harness.errors import BenchFault, HarnessError, Refused
from harness.formats.romfs import compile_module
from harness.link.panics import printable
from harness.paths import fixtures_dir
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import ChipRuntime
from harness.runtimes.program import ask

_MODULE = "rom_modules"
_BEGIN = """import sys
sys.path.insert(0, {folder!r})
import rom_modules
rom_modules.FOLDER = {folder!r} + "/"
"""
#: Also an image that waits after a step that was refused.
_TIDY = """import os
for name in os.listdir({folder!r}):
    if name.startswith("rom_"):
        os.remove({folder!r} + "/" + name)
os.rmdir({folder!r})
"""
#: What one step may take, in seconds: an image is copied, and the segment erased.
_PATIENCE = 120.0
#: Names that are taken in from a board: so many characters in all.
_LIMIT = 16 * 1024


@dataclass(frozen=True)
class RomStack:
    """Made by :func:`rom_stack`. Every method raises Refused when the VM says no, BenchFault when the line fails."""

    runtime: ChipRuntime
    folder: str

    def names(self) -> list[str]:
        """Of what the segment holds, the lowest first."""
        said = ask(self.runtime, "'/'.join(rom_modules.names())", first=_BEGIN.format(folder=self.folder))
        if len(said) > _LIMIT:
            raise BenchFault(f"the VM names {len(said)} characters of modules, expected at most {_LIMIT}")
        return [name for name in said.split("/") if name]

    def push(self, modules: Mapping[str, bytes]) -> None:
        """Each on top of the one before; then the VM is started anew, and has them."""
        for name, data in modules.items():
            path = f"{self.folder}/rom_upload.bin"
            self.runtime.put(path, data)
            self._do(f"rom_modules.push({path!r}, {name!r})")
            self.runtime.remove(path)
        self._restart()

    def pop(self) -> None:
        """The top one, and the VM is started anew."""
        self._do("rom_modules.pop()")
        self._restart()

    def _restart(self) -> None:
        self.runtime.soft_reset()  # nothing in RAM points into the segment
        self._do("rom_modules.start()")
        self.runtime.soft_reset()

    def _do(self, line: str) -> None:
        result = self.runtime.run(_BEGIN.format(folder=self.folder) + line, timeout=_PATIENCE)
        if result.stderr:
            last = printable(result.stderr.strip().splitlines()[-1][:160])
            raise Refused(f"the board refuses: {last}")


@contextmanager
def rom_stack(runtime: ChipRuntime, abilities: Abilities) -> Iterator[RomStack]:
    """The board's stack; the module that keeps it is on the board meanwhile, in the harness's folder.

    Raises Refused when the VM has no ROMFS that it can write, or no filesystem.
    """
    if not abilities.rom_size:
        raise Refused("this VM has no ROMFS segment: expected vfs.rom_ioctl, of MicroPython 1.25 or newer")
    if not abilities.own_folder:
        raise Refused(f"an image is made ready in a file before it is written, and {abilities.no_files}")
    folder = abilities.own_folder.rstrip("/")
    source = (fixtures_dir() / "modules" / f"{_MODULE}.py").read_bytes()
    compiled = runtime.facts.mpy & 0xFF == 6
    data = compile_module(f"{_MODULE}.py", source) if compiled else source
    runtime.run(f"import os\ntry:\n os.mkdir({folder!r})\nexcept OSError:\n pass")
    runtime.put(f"{folder}/{_MODULE}.{'mpy' if compiled else 'py'}", data)
    try:
        yield RomStack(runtime, folder)
    finally:
        with suppress(HarnessError):
            runtime.run(_TIDY.format(folder=folder))
