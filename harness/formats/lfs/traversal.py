"""In which order Lua's ``next`` meets the keys of a table that strings were put into one after the other.

The firmware's image writer collects its strings in such a table and writes them in this order. NodeMCU's tables grow
in place (app/lua/ltable.c), so the order differs from stock Lua's.
"""

from __future__ import annotations

from collections.abc import Iterable


def string_hash(text: bytes) -> int:
    """The hash of a string in Lua 5.1, 32 bits; of a long string only some of the characters count (lstring.c)."""
    hashed = len(text)
    step = (len(text) >> 5) + 1
    for at in range(len(text), step - 1, -step):
        hashed ^= ((hashed << 5) + (hashed >> 2) + text[at - 1]) & 0xFFFFFFFF
    return hashed


def in_table_order(keys: Iterable[bytes]) -> list[bytes]:
    """The keys, each once, as ``next`` gives them."""
    table = _Table()
    for key in keys:
        table.add(key)
    return [key for key in table.nodes if key is not None]


class _Table:
    """The hash part of a table: nodes with a key and the index of the next node of the chain (-1: none)."""

    def __init__(self) -> None:
        self.nodes: list[bytes | None] = []
        self._next: list[int] = []
        self._last_free = 0
        self._hash: dict[bytes, int] = {}

    def add(self, key: bytes) -> None:
        if key not in self._hash:
            self._hash[key] = string_hash(key)
            self._insert(key)

    def _main(self, key: bytes) -> int:
        return self._hash[key] & (len(self.nodes) - 1)

    def _main_of(self, node: int) -> int:
        key = self.nodes[node]
        assert key is not None
        return self._main(key)

    def _free_node(self) -> int:
        while self._last_free > 0:
            self._last_free -= 1
            if self.nodes[self._last_free] is None:
                return self._last_free
        return -1

    def _before(self, start: int, node: int) -> int:
        while start >= 0 and self._next[start] != node:
            start = self._next[start]
        return start

    def _insert(self, key: bytes) -> None:
        if not self.nodes:
            self._grow()
        main = self._main(key)
        if self.nodes[main] is None:
            self.nodes[main] = key
            return
        free = self._free_node()
        if free < 0:
            self._grow()
            self._insert(key)
            return
        other = self._main_of(main)
        if other != main:
            self._next[self._before(other, main)] = free
            self.nodes[free], self._next[free] = self.nodes[main], self._next[main]
            self.nodes[main], self._next[main] = key, -1
        else:
            self.nodes[free], self._next[free] = key, self._next[main]
            self._next[main] = free

    def _grow(self) -> None:
        old = len(self.nodes)
        # One more than the keys it holds, to the next power of two. All nodes are taken when this happens.
        size = 1 << old.bit_length() if old else 1
        self.nodes += [None] * (size - old)
        self._next = [-1] * size
        self._last_free = size
        for node in range(size):
            if self.nodes[node] is not None:
                while not self._move(node):
                    pass

    def _move(self, node: int) -> bool:
        """Bring a node to where its key belongs; False if another key is there now that has to move as well."""
        main = self._main_of(node)
        if main == node or self._before(main, node) >= 0:
            return True
        if self.nodes[main] is None:
            self.nodes[main], self.nodes[node] = self.nodes[node], None
            self._next[main], self._next[node] = self._next[node], -1
            return True
        other = self._main_of(main)
        if other == main:
            self._next[node], self._next[main] = self._next[main], node
            return True
        before = self._before(other, main)
        moving, follows = self.nodes[node], self._next[node]
        if before >= 0:
            self._next[before] = node
        self.nodes[node], self._next[node] = self.nodes[main], self._next[main]
        self.nodes[main], self._next[main] = moving, follows
        return before >= 0
