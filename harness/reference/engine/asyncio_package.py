"""The Python part of asyncio for guests: the VM build has only its core, ``_asyncio``.

Taken from the ``adafruit-circuitpython-asyncio`` wheel, CircuitPython's edition of MicroPython's ``extmod/asyncio``:
same ``Event``, ``Lock`` and task queue, without ``ThreadSafeFlag``, and its loop looks every 3 ms where the
original ends when nothing can wake it any more. It is not a dependency of this project because its own
dependencies are Linux drivers for real pins; pip fetches the one wheel once, and it is checked against the sum below.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from harness.children import run_child
from harness.errors import BenchFault
from harness.reference.engine.vm_cache import cache_dir, checked, locked, write_to_cache

_PACKAGE = "adafruit-circuitpython-asyncio==3.1.1"
_SHA256 = "901a673e9ce467ece4e70605815aab3bd2153c2f5e85e27e7cdcf1232bc08e5a"
#: The package asks another one for its clock; this is all that it needs of it.
_TICKS = b"from time import ticks_ms, ticks_add, ticks_diff\n"


def asyncio_files(progress: Callable[[str], None] = lambda _message: None) -> dict[str, bytes]:
    """The package's modules by path below a folder of ``sys.path``. Fetched once, then from the cache.

    Raises BenchFault when pip cannot fetch it.
    """
    path = cache_dir() / f"asyncio-{_SHA256[:16]}.whl"
    data = checked(path, _SHA256)
    if data is None:
        with locked(path):
            data = checked(path, _SHA256)
            if data is None:
                progress(f"fetching {_PACKAGE} (once)")
                data = _fetch()
                write_to_cache(path, data)
    with zipfile.ZipFile(io.BytesIO(data)) as wheel:
        names = [name for name in wheel.namelist() if name.startswith("asyncio/") and name.endswith(".py")]
        return {"adafruit_ticks.py": _TICKS, **{name: wheel.read(name) for name in names}}


def _fetch() -> bytes:
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as folder:
        wanted = Path(folder) / "wanted.txt"
        wanted.write_text(f"{_PACKAGE} --hash=sha256:{_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--require-hashes", "--dest", folder, "--requirement", str(wanted)]
        hint = "give the asyncio of your firmware's tree with --lib, or go online for the first run"
        try:
            done = run_child(command, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise BenchFault(f"pip did not run: {problem}", hint=hint) from None
        wheel = next(Path(folder).glob("*.whl"), None)
        if wheel is None:
            tail = done.errors.decode("utf-8", "replace").strip().splitlines()[-2:]
            raise BenchFault(f"pip could not fetch {_PACKAGE}: {' / '.join(tail) or 'no message'}", hint=hint)
        return wheel.read_bytes()
