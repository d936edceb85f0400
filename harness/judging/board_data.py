"""Bytes that programs of the suites write on a board, made again on the host, and how those programs tell them."""

from __future__ import annotations

import binascii


def filling(size: int) -> bytes:
    """What ``sleep_deep.py`` and ``cp_sleep.py`` fill a memory with: no two places of it alike for long."""
    value, written = 1, bytearray()
    for _ in range(size):
        value = (value * 1103515245 + 12345) & 0x3FFFFFFF
        written.append(value >> 16 & 0xFF)
    return bytes(written)


def told(data: bytes) -> str:
    """As a state: the length, and the CRC-32 of the bytes."""
    return f"{len(data)}:{binascii.crc32(data):08x}"
