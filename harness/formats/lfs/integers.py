"""What is different for integer firmware: its numbers are 32-bit integers, at compile time too."""

from __future__ import annotations

import re
from dataclasses import replace

from harness.errors import UsageError
from harness.formats.lfs.chunk import Constant, Proto, integer_constant
from harness.formats.lfs.tokens import Token

# An operator before a quotient that keeps the compiler from computing it, or makes something else of it.
_BINDS_TIGHTER = {b"*", b"/", b"%", b"^"}


def with_whole_quotients(tokens: list[Token], name: str) -> list[Token]:
    """Replace quotients of two literals by the result that integer firmware's compiler computes, rounded down.

    Raises UsageError for a number that such firmware does not read.
    """
    out: list[Token] = []
    for at, token in enumerate(tokens):
        if token.kind == "number" and not re.fullmatch(rb"\d+|0[xX][0-9a-fA-F]+", token.text):
            raise UsageError(
                f"{name}:{token.line}: malformed number {token.text.decode('utf-8', 'replace')!r} for integer firmware",
                hint="it knows decimal and hexadecimal whole numbers only",
            )
        out.append(token)
        follows = tokens[at + 1].text if at + 1 < len(tokens) else b""
        if len(out) >= 3 and out[-2].text == b"/" and follows != b"^" and not _bound(out[:-3]):
            quotient = _quotient(out[-3], out[-1])
            if quotient is not None:
                out[-3:] = [replace(token, text=b"%d" % quotient)]
    return out


def _bound(before: list[Token]) -> bool:
    if not before:
        return False
    if before[-1].text != b"-":
        return before[-1].text in _BINDS_TIGHTER
    return not (len(before) > 1 and (before[-2].kind in ("name", "number", "string") or before[-2].text in b")]}"))


def _quotient(dividend: Token, divisor: Token) -> int | None:
    if dividend.kind != "number" or divisor.kind != "number":
        return None
    a, b = (integer_constant(_value(token.text)) for token in (dividend, divisor))
    return a // b if b and a // b >= 0 else None


def _value(text: bytes) -> int:
    return int(text, 16 if text[:2].lower() == b"0x" else 10)


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
