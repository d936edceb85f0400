"""A MicroPython source tree: what it is, and what of it a reference is made from."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.errors import UsageError

#: The oldest release whose sources fit the port: types with slots, registered modules and root pointers.
OLDEST = (1, 20)
#: Whatever of a tree goes into a build, beside the port's own folder.
_SOURCES = ("py", "extmod", "shared", "tools", "lib/oofatfs", "lib/uzlib", "lib/re1.5", "lib/crypto-algorithms")
_OLDER = "for older firmware the prepared reference is used, with its wider limits"
_TREE_HINT = "give the top folder of MicroPython's source: the one with py/, extmod/ and ports/ in it"


@dataclass(frozen=True)
class Tree:
    """The top folder of MicroPython's source, its version (``1.26.1``) and that version's numbers."""

    path: Path
    version: str
    numbers: tuple[int, ...]

    def holds(self, file: str, text: str) -> bool:
        """Whether the file of the tree has that text; False where there is no such file."""
        return text in self.read(file)

    def read(self, file: str) -> str:
        """The file's text, empty when there is none."""
        return _text(self.path / file)


@dataclass(frozen=True)
class Firmware:
    """One board's firmware in a tree. ``folder`` is the board's own, ``port`` the port's name; ``variant`` may be
    empty."""

    tree: Tree
    port: str
    board: str
    variant: str
    folder: Path

    @property
    def port_folder(self) -> Path:
        return self.tree.path / "ports" / self.port

    @property
    def name(self) -> str:
        """As it is given: ``esp8266/ESP8266_GENERIC``, with ``-VARIANT`` where there is one."""
        return f"{self.port}/{self.board}" + (f"-{self.variant}" if self.variant else "")

    @property
    def has_asyncio(self) -> bool:
        """Whether asyncio is among its frozen modules, by the variant's manifest, else the board's, else the port's."""
        variant = f"mpconfigvariant_{self.variant}.mk" if self.variant else "mpconfigvariant.mk"
        manifest = self.port_folder / "boards" / "manifest.py"
        for name in ("mpconfigboard.mk", variant):
            found = re.search(r"^FROZEN_MANIFEST\s*\??=\s*(\S+)$", _text(self.folder / name), re.MULTILINE)
            if found:
                manifest = self.port_folder / found[1].replace("$(BOARD_DIR)", str(self.folder))
        text = _text(manifest)
        if "$(PORT_DIR)/boards/manifest.py" in text:
            text += _text(self.port_folder / "boards" / "manifest.py")
        return bool(re.search(r"extmod/u?asyncio", text))


def _text(path: Path) -> str:
    """The file's text, empty when there is none."""
    try:
        return path.read_text("utf-8", "replace")
    except OSError:
        return ""


def open_tree(path: Path) -> Tree:
    """The tree at ``path``. Raises UsageError when there is none, or one of a release out of range."""
    header = path / "py" / "mpconfig.h"
    try:
        text = header.read_text("utf-8", "replace")
    except OSError:
        raise UsageError(f"{str(path)!r} is no source tree of MicroPython: no py/mpconfig.h", hint=_TREE_HINT) from None
    found = [
        re.search(rf"^#define MICROPY_VERSION_{part} (\d+)$", text, re.MULTILINE)
        for part in ("MAJOR", "MINOR", "MICRO")
    ]
    numbers = tuple(int(each[1]) for each in found if each is not None)
    if len(numbers) != 3:
        raise UsageError(f"{str(header)!r} names no version: it is older than 1.{OLDEST[1]}", hint=_OLDER)
    version = ".".join(map(str, numbers))
    if numbers[0] != 1 or numbers[:2] < OLDEST:
        raise UsageError(
            f"the tree is of MicroPython {version}, expected 1.{OLDEST[1]} or a newer 1.x",
            hint=_OLDER,
        )
    return Tree(path.resolve(), version, numbers)


def find_firmware(tree: Tree, name: str, variant: str = "") -> Firmware:
    """The board that ``name`` (``PORT/BOARD``) is of. Raises UsageError that names the nearest when it is not there."""
    port, _, board = name.partition("/")
    ports = tree.path / "ports"
    names = sorted(folder.name for folder in ports.iterdir() if folder.is_dir()) if ports.is_dir() else []
    if port not in names:
        raise UsageError(f"the tree has no port {port!r}", hint=_nearest(port, names))
    boards = ports / port / "boards"
    known = sorted(folder.name for folder in boards.iterdir() if folder.is_dir()) if boards.is_dir() else []
    if not board or board not in known:
        raise UsageError(
            f"port {port} of the tree has no board {board!r}" if board else f"which board of port {port}?",
            hint=_nearest(f"{port}/{board}", [f"{port}/{each}" for each in known]),
        )
    folder = boards / board
    if variant and not any((folder / f"mpconfigvariant_{variant}.{kind}").exists() for kind in ("mk", "cmake", "h")):
        variants = sorted(
            {path.stem.partition("_")[2] for path in folder.glob("mpconfigvariant_*")} | {""}  # the plain one
        )
        raise UsageError(f"board {name} has no variant {variant!r}", hint=_nearest(variant, variants[1:]))
    return Firmware(tree, port, board, variant, folder)


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, 5, 0.4) or known[:12]
    return f"there are {', '.join(near)}{' …' if len(near) < len(known) else ''}" if known else "it has none"


def content_of(firmware: Firmware) -> str:
    """A sum over every file of the tree that a build is made from: names and contents."""
    digest = hashlib.sha256()
    for file in sorted(_files(firmware)):
        digest.update(f"{file.relative_to(firmware.tree.path)}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _files(firmware: Firmware) -> Iterator[Path]:
    for part in _SOURCES:
        for pattern in ("*.c", "*.h", "*.mk", "*.py"):
            yield from (firmware.tree.path / part).rglob(pattern)
    # Manifests, too: they tell whether asyncio is frozen.
    for pattern in ("*.c", "*.h", "*.mk", "*.cmake", "sdkconfig*", "manifest*.py"):
        yield from firmware.port_folder.glob(pattern)
        yield from firmware.folder.rglob(pattern)
        yield from (firmware.port_folder / "boards").glob(pattern)
