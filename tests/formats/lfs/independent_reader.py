"""A second reader of LFS images, from the format's description alone: it shares no code with harness.lfs.

It accounts for every word: each is met once, and is marked in the relocation bitmap if and only if it is an address.
"""

from __future__ import annotations

import gzip
import struct
from typing import Any


class Rejected(Exception):
    pass


def need(condition: object, message: str) -> None:
    if not condition:
        raise Rejected(message)


class IndependentImage:
    def __init__(self, container: bytes, integer: bool = False) -> None:
        data = gzip.decompress(container)
        need(len(data) % 4 == 0, "length")
        words = struct.unpack(f"<{len(data) // 4}I", data)
        self.size = words[1]
        count = self.size // 4
        self.words: tuple[int, ...] = words[:count]
        bitmap = words[count:]
        need(len(bitmap) == (count + 31) // 32, "length of the bitmap")
        self.marked = {i for i in range(32 * len(bitmap)) if bitmap[i // 32] >> (i % 32) & 1}
        self.met: set[int] = set()
        self.addresses: set[int] = set()
        self.integer = integer
        need(words[0] == (0xFAFAA152 if integer else 0xFAFAA154), "signature")
        need(words[6] == words[7] == 0, "fill words")
        for i in (0, 1, 4, 5, 6, 7):
            self.take(i)
        self.strings: dict[int, bytes] = {}
        self.used: set[int] = set()
        self.string_table(self.pointer(3), words[4], words[5])
        self.main = self.function(self.pointer(2), count)
        need(self.met == set(range(count)), f"{count - len(self.met)} words that nothing refers to")
        need(self.addresses == self.marked, "relocation bitmap")

    def take(self, i: int) -> int:
        need(0 <= i < len(self.words), f"word {i} outside")
        need(i not in self.met, f"word {i} has two meanings")
        self.met.add(i)
        return self.words[i]

    def pointer(self, i: int) -> int:
        value = self.take(i)
        if value:
            self.addresses.add(i)
            need(value < len(self.words), "address outside")
        return value

    def string_table(self, table: int, number: int, size: int) -> None:
        need(table == 8, "buckets do not follow the header")
        need(size == 1 << size.bit_length() - 1 and number < size <= 2 * number, "number of buckets")
        for bucket in range(size):
            at = self.pointer(table + bucket)
            while at:
                following = self.pointer(at)
                need(following < at, "a chain has the newest first")
                need(self.take(at + 1) == 0x4004, "kind of string")
                hashed, length = self.take(at + 2), self.take(at + 3)
                raw = b"".join(struct.pack("<I", self.take(at + 4 + i)) for i in range(length // 4 + 1))
                need(not raw[length:].strip(b"\0"), "padding")
                h, step, i = length, (length >> 5) + 1, length
                while i >= step:
                    h = (h ^ ((h << 5) + (h >> 2) + raw[i - 1])) % 2**32
                    i -= step
                need(h == hashed and h % size == bucket, "hash")
                self.strings[at] = raw[:length]
                at = following
        need(len(self.strings) == number, "number of strings")
        need(len(set(self.strings.values())) == number, "a string twice")

    def text(self, at: int) -> bytes:
        need(at in self.strings, "no string there")
        self.used.add(at)
        return self.strings[at]

    def function(self, at: int, before: int) -> dict[str, Any]:
        need(at < before, "a function refers forward")
        need(self.take(at) == 0 and self.take(at + 1) == 0 and self.take(at + 16) == 0, "header of a function")
        k, code, p, lines, locvars, upvalues, source = (self.pointer(at + i) for i in range(2, 9))
        numbers = [self.take(at + i) for i in range(9, 16)]
        flags = struct.pack("<I", self.take(at + 17))
        f: dict[str, Any] = {"source": self.text(source), "line": numbers[5], "last": numbers[6], "flags": flags}
        need((p == 0) == (numbers[3] == 0), "vector of functions")
        f["p"] = [self.function(self.pointer(p + i), at) for i in range(numbers[3])]
        cell = 2 if self.integer else 3
        f["k"] = [self.constant(k + cell * i) for i in range(numbers[1])]
        f["code"] = [self.take(code + i) for i in range(numbers[2])]
        f["lines"] = self.lines(self.text(lines - 4), numbers[2]) if lines else []
        f["locvars"] = [
            (self.text(self.pointer(locvars + 3 * i)), self.take(locvars + 3 * i + 1)) for i in range(numbers[4])
        ]
        f["upvalues"] = [self.text(self.pointer(upvalues + i)) for i in range(numbers[0])]
        return f

    def constant(self, at: int) -> object:
        kind = self.take(at + (1 if self.integer else 2))
        if kind == 4:
            if not self.integer:
                need(self.take(at + 1) == 0, "rest of a cell")
            return self.text(self.pointer(at))
        low = self.take(at)
        high = 0 if self.integer else self.take(at + 1)
        if kind == 3:
            return (
                struct.unpack("<i", struct.pack("<I", low))[0]
                if self.integer
                else struct.unpack("<d", struct.pack("<2I", low, high))[0]
            )
        need(kind in (0, 1) and high == 0 and low <= kind, "kind of constant")
        return bool(low) if kind else None

    @staticmethod
    def lines(packed: bytes, count: int) -> list[int]:
        lines: list[int] = []
        line, i = 0, 0
        while i < len(packed):
            if packed[i] < 128:
                line += 1
            else:
                negative, delta, shift = packed[i] & 64, packed[i] & 63, 6
                i += 1
                while packed[i] >= 128:
                    delta += (packed[i] & 127) << shift
                    shift += 7
                    i += 1
                line += -delta if negative else delta + 2
            need(0 < packed[i] < 127, "count of a line group")
            lines += [line] * packed[i]
            i += 1
        need(len(lines) == count, "lines for another number of instructions")
        return lines

    def modules(self) -> dict[bytes, dict[str, Any]]:
        """By following the index function's own instructions."""
        found: dict[bytes, dict[str, Any]] = {}
        code, k = self.main["code"], self.main["k"]
        need(self.main["source"] == b"=(luac)", "source of the index")
        n = len(self.main["p"])
        need(len(code) == 5 * n + 5, "instructions of the index")
        for i in range(n):
            test, jump, closure, back = code[4 * i : 4 * i + 4]
            need(test & 63 == 23 and test >> 23 == 0 and test >> 14 & 511 == 256 + i, "EQ")
            need(jump & 63 == 22 and (jump >> 14) - 131071 == 2, "JMP")
            need(closure & 63 == 36 and closure >> 6 & 255 == 1 and closure >> 14 == i, "CLOSURE")
            need(back & 63 == 30 and back >> 6 & 255 == 1 and back >> 23 == 2, "RETURN")
            found.setdefault(k[i], self.main["p"][i])
        return found
