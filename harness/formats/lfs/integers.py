"""What is different for integer firmware: its numbers are 32-bit integers, at compile time too.

The rules are those of NodeMCU's app/lua: luaconf.h (LUA_NUMBER_INTEGRAL), lvm.c (luai_ipow), lobject.c (luaO_str2d)
and lcode.c (constfolding), as a luac.cross on a 64-bit host follows them. There ``strtol`` reads 64 bits
and the value is cut to 32; the firmware's own compiler reads 32 and stops at 2147483647.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from harness.errors import UsageError
from harness.formats.lfs.chunk import Constant, Proto, integer_constant
from harness.formats.lfs.folding import Operand, constant_expressions
from harness.formats.lfs.tokens import Token

_NUMERAL = re.compile(rb"\d+|0[xX][0-9a-fA-F]+")
_LONG_MAX, _ULONG_MAX = (1 << 63) - 1, (1 << 64) - 1


def numeral(text: bytes) -> int | None:
    """A literal as integer firmware's compiler reads it; None if that is a malformed number to it."""
    if not _NUMERAL.fullmatch(text):
        return None
    if text[:2].lower() == b"0x":
        return integer_constant(min(int(text, 16), _ULONG_MAX))
    # Beyond 19 digits strtol has stopped at the largest number; int() refuses thousands of them.
    digits = text.lstrip(b"0") or b"0"
    return integer_constant(min(int(digits), _LONG_MAX) if len(digits) < 20 else _LONG_MAX)


def fold(operator: bytes, a: int, b: int) -> int | None:
    """The result of an arithmetic operator on constants; None for what the compiler leaves to the VM.

    ``a`` is ignored for the sign (operator ``b"neg"``). -2147483648/-1 is what the chip's division gives; upstream's
    compiler dies of it on a PC.
    """
    if operator in (b"/", b"%") and b == 0:
        return None
    return integer_constant(_OPERATORS[operator](a, b))


def _power(a: int, b: int) -> int:
    return 0 if b < 0 else pow(a, b, 1 << 32)


_OPERATORS: dict[bytes, Callable[[int, int], int]] = {
    b"+": lambda a, b: a + b,
    b"-": lambda a, b: a - b,
    b"*": lambda a, b: a * b,
    b"/": lambda a, b: a // b,
    b"%": lambda a, b: a % b,
    b"^": _power,
    b"neg": lambda _, b: -b,
}


def first_malformed(tokens: list[Token]) -> int | None:
    """The index of the first literal that integer firmware does not read."""
    for at, token in enumerate(tokens):
        if token.kind == "number" and numeral(token.text) is None:
            return at
    return None


def with_integer_constants(tokens: list[Token]) -> list[Token]:
    """The tokens with each constant expression as its value, which a compiler of doubles then leaves alone.

    Literals have to be such that :func:`first_malformed` finds none. What an expression still does before its number
    stays: the strings of ``"a" and 1``, which are among the function's constants, and the test in ``(x or 1) and 2``.
    """
    constants: dict[int, list[Operand]] = {}
    for constant in constant_expressions(tokens, numeral, fold):
        constants.setdefault(constant.start, []).append(constant)
    out: list[Token] = []
    # Stretches that are still to be written, the next one last, and tokens that are as they are to be.
    to_do: list[tuple[int, int] | list[Token]] = [(0, len(tokens) - 1)]
    while to_do:
        part = to_do.pop()
        if isinstance(part, list):
            out += part
            continue
        at, last = part
        while at <= last:
            found = next((constant for constant in constants.get(at, ()) if constant.end <= last), None)
            if found is not None:
                to_do.append((found.end + 1, last))
                to_do += reversed(_written(found, tokens))
                break
            out.append(tokens[at])
            at += 1
    return out


def _written(constant: Operand, tokens: list[Token]) -> list[tuple[int, int] | list[Token]]:
    """On the line of the last token: there the compiler is when it loads the constant."""
    at_end = tokens[constant.end]
    number = replace(at_end, kind="number", text=b"%d" % abs(constant.number))
    if constant.start == constant.end and constant.number >= 0:
        return [[number]]

    def operator(text: bytes) -> Token:
        return replace(at_end, kind="operator", text=text)

    written: list[tuple[int, int] | list[Token]] = [[operator(b"(")]]
    for start, end, word in constant.ahead:
        piece = tokens[start]
        string = start == end and piece.kind == "string"
        written.append([replace(piece, line=at_end.line)] if string else (start, end))
        written.append([replace(at_end, kind="name", text=word)])
    sign = [operator(b"-")] if constant.number < 0 else []
    return [*written, [*sign, number, operator(b")")]]


def as_integers(proto: Proto, name: str) -> Proto:
    """The function with its numbers as 32-bit integers, wrapped. Raises UsageError for one with a fraction."""

    def whole(value: Constant) -> Constant:
        if value is None or isinstance(value, (bool, bytes)):
            return value
        try:
            return integer_constant(value)
        except UsageError as problem:
            raise UsageError(f"{name}: {problem.message}", hint=problem.hint) from None

    protos = [as_integers(child, name) for child in proto.protos]
    return Proto(**{**vars(proto), "protos": protos, "constants": [whole(value) for value in proto.constants]})
