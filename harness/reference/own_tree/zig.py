"""The compiler: ``zig cc`` of the ``ziglang`` package, which compiles C for WebAssembly without anything else."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.children import Ended, run_child
from harness.errors import BenchFault, UsageError
from harness.reference.engine.vm_cache import cache_dir

#: The version that builds were tried with.
VERSION = "0.17.1"


@dataclass(frozen=True)
class Zig:
    """``program`` is the compiler, ``folder`` its package's."""

    program: Path
    folder: Path

    @property
    def libc_headers(self) -> list[Path]:
        """What ``zig cc -E`` forgets when it is given several files at once."""
        lib = self.folder / "lib"
        return [lib / "include", lib / "libc/include/wasm-wasi-musl", lib / "libc/include/generic-musl"]

    def environment(self) -> dict[str, str]:
        """The process's environment, with the compiler's caches in the harness's cache folder."""
        kept = str(cache_dir() / "zig")
        more = {"ZIG_GLOBAL_CACHE_DIR": kept, "ZIG_LOCAL_CACHE_DIR": kept, "PYTHONDONTWRITEBYTECODE": "1"}
        return {**os.environ, **more}

    def run(self, arguments: Sequence[str | Path], *, cwd: Path, timeout: float = 120) -> Ended:
        """Raises BenchFault when the compiler cannot be run, or does not end."""
        try:
            return run_child([self.program, *arguments], cwd=cwd, env=self.environment(), timeout=timeout)
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise BenchFault(f"the compiler did not run: {problem}", hint=_INSTALL) from None


_INSTALL = f"pip install 'vm-harness[reference-build]' (the compiler is the package ziglang=={VERSION})"


def find_zig() -> Zig:
    """The compiler that is installed. Raises UsageError when it, or make, is not."""
    spec = importlib.util.find_spec("ziglang")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    program = folder / "zig" if folder is not None else None
    if folder is None or program is None or not program.exists():
        raise UsageError("a reference is compiled by zig, which is not installed", hint=_INSTALL)
    if shutil.which("make") is None:
        raise UsageError(
            "MicroPython is built by make, which is not installed", hint="install it (Debian: apt-get install make)"
        )
    return Zig(program, folder)
