"""The references that were built on this computer: kept by content in the cache, found by firmware and version."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from harness.errors import UsageError
from harness.reference.engine.tree_vm import tree_section
from harness.reference.engine.vm_cache import cache_dir, keep, kept, locked, sums_dir
from harness.reference.own_tree.build import Build, Request, build, build_of, key_of

_PREFIX = "reference-"
_SUFFIX = ".wasm"


def built(request: Request, progress: Callable[[str], None]) -> tuple[bytes, Build, bool]:
    """The reference for ``request``, its description, and whether it had been built before."""
    key = key_of(request)
    name = _file(key)
    if (module := kept(name)) is not None:
        return module, described(module), True
    with locked(cache_dir() / name):
        if (module := kept(name)) is not None:
            return module, described(module), True
        module, said = build(request, key, progress)
        keep(name, module)
    return module, said, False


def described(module: bytes) -> Build:
    """What a built reference says of itself. Raises UsageError for any other module."""
    try:
        said = tree_section(module)
        if said is not None:
            return build_of(said)
    except ValueError as problem:
        raise UsageError(f"this is no reference that was built from a tree: {problem}") from None
    raise UsageError("this is no reference that was built from a tree", hint="harness reference build makes one")


def all_kept() -> list[Build]:
    """The builds in the cache, the newest firmware first; of one firmware the last one built."""
    found = []
    for path in (cache_dir() / "compiled").glob(f"{_PREFIX}*{_SUFFIX}"):
        module = kept(path.name)
        if module is not None:
            found.append((path.stat().st_mtime, described(module)))
    found.sort(key=lambda each: (_numbers(each[1].version), each[1].firmware, each[0]), reverse=True)
    return [each for _, each in found]


def find(name: str) -> tuple[bytes, Build]:
    """The build that ``name`` is of: a key's beginning, PORT/BOARD, a version, or ``PORT/BOARD@VERSION``.

    Of several of the same firmware and version it is the last one built. Raises UsageError when none is, or several
    of different firmware.
    """
    firmware, _, version = name.partition("@")
    hits = [
        each
        for each in all_kept()
        if (len(name) >= 6 and each.key.startswith(name))
        or (each.firmware == firmware and (not version or each.version == version))
        or each.version == name
    ]
    if not hits:
        raise UsageError(
            f"no reference {name!r} was built here", hint="harness reference list; harness reference build TREE"
        )
    if len({(each.firmware, each.version) for each in hits}) > 1:
        names = ", ".join(f"{each.firmware}@{each.version} ({each.key[:12]})" for each in hits[:6])
        raise UsageError(f"{name!r} is of several references: {names}", hint="give the beginning of its key")
    return module_of(hits[0]), hits[0]


def module_of(said: Build) -> bytes:
    """The module of a build that is kept. Raises UsageError when it is kept no more."""
    module = kept(_file(said.key))
    if module is None:
        raise UsageError(f"the reference {said.label} has just been removed")
    return module


def nearest(version: str, port: str) -> Build | None:
    """The build of firmware's minor release that fits best: of the same port, if there is one."""
    wanted = _numbers(version)[:2]
    fits = [each for each in all_kept() if _numbers(each.version)[:2] == wanted]
    same = [each for each in fits if each.firmware.partition("/")[0] == port]
    return next(iter(same or fits), None)


def remove(name: str) -> Build:
    """Remove the build that ``name`` is of, and what was compiled of it."""
    _, said = find(name)
    for folder in (cache_dir() / "compiled", sums_dir()):
        (folder / _file(said.key)).unlink(missing_ok=True)
    return said


def _file(key: str) -> str:
    return f"{_PREFIX}{key[:32]}{_SUFFIX}"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def from_file(path: Path) -> tuple[bytes, Build]:
    """A built reference as a file. Raises UsageError when it is none."""
    try:
        module = path.read_bytes()
    except OSError as problem:
        raise UsageError(f"the reference {str(path)!r} cannot be read: {problem.strerror}") from None
    return module, described(module)
