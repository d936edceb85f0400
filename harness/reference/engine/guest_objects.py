"""Objects that the host makes in the guest: what the firmware calls itself, and functions that the build has not.

They stand outside the heap, where a port has its own constants. Layouts: ``mp_obj_str_t`` (``py/objstr.h``),
attribute tuples, which end in a pointer to their fields' names (``py/objattrtuple.c``), ``mp_obj_module_t`` and
``mp_obj_dict_t`` with its ``mp_map_t`` (``py/obj.h``).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from harness.reference.engine.guest_memory import GuestMemory

_WORD = 4
#: ``mp_map_t``: the number of entries in use stands above three flag bits.
_USED_SHIFT = 3


@dataclass(frozen=True)
class Identity:
    """What ``sys`` and ``os.uname()`` tell of the firmware. ``thread`` and ``release`` may be empty."""

    platform: str
    machine: str
    build: str
    mpy: int
    thread: str = ""
    release: str = ""


class GuestObjects:
    """``text`` is the address of any string object that is no interned one: it tells the type."""

    def __init__(self, memory: GuestMemory, text: int) -> None:
        self._memory = memory
        self._string_type = memory.read_u32(text)
        self._at = memory.grow(65536)
        self._end = self._at + 65536

    def put(self, data: bytes) -> int:
        address, self._at = self._at, self._at + (len(data) + 15 & ~15)
        assert self._at <= self._end, "the objects do not fit"
        self._memory.write(address, data)
        return address

    def words(self, *words: int) -> int:
        return self.put(struct.pack(f"<{len(words)}I", *words))

    def text(self, text: str) -> int:
        data = text.encode()
        # A hash of 0 is one that has not been computed (GET_STR_HASH in py/objstr.h).
        return self.words(self._string_type, 0, len(data), self.put(data + b"\0"))

    def attributes(self, kind: int, fields: list[tuple[int, int]]) -> int:
        """A tuple of type ``kind`` with these (number of the name, value)."""
        names = self.words(*(name for name, _ in fields))
        return self.words(kind, len(fields), *(value for _, value in fields), names)

    def set_name(self, module: int, name: int, value: int) -> None:
        """Let ``module`` have ``name``, an object word, with this value; its table is fixed, so it may move."""
        table = self._memory.read_u32(module + _WORD) + _WORD
        flags, _, entries = struct.unpack("<III", self._memory.read(table, 12))
        used = flags >> _USED_SHIFT
        rows = self._memory.read(entries, 8 * used)
        for at in range(0, len(rows), 8):
            if struct.unpack_from("<I", rows, at)[0] == name:
                self._memory.write_u32(entries + at + _WORD, value)
                return
        flags = used + 1 << _USED_SHIFT | flags & (1 << _USED_SHIFT) - 1
        self._memory.write(
            table, struct.pack("<III", flags, used + 1, self.put(rows + struct.pack("<II", name, value)))
        )


def read_text(memory: GuestMemory, text: int) -> str:
    """The content of a string object that is no interned one."""
    _, _, length, data = struct.unpack("<IIII", memory.read(text, 16))
    return memory.read(data, min(length, 256)).decode("utf-8", "replace")


def install(memory: GuestMemory, argument: str, identity: Identity) -> None:
    """What the guest's ``_port`` asks for, with the addresses and names that it tells; see there for their order."""
    words = [int(word) for word in argument.split()]
    (sys, os, vfs, built_in, own, box, implementation, version, uname, rom_ioctl), names = words[:10], words[10:]
    platform_name, implementation_name, thread_name, uname_name, rom_ioctl_name, *uname_fields = names
    old = memory.read(implementation, 8 + 6 * _WORD)
    kind, count = struct.unpack_from("<II", old)
    items = list(struct.unpack_from(f"<{count + 1}I", old, 8))
    fields = list(struct.unpack(f"<{count}I", memory.read(items.pop(), _WORD * count)))
    objects = GuestObjects(memory, version)
    said = {"_machine": objects.text(identity.machine), "_build": objects.text(identity.build)}
    # Always in this order (py/modsys.c): name, version, _machine, _mpy, _build, _thread.
    row = [*zip(fields[:2], items[:2], strict=True), (fields[2], said["_machine"]), (fields[3], identity.mpy << 1 | 1)]
    row.append((fields[4], said["_build"]))
    if identity.thread:
        row.append((_number(thread_name), objects.text(identity.thread)))
    objects.set_name(sys, implementation_name, objects.attributes(kind, row))
    platform = objects.text(identity.platform)
    objects.set_name(sys, platform_name, platform)
    told = read_text(memory, version).rpartition("MicroPython ")[2]
    release = re.match(r"v?(\d+\.\d+\.\d+(?:-preview)?)", told)
    values = (
        platform,
        platform,
        objects.text(identity.release or (release.group(1) if release else told)),
        objects.text(told),
        said["_machine"],
    )
    tuple_of_uname = objects.attributes(kind, list(zip(map(_number, uname_fields), values, strict=True)))
    memory.write_u32(memory.read_u32(box + 12), tuple_of_uname)
    objects.set_name(os, uname_name, uname)
    if rom_ioctl:
        objects.set_name(vfs, rom_ioctl_name, rom_ioctl)
    # The built-in module stays what it is, one that a file of its name goes before, and gets the chip's content.
    memory.write_u32(built_in + _WORD, memory.read_u32(own + _WORD))


def _number(name: int) -> int:
    """The number of an interned string from its object word (object representation A)."""
    return name >> 3
