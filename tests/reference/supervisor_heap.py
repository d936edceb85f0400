"""Heaps that stand in for a VM's in tests of the supervisor's region: they lie where the VM's would, in the middle."""

from __future__ import annotations

from harness.reference.supervisor import Span


class BumpHeap:
    """Gives one piece after another; ``next`` is where the next one starts. Keeps its bytes to itself."""

    def __init__(self, span: Span) -> None:
        self.span = span
        self.root = 0
        self.next = span.start
        self.freed: list[int] = []
        self._memory = bytearray(span.size)

    def allocate(self, size: int) -> int | None:
        if self.next + size > self.span.end:
            return None
        self.next += size
        return self.next - size

    def free(self, address: int) -> None:
        self.freed.append(address)

    def read(self, address: int, size: int) -> bytes:
        offset = address - self.span.start
        return bytes(self._memory[offset : offset + size])

    def write(self, address: int, data: bytes) -> None:
        offset = address - self.span.start
        self._memory[offset : offset + len(data)] = data
