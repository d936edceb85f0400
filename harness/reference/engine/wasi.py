"""The WASI calls that MicroPython's module imports, answered by a :class:`Port` of ours.

Follows "WASI snapshot preview 1" (witx ``wasi_snapshot_preview1``) for the 26 functions that the
module imports; sockets, links, timestamps and rights inheritance are left out. Nothing of the host
is reachable from the guest: no host file, no environment, no host clock unless the port gives it.
"""

from __future__ import annotations

import errno
import posixpath
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from harness.reference.engine.guest_files import BytesFile, File, Files, Mode, RandomBytes, Stat

if TYPE_CHECKING:
    from harness.reference.engine.guest_memory import GuestMemory

_ERRNO = {
    errno.EACCES: 2,
    errno.EBADF: 8,
    errno.EBUSY: 10,
    errno.EEXIST: 20,
    errno.EFBIG: 22,
    errno.EINTR: 27,
    errno.EINVAL: 28,
    errno.EIO: 29,
    errno.EISDIR: 31,
    errno.ENAMETOOLONG: 37,
    errno.ENOENT: 44,
    errno.ENOSPC: 51,
    errno.ENOTDIR: 54,
    errno.ENOTEMPTY: 55,
    errno.EROFS: 69,
}
_EBADF, _EINVAL, _EIO, _ENOTDIR = 8, 28, 29, 54

_CHARACTER_DEVICE, _DIRECTORY, _REGULAR = 2, 3, 4
_ROOT_FD = 3
_MAX_OPEN = 61
#: The descriptor that ``sys.stdout.buffer`` is pointed at, so that raw and translated output differ.
RAW_OUTPUT_FD = 61
#: The descriptor of what a program ended by. Descriptor 2 is not only that: warnings go there too, which a board
#: prints among the program's output (MicroPython ``py/runtime.h``, ``MICROPY_ERROR_PRINTER``).
ERROR_OUTPUT_FD = 62
_CONSOLE = (0, 1, 2, RAW_OUTPUT_FD, ERROR_OUTPUT_FD)

#: Path that the port script executes: opening it waits for the next program. Its size is how many there were.
PROGRAM_PATH = "/<stdin>"
#: Where the unix port takes the seed of ``random`` from (``ports/unix/unix_mphal.c``, ``mp_hal_get_random``).
RANDOM_PATHS = ("/dev/random", "/dev/urandom")


class Port(Protocol):
    """What stands around the VM: its console, clock, filesystem and program source."""

    @property
    def files(self) -> Files: ...
    def write(self, data: bytes) -> None: ...
    def write_raw(self, data: bytes) -> None:
        """What went through ``sys.stdout.buffer``: to be sent without newline translation."""
        ...

    def write_error(self, data: bytes) -> None: ...
    def read(self, size: int) -> bytes: ...
    def poll_input(self, timeout_ns: int | None) -> bool:
        """True once input is waiting; waits at most ``timeout_ns`` (None: for ever)."""
        ...

    def next_program(self) -> bytes:
        """The source of the next program to run; waits for it. May raise to end the VM."""
        ...

    def clock_ns(self) -> int: ...
    def sleep_ns(self, duration: int) -> None: ...


class GuestExit(Exception):
    """The guest called ``proc_exit``."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Wasi:
    """One guest's WASI state: its open files and its port."""

    def __init__(self, port: Port, argv: list[str], environ: dict[str, str]) -> None:
        self.port = port
        self.memory: GuestMemory  # set when the instance exists
        self._argv = [a.encode() + b"\0" for a in argv]
        self._environ = [f"{k}={v}".encode() + b"\0" for k, v in environ.items()]
        # A port may have a real-time clock besides (nanoseconds since 1970): ``real_time_ns``.
        self._real_time_ns: Callable[[], int] = getattr(port, "real_time_ns", port.clock_ns)
        self.open_files: dict[int, File | str] = {_ROOT_FD: "/"}  # a directory is kept as its path
        self._random = RandomBytes()
        self._programs = 0

    def functions(self) -> dict[str, Callable[..., int | None]]:
        return {name: getattr(self, name) for name in dir(self) if name.partition("_")[0] in _GROUPS}

    # -- process ---------------------------------------------------------------------------------

    def args_sizes_get(self, count: int, size: int) -> int:
        return self._sizes(self._argv, count, size)

    def args_get(self, pointers: int, buffer: int) -> int:
        return self._strings(self._argv, pointers, buffer)

    def environ_sizes_get(self, count: int, size: int) -> int:
        return self._sizes(self._environ, count, size)

    def environ_get(self, pointers: int, buffer: int) -> int:
        return self._strings(self._environ, pointers, buffer)

    def _sizes(self, strings: list[bytes], count: int, size: int) -> int:
        self.memory.write_u32(count, len(strings))
        self.memory.write_u32(size, sum(map(len, strings)))
        return 0

    def _strings(self, strings: list[bytes], pointers: int, buffer: int) -> int:
        for index, text in enumerate(strings):
            self.memory.write_u32(pointers + 4 * index, buffer)
            self.memory.write(buffer, text)
            buffer += len(text)
        return 0

    def proc_exit(self, code: int) -> None:
        raise GuestExit(code)

    def sched_yield(self) -> int:
        return 0

    # -- time ------------------------------------------------------------------------------------

    def clock_time_get(self, clock: int, _precision: int, result: int) -> int:
        self.memory.write_u64(result, self.port.clock_ns() if clock else self._real_time_ns())
        return 0

    def poll_oneoff(self, subscriptions: int, events: int, count: int, result: int) -> int:
        """Wait for the earliest of the clocks, or for input on the console."""
        if not 0 < count <= 64:
            return _EINVAL
        clocks: list[tuple[int, int]] = []
        ready: list[tuple[int, int, int]] = []
        inputs: list[int] = []
        for index in range(count):
            raw = self.memory.read(subscriptions + 48 * index, 48)
            userdata, tag = struct.unpack_from("<QB", raw)
            if tag == 0:
                timeout, _, flags = struct.unpack_from("<QQH", raw, 24)
                clocks.append((timeout - self.port.clock_ns() if flags & 1 else timeout, userdata))
            elif tag == 1 and struct.unpack_from("<I", raw, 16)[0] == 0:
                inputs.append(userdata)
            else:
                ready.append((userdata, 0, tag))
        wait = 0 if ready else max(0, min(clocks)[0]) if clocks else None
        if inputs:
            if self.port.poll_input(wait):
                ready += [(userdata, 1, 1) for userdata in inputs]
        elif wait:
            self.port.sleep_ns(wait)
        if not ready:
            ready = [(userdata, 0, 0) for timeout, userdata in clocks if timeout <= (wait or 0)]
        for index, (userdata, size, tag) in enumerate(ready):
            event = struct.pack("<QHB5xQH6x", userdata, 0, tag, size, 0)
            self.memory.write(events + 32 * index, event)
        self.memory.write_u32(result, len(ready))
        return 0

    # -- open files ------------------------------------------------------------------------------

    def _file(self, fd: int) -> File:
        file = self.open_files.get(fd)
        if file is None or isinstance(file, str):
            raise OSError(errno.EBADF, "not an open file")
        return file

    def fd_close(self, fd: int) -> int:
        file = self.open_files.pop(fd, None)
        if file is None:
            return _EBADF
        return 0 if isinstance(file, str) else self._guard(file.close)

    def fd_fdstat_get(self, fd: int, result: int) -> int:
        terminal = fd in _CONSOLE
        if terminal:
            kind = _CHARACTER_DEVICE
        elif fd in self.open_files:
            kind = _DIRECTORY if isinstance(self.open_files[fd], str) else _REGULAR
        else:
            return _EBADF
        everything = (1 << 29) - 1
        # A terminal must not offer seek (2) and tell (5): that is how a libc recognises one.
        rights = everything & ~(1 << 2 | 1 << 5) if terminal else everything
        self.memory.write(result, struct.pack("<BxHxxxxQQ", kind, 0, rights, everything))
        return 0

    def fd_prestat_get(self, fd: int, result: int) -> int:
        if fd != _ROOT_FD:
            return _EBADF
        self.memory.write(result, struct.pack("<II", 0, 1))
        return 0

    def fd_prestat_dir_name(self, fd: int, path: int, size: int) -> int:
        if fd != _ROOT_FD or size < 1:
            return _EBADF
        self.memory.write(path, b"/")
        return 0

    def _buffers(self, vectors: int, count: int) -> list[tuple[int, int]]:
        raw = self.memory.read(vectors, 8 * min(count, 1024))
        return list(struct.iter_unpack("<II", raw))

    def fd_read(self, fd: int, vectors: int, count: int, result: int) -> int:
        def run() -> None:
            total = 0
            for address, size in self._buffers(vectors, count):
                if not size:
                    continue
                data = self.port.read(size) if fd == 0 else self._file(fd).read(size)
                self.memory.write(address, data)
                total += len(data)
                if len(data) < size:
                    break
            self.memory.write_u32(result, total)

        return self._guard(run)

    def fd_write(self, fd: int, vectors: int, count: int, result: int) -> int:
        def run() -> None:
            data = b"".join(self.memory.read(a, n) for a, n in self._buffers(vectors, count))
            if fd in (1, 2):
                self.port.write(data)
            elif fd == ERROR_OUTPUT_FD:
                self.port.write_error(data)
            elif fd == RAW_OUTPUT_FD:
                self.port.write_raw(data)
            else:
                self._file(fd).write(data)
            self.memory.write_u32(result, len(data))

        return self._guard(run)

    def fd_seek(self, fd: int, offset: int, whence: int, result: int) -> int:
        def run() -> None:
            if not 0 <= whence <= 2:
                raise OSError(errno.EINVAL, "whence")
            self.memory.write_u64(result, self._file(fd).seek(offset, whence))

        return self._guard(run)

    def fd_sync(self, fd: int) -> int:
        return 0 if fd in _CONSOLE else self._guard(lambda: self._file(fd).sync())

    def fd_readdir(self, fd: int, buffer: int, size: int, cookie: int, result: int) -> int:
        path = self.open_files.get(fd)
        if not isinstance(path, str):
            return _ENOTDIR

        def run() -> None:
            names = [(".", True), ("..", True), *self.port.files.listdir(path)]
            out = b""
            for index, (name, is_dir) in enumerate(names[cookie:], cookie):
                text = name.encode()
                kind = _DIRECTORY if is_dir else _REGULAR
                out += struct.pack("<QQIBxxx", index + 1, index + 1, len(text), kind) + text
                if len(out) >= size:
                    break
            self.memory.write(buffer, out[:size])
            self.memory.write_u32(result, min(len(out), size))

        return self._guard(run)

    # -- paths -----------------------------------------------------------------------------------

    def _path(self, fd: int, address: int, size: int) -> str:
        base = self.open_files.get(fd)
        if not isinstance(base, str) or size > 4096:
            raise OSError(errno.EBADF, "not a directory handle")
        text = bytes(self.memory.read(address, size)).decode("utf-8", "replace")
        return posixpath.normpath(posixpath.join("/", base, text))

    def path_open(
        self,
        fd: int,
        _dirflags: int,
        path: int,
        size: int,
        oflags: int,
        rights: int,
        _inheriting: int,
        fdflags: int,
        result: int,
    ) -> int:
        def run() -> None:
            name = self._path(fd, path, size)
            handle: File | str
            if name == PROGRAM_PATH:
                handle = BytesFile(bytearray(self.port.next_program()), Mode())
                self._programs += 1
            elif name in RANDOM_PATHS:
                handle = self._random
            elif oflags & 2 or (not rights & 64 and self._is_dir(name)):
                if not self.port.files.stat(name).is_dir:
                    raise OSError(errno.ENOTDIR, name)
                handle = name
            else:
                mode = Mode(
                    read=bool(rights & 2),
                    write=bool(rights & 64),
                    create=bool(oflags & 1),
                    exclusive=bool(oflags & 4),
                    truncate=bool(oflags & 8),
                    append=bool(fdflags & 1),
                )
                handle = self.port.files.open(name, mode)
            new = next((n for n in range(_ROOT_FD + 1, _MAX_OPEN) if n not in self.open_files), None)
            if new is None:
                raise OSError(errno.ENOSPC, "too many open files")
            self.open_files[new] = handle
            self.memory.write_u32(result, new)

        return self._guard(run)

    def _is_dir(self, name: str) -> bool:
        try:
            return self.port.files.stat(name).is_dir
        except OSError:
            return False

    def path_filestat_get(self, fd: int, _flags: int, path: int, size: int, result: int) -> int:
        def run() -> None:
            name = self._path(fd, path, size)
            stat = Stat(False, self._programs) if name == PROGRAM_PATH else self.port.files.stat(name)
            kind = _DIRECTORY if stat.is_dir else _REGULAR
            record = struct.pack("<QQBxxxxxxxQQQQQ", 1, 1, kind, 1, stat.size, 0, 0, 0)
            self.memory.write(result, record)

        return self._guard(run)

    def path_create_directory(self, fd: int, path: int, size: int) -> int:
        return self._guard(lambda: self.port.files.mkdir(self._path(fd, path, size)))

    def path_remove_directory(self, fd: int, path: int, size: int) -> int:
        return self._guard(lambda: self.port.files.rmdir(self._path(fd, path, size)))

    def path_unlink_file(self, fd: int, path: int, size: int) -> int:
        return self._guard(lambda: self.port.files.remove(self._path(fd, path, size)))

    def path_rename(self, fd: int, old: int, old_size: int, new_fd: int, new: int, new_size: int) -> int:
        def run() -> None:
            target = self._path(new_fd, new, new_size)
            self.port.files.rename(self._path(fd, old, old_size), target)

        return self._guard(run)

    def path_readlink(self, *_: int) -> int:
        return _EINVAL

    # -- errors ----------------------------------------------------------------------------------

    @staticmethod
    def _guard(action: Callable[[], object]) -> int:
        """Run ``action``; an :class:`OSError` becomes the guest's errno."""
        try:
            action()
        except OSError as problem:
            return _ERRNO.get(problem.errno or 0, _EIO)
        return 0


_GROUPS = {"args", "environ", "proc", "sched", "clock", "poll", "fd", "path"}
