"""A minimal 32-bit ELF, for esptool to make images of: an independent builder to test our parser with."""

from __future__ import annotations

import struct

XTENSA, RISCV = 0x5E, 0xF3
_ALLOC, _EXEC, _PROGBITS, _STRTAB = 2, 4, 1, 3


def make_elf(sections: list[tuple[str, int, bytes]], *, entry: int, machine: int = XTENSA) -> bytes:
    """``sections`` are (name, address, data)."""
    names = b"\0"
    rows = [struct.pack("<10I", *([0] * 10))]
    body = b""
    start = 52
    for name, address, data in sections:
        flags = _ALLOC | (_EXEC if "text" in name else 0)
        row = (len(names), _PROGBITS, flags, address, start + len(body), len(data), 0, 0, 4, 0)
        rows.append(struct.pack("<10I", *row))
        names += name.encode() + b"\0"
        body += data
    name_offset = len(names)
    names += b".shstrtab\0"
    rows.append(struct.pack("<10I", name_offset, _STRTAB, 0, 0, start + len(body), len(names), 0, 0, 1, 0))
    body += names
    body += bytes(-len(body) % 4)
    ident = b"\x7fELF\x01\x01\x01" + bytes(9)
    header = struct.pack(
        "<HHIIIIIHHHHHH",
        2,
        machine,
        1,
        entry,
        0,
        start + len(body),
        0,
        52,
        32,
        0,
        40,
        len(rows),
        len(rows) - 1,
    )
    return ident + header + body + b"".join(rows)
