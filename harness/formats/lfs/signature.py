"""The first word of an LFS image: what it is, which format and build it is for, and how far it came (``lflash.h``)."""

from __future__ import annotations

#: Of Lua 5.1 in format 1, to which the flags are added.
SIGNATURE = 0xFAFAA150
ABSOLUTE, INTEGER, PACKED_TVALUE, IN_PROGRESS = 0x01, 0x02, 0x04, 0x08
#: What all images have in common, whatever their format and flags.
_COMMON = 0xFFFFF0F0


def is_signature(word: int) -> bool:
    """Whether an image begins with ``word``, in whichever format and build."""
    return word & _COMMON == SIGNATURE & _COMMON
