"""Seeded defects of executing from flash: the table and what each does. See :mod:`.defect`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from harness.reference.engine.guest_files import File
from harness.virtual.defect import Defect, Script
from harness.virtual.defect_effects import at_start, files_below, once, replaced

if TYPE_CHECKING:
    from harness.virtual.cpu import WasmApplication

_MOUNT = 'vfs.mount(vfs.VfsRom(uctypes.bytearray_at(address, size)), "/rom")'
#: A filesystem whose files are streams: what is imported from it is copied to RAM.
_COPYING = """_rom = vfs.VfsRom(uctypes.bytearray_at(address, size))
            import io
            class _File(io.IOBase):
                def __init__(self, file): self.file = file
                def readinto(self, buffer): return self.file.readinto(buffer)
                def ioctl(self, request, argument): return 0
            class _Copying:
                def mount(self, readonly, mkfs): pass
                def umount(self): pass
                def stat(self, path): return _rom.stat(path)
                def ilistdir(self, path): return _rom.ilistdir(path)
                def chdir(self, path): pass
                def getcwd(self): return "/"
                def open(self, path, mode): return _File(_rom.open(path, mode))
            vfs.mount(_Copying(), "/rom")"""


def _import_hook(*before: str, after: Sequence[str] = ()) -> Script:
    """Lines ahead of each import, and lines after it, which find the ``module``."""
    return at_start(
        "import builtins",
        "imported = __import__",
        "def hooked(*arguments, kept=[]):",
        *(f"    {line}" for line in before),
        "    module = imported(*arguments)",
        *(f"    {line}" for line in after),
        "    return module",
        "builtins.__import__ = hooked",
    )


def _slow_in_flash(turns: int) -> Script:
    """The function ``work`` of a module from ``/rom`` takes so many turns of a loop more."""
    return _import_hook(
        after=(
            "fast = getattr(module, 'work', None)",
            "if fast and getattr(module, '__file__', '').startswith('/rom') and not hasattr(module, '_slow'):",
            "    def slow(*arguments):",
            f"        for _ in range({turns}): pass",
            "        return fast(*arguments)",
            "    module.work, module._slow = slow, True",
        )
    )


class _Slow:
    """A file from which every read takes some milliseconds of the chip's time."""

    def __init__(self, app: WasmApplication, file: File) -> None:
        self._app = app
        self._file = file

    def read(self, size: int) -> bytes:
        self._app.board.clock.pass_for(4_000_000)
        return self._file.read(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _slow_files(app: WasmApplication) -> None:
    opened = app.files.open
    app.files.__dict__.update(open=lambda path, mode: _Slow(app, opened(path, mode)))


def _erases_nothing(app: WasmApplication) -> None:
    """What the VM writes into its ROMFS segment lies over what was there: bits are cleared, and none is set."""
    do = app._rom_region
    app.__dict__.update(_rom_region=lambda what, *words: 0 if what == "erase" else do(what, *words))


def _stale_image() -> Callable[[bytes], bytes]:
    """The first image with the suite's own replacement in it is kept."""
    kept = b""

    def read(image: bytes) -> bytes:
        nonlocal kept
        if b"hx_both" not in image:
            return image
        kept = kept or image
        return kept

    return read


def _stale_modules(app: WasmApplication) -> None:
    """A cache of modules is not told of a change: at each start of the VM the first form is put back."""
    for path in files_below(app):
        if not path.rpartition("/")[2].startswith("hx_version"):
            continue
        if path in app.noinit:
            app.files.replace(path, app.noinit[path])
        else:
            app.noinit[path] = app.files.content(path)


def _flip_rom(image: bytes) -> bytes:
    return image.replace(b"a constant string", b"a c0nstant string", 1)


FLASH_DEFECTS = {
    "rom_copied_to_ram": Defect(
        "bytecode in flash is silently copied to RAM",
        ("flash_execution: in place*", "flash_execution: code in flash*"),
        replaced(_MOUNT, _COPYING),
    ),
    "flash_code_slow": Defect(
        "code in flash waits for each line of it",
        ("flash_execution: code in flash takes*",),
        _slow_in_flash(400),
    ),
    "rom_bit_flip": Defect(
        "one bit of the image in flash reads wrong",
        ("flash_execution: in place*",),
        rom=_flip_rom,
    ),
    "stale_image": Defect(
        "the image in flash is cached and not told of a new one",
        ("flash_execution: a replaced image*",),
        rom=_stale_image(),
    ),
    "rom_not_erased": Defect(
        "the VM's own erasing of the ROMFS segment does nothing",
        ("flash_execution: a module pushed*",),
        wire=once("erases nothing", _erases_nothing),
    ),
    "stale_module": Defect(
        "a module that was replaced runs in its old form", ("flash_execution: a replaced*",), wire=_stale_modules
    ),
    "import_allocates": Defect(
        "every import allocates 32 bytes more", ("flash_execution: *",), _import_hook("bytearray(32)")
    ),
    "import_leaks": Defect(
        "every import keeps 32 bytes", ("flash_execution: *",), _import_hook("kept.append(bytearray(16))")
    ),
    "slow_flash": Defect(
        "reading a file takes 4 ms a time", ("flash_execution: from *",), wire=once("slow files", _slow_files)
    ),
    "no_collection": Defect(
        "gc.collect() does nothing",
        ("flash_execution: *",),
        replaced(
            '    words += ("ilistdir", ',
            '    import gc\n\n    def _port_collect(): pass\n    words += ("collect", gc.collect, _port_collect)\n'
            '    words += ("ilistdir", ',
        ),
    ),
}
