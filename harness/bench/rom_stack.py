"""The modules in a board's ROMFS segment, as ``fixtures/modules/rom_modules.py`` on the board keeps them: a stack."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from harness.errors import BenchFault, HarnessError, ProgramFailed, Refused, UsageError
from harness.formats.romfs import MPY_VERSION, compile_module
from harness.link.panics import printable
from harness.paths import fixtures_dir
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import ChipRuntime, Sweeper
from harness.runtimes.own_files import make_folder
from harness.runtimes.program import ask, last_line

_MODULE = "rom_modules"
_BEGIN = """import sys
if {folder!r} not in sys.path: sys.path.insert(0, {folder!r})
import rom_modules
rom_modules.FOLDER = {folder!r} + "/"
"""
#: What one step may take, in seconds: an image is copied, and the segment erased.
_PATIENCE = 120.0
#: Names that are taken in from a board: so many characters in all.
_LIMIT = 16 * 1024


@dataclass
class RomStack:
    """Made by :func:`rom_stack`. Every method raises Refused when the VM says no, BenchFault when the line fails."""

    runtime: ChipRuntime
    folder: str
    #: A ``start`` began of which nobody has heard that it ended: the segment may hold nothing.
    unfinished: bool = False

    def names(self) -> list[str]:
        """Of what the segment holds, the lowest first."""
        try:
            said = ask(self.runtime, "'/'.join(rom_modules.names())", first=_BEGIN.format(folder=self.folder))
        except ProgramFailed as problem:
            raise _refused(problem.trace or problem.message) from None
        if len(said) > _LIMIT:
            raise BenchFault(f"the VM names {len(said)} characters of modules, expected at most {_LIMIT}")
        return [printable(name.encode()) for name in said.split("/") if name]

    def push(self, modules: Mapping[str, bytes]) -> None:
        """Each on top of the one before; then the VM is started anew, and has them.

        Raises UsageError for one that this VM would not import, before any is pushed.
        """
        version = self.runtime.facts.mpy_version
        for name, data in modules.items():
            if data[:2] != bytes((ord("M"), version)):
                kind = f"version {data[1]}" if data[:1] == b"M" and len(data) > 1 else "no .mpy file"
                raise UsageError(f"{name} is {kind}; this VM imports .mpy of version {version}")
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
        self.unfinished = True
        self._do("rom_modules.start()")
        self.unfinished = False
        self.runtime.soft_reset()

    def finish(self) -> None:
        """Put into the segment what an earlier process was cut off with."""
        if ask(self.runtime, "rom_modules.waiting() is not None", first=_BEGIN.format(folder=self.folder)) == "True":
            self._restart()

    def _do(self, line: str) -> None:
        result = self.runtime.run(_BEGIN.format(folder=self.folder) + line, timeout=_PATIENCE)
        if result.stderr:
            raise _refused(result.stderr.decode("utf-8", "replace"))


def _refused(trace: str) -> Refused:
    return Refused(f"the board refuses: {printable(last_line(trace.strip()).encode(), 160)}")


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
    compiled = runtime.facts.mpy_version == MPY_VERSION
    data = compile_module(f"{_MODULE}.py", source) if compiled else source
    make_folder(runtime, folder)
    runtime.put(f"{folder}/{_MODULE}.{'mpy' if compiled else 'py'}", data)
    stack = RomStack(runtime, folder)
    try:
        stack.finish()
        yield stack
    finally:
        # What waits after a step that was refused goes, too; not where a ``start`` began and did not end: the image
        # that waits is all that there is of the modules then.
        if isinstance(runtime, Sweeper) and not stack.unfinished:
            with suppress(HarnessError):
                runtime.sweep(abilities.base, abilities.own_folder)
