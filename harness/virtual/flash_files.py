"""The filesystem that a virtual board's flash holds: littlefs 2 in its ``vfs`` partition.

Parameters as MicroPython's ``VfsLfs2`` uses them on the ESP ports (``extmod/vfs_lfs.c``): 4096-byte
blocks, 32-byte reads and programs. What stands in the flash is a real littlefs image.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from littlefs import LittleFS, LittleFSError
from littlefs.context import UserContext

from harness.reference.engine.guest_files import File, Mode, Stat, fault

if TYPE_CHECKING:
    from harness.virtual.nor_flash import Flash

BLOCK = 4096
_T = TypeVar("_T")


class _Region(UserContext):  # type: ignore[misc]
    """littlefs's block device over a region of the NOR flash. Bits that an erase should have set stay 0."""

    def __init__(self, flash: Flash, offset: int) -> None:
        super().__init__(0)
        self._flash = flash
        self._offset = offset
        self.cut_off = False

    def read(self, _cfg: Any, block: int, off: int, size: int) -> bytearray:
        return bytearray(self._flash.read(self._offset + block * BLOCK + off, size))

    def prog(self, _cfg: Any, block: int, off: int, data: bytes) -> int:
        if not self.cut_off:
            self._flash.program(self._offset + block * BLOCK + off, bytes(data))
        return 0

    def erase(self, _cfg: Any, block: int) -> int:
        if not self.cut_off:
            self._flash.erase(self._offset + block * BLOCK, BLOCK)
        return 0

    def sync(self, _cfg: Any) -> int:
        return 0


def _checked(action: Callable[[], _T]) -> _T:
    """littlefs errors carry errno values of their own; they are Linux's, negated."""
    try:
        return action()
    except LittleFSError as problem:
        code = -int(problem.code)
        raise fault(code if code in errno.errorcode else errno.EIO) from None


class FlashFiles:
    """``Files`` on the partition at ``offset``; formatted and given its ``first`` files when it holds none.

    ``opened`` is called with the path of each file that is opened, and what it raises is the opening's error; ``read``
    with that of each that has been read to its end or is closed. ``fresh`` tells whether it was formatted now.
    """

    def __init__(
        self,
        flash: Flash,
        offset: int,
        size: int,
        opened: Callable[[str], None] = lambda _path: None,
        read: Callable[[str], None] = lambda _path: None,
        first: Iterable[tuple[str, bytes]] = (),
    ) -> None:
        self._opened = opened
        self._read = read
        self._region = _Region(flash, offset)
        self._fs = LittleFS(
            context=self._region,
            block_size=BLOCK,
            block_count=size // BLOCK,
            read_size=32,
            prog_size=32,
            lookahead_size=32,
            cache_size=128,
            mount=False,
        )
        self.fresh = False
        try:
            self._fs.mount()
        except LittleFSError:
            self.fresh = True
            self._fs.format()
            self._fs.mount()
            for name, content in first:
                self.replace(name, content)

    def cut_off(self) -> None:
        """The chip is in reset: what this filesystem still holds in RAM never reaches the flash. Python closes a file
        that was open whenever it collects it, long after the next start has mounted the flash anew."""
        self._region.cut_off = True

    def stat(self, path: str) -> Stat:
        status = _checked(lambda: self._fs.stat(path))
        return Stat(status.type == 2, status.size)

    def listdir(self, path: str) -> list[tuple[str, bool]]:
        return _checked(lambda: [(e.name, e.type == 2) for e in self._fs.scandir(path)])

    def open(self, path: str, mode: Mode) -> File:
        known = True
        try:
            if self.stat(path).is_dir:
                raise fault(errno.EISDIR)
        except FileNotFoundError:
            known = False
        if not known and not mode.create:
            raise fault(errno.ENOENT)
        if known and mode.exclusive:
            raise fault(errno.EEXIST)
        if not mode.write:
            text = "rb"
        elif mode.append:
            text = "ab+" if mode.read else "ab"
        elif not known or mode.truncate:
            text = "wb+" if mode.read else "wb"
        else:
            text = "rb+"
        self._opened(path)
        return _FlashFile(_checked(lambda: self._fs.open(path, text, buffering=0)), lambda: self._read(path))

    def content(self, path: str) -> bytes:
        """All of a file, read by the chip and not by the guest: nobody is told that it was opened."""
        with _checked(lambda: self._fs.open(path, "rb")) as file:
            return bytes(file.read())

    def replace(self, path: str, content: bytes) -> None:
        """A file's new content, written by the chip and not by the guest."""
        with _checked(lambda: self._fs.open(path, "wb")) as file:
            file.write(content)

    def mkdir(self, path: str) -> None:
        _checked(lambda: self._fs.mkdir(path))

    def rmdir(self, path: str) -> None:
        if not self.stat(path).is_dir:
            raise fault(errno.ENOTDIR)
        _checked(lambda: self._fs.remove(path))

    def remove(self, path: str) -> None:
        if self.stat(path).is_dir:
            raise fault(errno.EISDIR)
        _checked(lambda: self._fs.remove(path))

    def rename(self, old: str, new: str) -> None:
        _checked(lambda: self._fs.rename(old, new))


class _FlashFile:
    def __init__(self, raw: Any, was_read: Callable[[], None]) -> None:
        self._raw = raw
        self._was_read = was_read

    def read(self, size: int) -> bytes:
        data = _checked(lambda: bytes(self._raw.read(size)))
        if size and not data:
            self._was_read()
        return data

    def write(self, data: bytes) -> int:
        return _checked(lambda: int(self._raw.write(data)))

    def seek(self, offset: int, whence: int) -> int:
        return _checked(lambda: int(self._raw.seek(offset, whence)))

    def sync(self) -> None:
        _checked(self._raw.flush)

    def close(self) -> None:
        """littlefs lets go of the file also where its last write fails; its Python part would close it once more then,
        when it is collected, and littlefs ends the process for that."""
        try:
            _checked(self._raw.close)
        finally:
            setattr(self._raw, "__IOBase_closed", True)
            self._was_read()
