"""What this machine must have for it, and where what was made is kept."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import platformdirs

#: The environment variable that names another folder for sources and builds.
CACHE = "HARNESS_EMULATED_CACHE"

#: A program, and the Debian package that brings it.
PACKAGES = {
    "apt-get": "apt",
    "dpkg-source": "dpkg-dev",
    "make": "make",
    "gcc": "gcc and libc6-dev",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi and libnewlib-arm-none-eabi",
    "riscv64-unknown-elf-gcc": "gcc-riscv64-unknown-elf and picolibc-riscv64-unknown-elf",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-system-riscv32": "qemu-system-misc",
    "setpriv": "util-linux",
}


class Unavailable(Exception):
    """An emulated board cannot be had on this machine; the message says what is missing and what brings it."""


def cache_folder() -> Path:
    """The folder of sources and builds; it outlives the run."""
    named = os.environ.get(CACHE)
    return Path(named) if named else platformdirs.user_cache_path("vm-harness") / "emulated"


def require(programs: Iterable[str]) -> None:
    """Raises Unavailable that names each missing program and the Debian packages of all."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        packages = " ".join(PACKAGES.get(name, name) for name in missing).replace(" and ", " ")
        raise Unavailable(f"not installed: {', '.join(missing)} (Debian: apt-get install {packages})")


def run(
    command: Sequence[str | Path],
    what: str,
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> str:
    """Run ``command`` for at most ``timeout`` seconds; its output. Raises Unavailable with the output's end."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=timeout,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            cwd=cwd,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{what} did not end within {timeout:g} s") from None
    if done.returncode != 0:
        raise Unavailable(f"{what} failed ({done.returncode}):\n{done.stdout[-3000:]}")
    return done.stdout
