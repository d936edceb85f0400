"""Lua 5.1 with integers for numbers, built from Debian's source package: a compiler and a VM that nobody here wrote.

Its source is not touched but for one line at the end of a copy of ``luaconf.h``, which reads integer_numbers.h. What
the operators give is therefore ours; lexer, parser, constant folding, code generator and VM are upstream's.
"""

from __future__ import annotations

import hashlib
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from .source import unpack
from .tools import Unavailable, cache_folder, require, run

PACKAGE = "lua5.1"
#: All have the same release, 5.1.5; the first that the mirror gives is taken.
SUITES = ("bookworm", "trixie", "sid")
_SETTINGS = Path(__file__).with_name("integer_numbers.h")
_HEADER = bytes.fromhex("1b4c7561 51 00 01 04 08 04 04 01".replace(" ", ""))
#: Reads sources, each after a line with its length, and answers each with the compiled chunk, or "refused", and what
#: calls with each of the pairs of arguments returned.
_DRIVER = """
local pairs_of = {{7, -3}, {-2147483647 - 1, -1}, {0, 12345}}
local function hex(s) return (s:gsub(".", function(c) return ("%02x"):format(c:byte()) end)) end
while true do
  local head = io.read("*l")
  if not head then break end
  local f = loadstring(io.read(tonumber(head)), "=m")
  print(f and hex(string.dump(f)) or "refused")
  for _, p in ipairs(f and CALLS and pairs_of or {}) do
    local ok, value = pcall(f, p[1], p[2])
    print(ok and type(value) .. " " .. hex(tostring(value)) or "error")
  end
end
"""
ARGUMENTS = ((7, -3), (-(1 << 31), -1), (0, 12345))


@dataclass(frozen=True)
class Function:
    """One compiled function. ``shape``: upvalues, parameters, whether it takes more, registers."""

    shape: tuple[int, ...]
    code: list[int]
    constants: list[bool | int | bytes | None]
    functions: list[Function]


@dataclass(frozen=True)
class Compiled:
    """What it made of a source; ``results`` are type and text of what each call returned, "error" alone for none."""

    function: Function | None
    results: list[tuple[str, bytes]]


def interpreter() -> Path:
    """The interpreter, built unless the cache has it. Raises Unavailable when it cannot be built here."""
    key = hashlib.sha256(_SETTINGS.read_bytes()).hexdigest()[:16]
    folder = cache_folder() / "builds"
    folder.mkdir(parents=True, exist_ok=True)
    built = folder / f"lua5.1-integer-{key}"
    with FileLock(folder / "lua5.1.lock"):
        if not built.exists():
            require(("apt-get", "dpkg-source", "gcc"))
            with tempfile.TemporaryDirectory(dir=folder, prefix=".lua5.1-") as name:
                _build(Path(name), Path(name) / "lua").rename(built)
    return built


def _build(scratch: Path, into: Path) -> Path:
    source = _source(scratch) / "src"
    shutil.copy(_SETTINGS, source)
    with (source / "luaconf.h").open("a") as header:
        header.write(f'#include "{_SETTINGS.name}"\n')
    # Debian's build makes this one; it only says where shared libraries are looked for.
    (source / "lua5.1-deb-multiarch.h").write_text('#define DEB_HOST_MULTIARCH "none"\n')
    files = sorted(file for file in source.glob("*.c") if file.name not in ("luac.c", "print.c"))
    run(("gcc", "-O1", "-fwrapv", "-w", "-o", into, *files, "-lm", "-ldl"), "building Lua with integers", timeout=300)
    return into


def _source(scratch: Path) -> Path:
    problem = Unavailable("no suite of Debian was asked")
    for suite in SUITES:
        try:
            made = scratch / suite
            made.mkdir()
            (made / "scratch").mkdir()
            unpack(PACKAGE, suite, made, made / "scratch")
            return made / "tree"
        except Unavailable as refused:
            problem = refused
    raise problem


def compiled(sources: Sequence[bytes], *, call: bool = False) -> list[Compiled]:
    """Each source compiled, and with ``call`` called with each of :data:`ARGUMENTS`."""
    given = b"".join(b"%d\n%s" % (len(source), source) for source in sources)
    driver = _DRIVER.replace("CALLS", "true" if call else "false")
    done = subprocess.run([interpreter(), "-e", driver], input=given, capture_output=True, timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"Lua ended with {done.returncode}: {done.stderr[-500:]!r}")
    lines = iter(done.stdout.decode("ascii").splitlines())
    answers = []
    for _ in sources:
        chunk = next(lines)
        if chunk == "refused":
            answers.append(Compiled(None, []))
            continue
        results = [next(lines).partition(" ") for _ in (ARGUMENTS if call else ())]
        function = _Reader(bytes.fromhex(chunk)).chunk()
        answers.append(Compiled(function, [(kind, bytes.fromhex(text)) for kind, _, text in results]))
    return answers


class _Reader:
    """A chunk of ``string.dump`` (Lua 5.1, ldump.c)."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, len(_HEADER)

    def chunk(self) -> Function:
        if not self._data.startswith(_HEADER):
            raise ValueError(f"expected a chunk with integers, came {self._data[:12].hex()}")
        function = self._function()
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes follow the chunk")
        return function

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        self._at += size
        return taken

    def _int(self) -> int:
        return int(struct.unpack("<i", self._take(4))[0])

    def _string(self) -> bytes:
        return self._take(struct.unpack("<Q", self._take(8))[0])[:-1]

    def _constant(self) -> bool | int | bytes | None:
        tag = self._take(1)[0]
        if tag == 1:
            return self._take(1) != b"\0"
        return {0: lambda: None, 3: self._int, 4: self._string}[tag]()

    def _function(self) -> Function:
        self._string()
        self._take(8)  # its lines
        shape = tuple(self._take(4))
        code = list(struct.unpack(f"<{(size := self._int())}I", self._take(4 * size)))
        constants = [self._constant() for _ in range(self._int())]
        functions = [self._function() for _ in range(self._int())]
        self._take(4 * self._int())  # line of each instruction
        for _ in range(self._int()):
            self._string()
            self._take(8)
        for _ in range(self._int()):
            self._string()
        return Function(shape, code, constants, functions)
