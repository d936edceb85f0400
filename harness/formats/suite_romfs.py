"""What the flash-execution suite expects in a board's ROMFS region: one ordinary module, and some of chosen sizes."""

from __future__ import annotations

import functools

from harness.formats.romfs import build_romfs, compile_module
from harness.paths import fixtures_dir

#: The ordinary module.
SUITE_MODULE = "hx_rom"
#: Modules with one function of so many statements, four bytes of bytecode each.
STATEMENTS = (100, 400, 1600)
#: One whose bytecode alone, 80 kB, is more than the heap of the small ports.
LARGE = 20_000


def sized_name(statements: int) -> str:
    return f"hx_len_{statements}"


@functools.lru_cache(maxsize=8)
def sized_module(statements: int) -> bytes:
    """A ``.mpy`` whose ``work(x)`` adds 1 so many times."""
    source = "def work(x):\n" + "    x += 1\n" * statements + "    return x\n"
    return compile_module("sized.py", source.encode())


@functools.lru_cache(maxsize=1)
def suite_files() -> dict[str, bytes]:
    payload = (fixtures_dir() / "modules" / "payload.py").read_bytes()
    files = {f"{SUITE_MODULE}.mpy": compile_module("payload.py", payload)}
    return files | {f"{sized_name(n)}.mpy": sized_module(n) for n in (*STATEMENTS, LARGE)}


@functools.lru_cache(maxsize=1)
def suite_romfs() -> bytes:
    """The image for the chip's ROMFS region. The same bytes each time."""
    return build_romfs(suite_files())
