"""Lua sources by chance: all statements, operators and kinds of constants, deep nesting, long constructors.

A source is made from a seed alone, ends by itself, and returns one string of all that it computed.
"""

from __future__ import annotations

import random

_BINARY = ("+", "-", "*", "/", "%", "^", "..", "==", "~=", "<", "<=", ">", ">=", "and", "or")
_STRINGS = (
    '"s"',
    "'it''s'".replace("''", "\\'"),
    '"\\065\\n\\t\\\\"',
    "[[long\nstring]]",
    "[==[a]]b]==]",
    '"\\\n"',
    '""',
)
_FLOATS = ("0", "1", "2", "7", "255", "1e3", "0.5", ".25", "3.", "0x1F", "1e-2", "4294967296", "123456789012345678")
_INTEGERS = (
    "0",
    "1",
    "2",
    "3",
    "7",
    "010",
    "0x1F",
    "0XFF",
    "65536",
    "2147483647",
    "4294967295",
    "99999999999999999999",
)
_SAY = """local r = { } local function say ( ... ) for i = 1 , select ( '#' , ... ) do local v = select ( i , ... )
r [ #r + 1 ] = type ( v ) == 'table' and 'table' or type ( v ) == 'function' and 'function' or tostring ( v ) end end"""
_EACH, _EACH_SAID = "for k , w in ipairs (", ") do say ( k , w ) end"
_BREAKS = (" ", " ", " ", "\n", "\n\n", " --[[c]] ", " -- c\n", "\r\n", "\t", "\n" * 70)


class LuaSource:
    """One source. ``integer``: only literals that integer firmware reads, and no power (``2^31`` takes it long)."""

    def __init__(self, seed: int, *, integer: bool = False) -> None:
        self._choose = random.Random(seed)
        self._numbers = _INTEGERS if integer else _FLOATS
        self._names = ["g1", "g2"]
        self._loops = 0
        self._functions = 0
        self._breaks = self._choose.random() < 0.7

    def text(self) -> bytes:
        """The source."""
        body = self._block(self._choose.randint(1, 8), 3)
        words = [*_SAY.split()]
        words += [*body, "return", "table.concat", "(", "r", ",", '"|"', ")"]
        parts = []
        for at, word in enumerate(words):
            # A line that starts with a parenthesis after what may be called is "ambiguous syntax" to Lua.
            parts.append(" " if word == "(" or not at or not self._breaks else self._choose.choice(_BREAKS))
            parts.append(word)
        return "".join(parts).encode()

    def _one(self, *options: str) -> str:
        return self._choose.choice(options)

    def _block(self, count: int, depth: int) -> list[str]:
        names = list(self._names)
        words = [word for _ in range(count) for word in self._statement(depth)]
        self._names = names
        return words

    def _statement(self, depth: int) -> list[str]:
        small = self._choose.randint(1, 3)
        kinds = ["local", "say", "assign", "say"]
        if depth:
            kinds += ["if", "for", "in", "while", "repeat", "do", "function", "method", "table", "protected", "vararg"]
        kind = self._one(*kinds)
        if kind == "local":
            if len(self._names) > 12:
                return ["say", "(", *self._expression(2), ")"]
            values = self._list(small, depth)
            names = [f"v{len(self._names) + i}" for i in range(small)]
            self._names += names
            return ["local", *" , ".join(names).split(), "=", *values, ";"]
        if kind == "assign":
            return [self._one(*self._names), "=", *self._guarded(depth), self._one(";", "")]
        if kind == "if":
            words = ["if", *self._guarded(2), "then", *self._block(small, depth - 1)]
            if self._choose.random() < 0.5:
                words += ["elseif", "not", *self._guarded(1), "then", *self._block(1, depth - 1)]
            return [*words, "else", *self._block(1, depth - 1), "end"]
        if kind == "for":
            name = self._fresh("i")
            step = self._one(", 1", ", 2", "").split()
            return [
                "for",
                name,
                "=",
                "1",
                ",",
                "3",
                *step,
                "do",
                "say",
                "(",
                name,
                ")",
                *self._block(1, depth - 1),
                "end",
            ]
        if kind == "in":
            return [*_EACH.split(), *self._table(1), *_EACH_SAID.split()]
        if kind in ("while", "repeat"):
            name = self._fresh("n")
            step = [name, "=", name, "+", "1"]
            body = self._block(small, depth - 1)
            if kind == "while":
                ends = ["if", name, ">", "1", "then", "break", "end"] if self._choose.random() < 0.5 else []
                return ["local", name, "=", "0", "while", name, "<", "2", "do", *step, *body, *ends, "end"]
            return ["local", name, "=", "0", "repeat", *step, *body, "until", name, ">=", "2"]
        if kind == "do":
            return ["do", *self._block(small, depth - 1), "end"]
        if kind == "function":
            name = self._fresh("f")
            result = self._guarded(1)
            return ["local", "function", name, "(", "p", ")", *self._block(1, depth - 1), "return", "p", ",", *result,
                    "end", "say", "(", name, "(", *self._guarded(1), ")", ")"]  # fmt: skip
        if kind == "method":
            name = self._fresh("o")
            call = self._one("'s'", "{ 1 }", "( 2 )").split()
            return ["local", name, "=", "{", "}", "function", name, ".", "a", "(", "x", ")", "return", "x", "end",
                    "function", name, ":", "m", "(", "x", ")", "return", "self", ".", "a", "(", "x", ")", "end",
                    "say", "(", name, ":", "m", *call, ")"]  # fmt: skip
        if kind == "vararg":
            name = self._fresh("f")
            return ["local", "function", name, "(", "...", ")", "return", self._one("...", "select('#',...)", "(...)"),
                    "end", "say", "(", name, "(", *self._list(small, 1), ")", ")"]  # fmt: skip
        if kind == "table":
            name = self._fresh("t")
            return ["local", name, "=", *self._table(2), "say", "(", "#", name, ",", name, ".", "x", ")"]
        if kind == "protected":
            return [
                "say",
                "(",
                "(",
                "pcall",
                "(",
                "function",
                "(",
                ")",
                "return",
                *self._expression(4),
                "end",
                ")",
                ")",
                ")",
            ]
        return ["say", "(", *self._guarded(3), ")"]

    def _fresh(self, letter: str) -> str:
        self._functions += 1
        return f"{letter}{self._functions}"

    def _list(self, count: int, depth: int) -> list[str]:
        words: list[str] = []
        for at in range(count):
            words += [","] * bool(at) + self._guarded(depth)
        return words

    def _table(self, depth: int) -> list[str]:
        words = ["{"]
        for _ in range(self._choose.choice((0, 1, 3, 8, 60))):
            form = self._one("item", "item", "named", "keyed", "numbered")
            key = {"item": "", "named": "x =", "keyed": "[ 'k' .. 1 ] =", "numbered": "[ 1 + 2 * 3 ] ="}[form]
            words += [
                *key.split(),
                *(self._guarded(depth - 1) if depth > 1 else [self._literal()]),
                self._one(",", ";"),
            ]
        return [*words, "}"]

    def _literal(self) -> str:
        return self._one(*self._numbers, *_STRINGS, "nil", "true", "false", *self._numbers)

    def _guarded(self, depth: int) -> list[str]:
        """An expression that no operand makes fail."""
        if depth <= 0 or self._choose.random() < 0.3:
            return [self._one(*self._names, self._literal(), self._literal())]
        left, right = self._guarded(depth - 1), self._guarded(depth - 1)
        return self._choose.choice(
            (
                ["(", *left, "and", *right, ")"],
                ["(", *left, "or", *right, ")"],
                ["(", *left, self._one("==", "~="), *right, ")"],
                ["not", *left],
                ["(", "#", self._one('"abc"', "{ 1 , 2 }"), "+", self._one(*self._numbers), ")"],
                ["(", self._one(*self._numbers), self._one("+", "-", "*"), self._one(*self._numbers), ")"],
                ["-", self._one(*self._numbers)],
                ["type", "(", *left, ")"],
                ["(", "function", "(", ")", "return", *left, "end", ")", "(", ")"],
                ["(", *["("] * 9, *left, *[")"] * 9, ")"],
                ["function", "(", ")", "return", *self._expression(5), "end"],
            )
        )

    def _expression(self, depth: int) -> list[str]:
        """An expression with any operators, that may fail."""
        if depth <= 0 or self._choose.random() < 0.2:
            return [self._one(*self._names, self._literal(), self._literal())]
        roll = self._choose.random()
        if roll < 0.15:
            return [self._one("-", "not", "#"), *self._expression(depth - 1)]
        if roll < 0.3:
            return ["(", *self._expression(depth - 1), ")"]
        return [*self._expression(depth - 1), self._one(*_BINARY), *self._expression(depth - 1)]


def lua_source(seed: int, *, integer: bool = False) -> bytes:
    """The source of a seed; every 40th has a constructor of thousands of items, every 25th a nesting of up to 190."""
    source = LuaSource(seed, integer=integer).text()
    choose = random.Random(seed)
    if seed % 40 == 7:
        count = choose.choice((49, 50, 51, 511 * 50, 511 * 50 + 1, 26000, 27000))
        items = ",".join(choose.choice(("1", "2", "'x'", "true")) for _ in range(40))
        full = (items + ",") * (count // 40) + ",".join(["1"] * (count % 40))
        source = b"local big = {" + full.encode() + b"} g1 = #big .. tostring(big[#big]) " + source
    if seed % 25 == 3:
        depth = choose.randint(20, 190)
        opening, closing = choose.choice((("(", ")"), ("{", "}"), ("- ", ""), ("not ", "")))
        source = f"g2 = {opening * depth}1{closing * depth};\n".encode() + source
    return source


def damaged(seed: int, *, integer: bool = False) -> bytes:
    """A generated source after an accident: most of them are refused, somewhere."""
    choose = random.Random(seed)
    source = lua_source(seed, integer=integer)[:20000]
    at, other = choose.randrange(len(source)), choose.randrange(len(source))
    kind = choose.randrange(4)
    if kind == 0:
        return source[:at] + source[at + choose.randint(1, 9) :]
    if kind == 1:
        pieces = (
            b" 0.5 ",
            b"3e5",
            b" 'x",
            b" [[",
            b" end ",
            b")",
            b"\\300",
            b" 0x ",
            b"1..2",
            b" --[[ ",
            b"~",
            b" if ",
        )
        return source[:at] + choose.choice(pieces) + source[at:]
    if kind == 2:
        names = ",".join(f"q{i}" for i in range(choose.choice((45, 49, 50, 51))))
        return b"local " + names.encode() + b"\n" + source
    return source[:at] + source[other : other + choose.randint(1, 40)] + source[at:]
