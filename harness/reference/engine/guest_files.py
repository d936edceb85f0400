"""Filesystems a guest can be given: a small protocol, and the one that lives in memory.

Paths are absolute POSIX paths without ``.`` or ``..`` (the WASI layer normalises them). Errors are
:class:`OSError` with the host's errno; the WASI layer translates them.
"""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass
from typing import Protocol

#: A guest cannot make the harness hold more than this in one memory filesystem, in bytes.
MEMORY_FILES_LIMIT = 8 * 1024 * 1024


@dataclass(frozen=True)
class Stat:
    is_dir: bool
    size: int


@dataclass(frozen=True)
class Mode:
    read: bool = True
    write: bool = False
    create: bool = False
    exclusive: bool = False
    truncate: bool = False
    append: bool = False


class File(Protocol):
    def read(self, size: int) -> bytes: ...
    def write(self, data: bytes) -> int: ...
    def seek(self, offset: int, whence: int) -> int: ...
    def sync(self) -> None: ...
    def close(self) -> None: ...


class Files(Protocol):
    def stat(self, path: str) -> Stat: ...
    def listdir(self, path: str) -> list[tuple[str, bool]]:
        """Names in a directory, each with whether it is a directory itself."""
        ...

    def open(self, path: str, mode: Mode) -> File: ...
    def mkdir(self, path: str) -> None: ...
    def rmdir(self, path: str) -> None: ...
    def remove(self, path: str) -> None: ...
    def rename(self, old: str, new: str) -> None: ...


def fault(code: int) -> OSError:
    return OSError(code, os.strerror(code))


class RandomBytes:
    """A source of random bytes that gives the same ones in every life of the VM: runs must repeat."""

    def __init__(self) -> None:
        self._source = random.Random(0)

    def read(self, size: int) -> bytes:
        return self._source.randbytes(size)

    def write(self, data: bytes) -> int:
        raise fault(errno.EBADF)

    def seek(self, offset: int, whence: int) -> int:
        return 0

    def sync(self) -> None: ...
    def close(self) -> None: ...


class BytesFile:
    """A file over a bytearray that its owner shares. ``budget`` is asked before the file grows."""

    def __init__(self, content: bytearray, mode: Mode, owner: MemoryFiles | None = None) -> None:
        self.content = content
        self.mode = mode
        self.owner = owner
        self.position = 0

    def read(self, size: int) -> bytes:
        if not self.mode.read:
            raise fault(errno.EBADF)
        data = bytes(self.content[self.position : self.position + size])
        self.position += len(data)
        return data

    def write(self, data: bytes) -> int:
        if not self.mode.write:
            raise fault(errno.EBADF)
        if self.mode.append:
            self.position = len(self.content)
        growth = self.position + len(data) - len(self.content)
        if growth > 0 and self.owner is not None:
            self.owner.claim(growth)
        if self.position > len(self.content):
            self.content.extend(bytes(self.position - len(self.content)))
        self.content[self.position : self.position + len(data)] = data
        self.position += len(data)
        return len(data)

    def seek(self, offset: int, whence: int) -> int:
        base = (0, self.position, len(self.content))[whence]
        if base + offset < 0:
            raise fault(errno.EINVAL)
        self.position = base + offset
        return self.position

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass


class MemoryFiles:
    """A filesystem in the host's memory, bounded by :data:`MEMORY_FILES_LIMIT`."""

    def __init__(self) -> None:
        self._files: dict[str, bytearray] = {}
        self._dirs: set[str] = {"/"}

    def claim(self, growth: int) -> None:
        if growth + sum(map(len, self._files.values())) > MEMORY_FILES_LIMIT:
            raise fault(errno.ENOSPC)

    def stat(self, path: str) -> Stat:
        if path in self._dirs:
            return Stat(True, 0)
        if path in self._files:
            return Stat(False, len(self._files[path]))
        raise fault(errno.ENOENT)

    def listdir(self, path: str) -> list[tuple[str, bool]]:
        if path not in self._dirs:
            raise fault(errno.ENOTDIR if path in self._files else errno.ENOENT)
        prefix = path.rstrip("/") + "/"
        entries = [(name, True) for name in self._dirs if name != "/"] + [(n, False) for n in self._files]
        inside = [(n[len(prefix) :], d) for n, d in entries if n.startswith(prefix)]
        return sorted((n, d) for n, d in inside if "/" not in n)

    def open(self, path: str, mode: Mode) -> File:
        if path in self._dirs:
            raise fault(errno.EISDIR)
        if path not in self._files:
            if not mode.create:
                raise fault(errno.ENOENT)
            if path.rsplit("/", 1)[0] not in {d.rstrip("/") for d in self._dirs}:
                raise fault(errno.ENOENT)
            self._files[path] = bytearray()
        elif mode.exclusive:
            raise fault(errno.EEXIST)
        elif mode.truncate:
            del self._files[path][:]
        return BytesFile(self._files[path], mode, self)

    def mkdir(self, path: str) -> None:
        if path in self._dirs or path in self._files:
            raise fault(errno.EEXIST)
        parent = path.rsplit("/", 1)[0] or "/"
        if parent not in self._dirs:
            raise fault(errno.ENOENT)
        self._dirs.add(path)

    def rmdir(self, path: str) -> None:
        if path not in self._dirs:
            raise fault(errno.ENOTDIR if path in self._files else errno.ENOENT)
        if path == "/" or self.listdir(path):
            raise fault(errno.ENOTEMPTY)
        self._dirs.discard(path)

    def remove(self, path: str) -> None:
        if path in self._dirs:
            raise fault(errno.EISDIR)
        if self._files.pop(path, None) is None:
            raise fault(errno.ENOENT)

    def rename(self, old: str, new: str) -> None:
        if old in self._files:
            if new in self._dirs:
                raise fault(errno.EISDIR)
            self._files[new] = self._files.pop(old)
        elif old in self._dirs and old != "/":
            if new in self._dirs or new in self._files or new.startswith(old + "/"):
                raise fault(errno.EEXIST)

            def moved(path: str) -> str:
                return new + path[len(old) :] if path == old or path.startswith(old + "/") else path

            self._dirs = {moved(path) for path in self._dirs}
            self._files = {moved(path): content for path, content in self._files.items()}
        else:
            raise fault(errno.ENOENT)
