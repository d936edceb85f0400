"""What a VM tells of the hardware below it, so that a board is known by more than its port."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ChipNames:
    """What the VM calls its chip. Each is empty where it does not tell; all of it is untrusted text.

    ``platform`` and ``machine`` as ``sys.platform`` and ``sys.implementation._machine`` have them. ``unique`` is the
    chip's number as hex digits, in the order in which the VM has its bytes; ``tail`` the last digits of the MAC address
    where the VM tells no more of it. ``slot`` is the partition that runs, ``elf_sha256`` the hash of the build in it.
    """

    platform: str = ""
    machine: str = ""
    unique: str = ""
    tail: str = ""
    slot: str = ""
    elf_sha256: str = ""
