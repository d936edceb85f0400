"""Which expressions of a source Lua's compiler computes itself (lcode.c, constfolding), with any arithmetic.

It is the operator-precedence half of Lua's parser over tokens, without recursion: nesting is as deep as the source's.
Arithmetic on two numbers is folded; ``and``, ``or`` and ``not`` on constants give one of them without an instruction,
and so ``(1 and 2) + 3`` is the number 5. The rest (names, calls, tables, comparisons, ``..``, ``#``) is opaque.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from harness.formats.lfs.tokens import Token

#: What an operator makes of two numbers; None if it is left to the VM. The sign is the operator ``b"neg"``.
Fold = Callable[[bytes, int, int], int | None]

_OPAQUE, _NUMBER, _TRUE, _FALSE = "opaque", "number", "true", "false"

# Left and right priority of each operator (lparser.c); an operator binds what is left of it if its left priority is
# above the right priority of the one before.
_PRIORITY = {
    b"or": (1, 1),
    b"and": (2, 2),
    **dict.fromkeys((b"<", b">", b"<=", b">=", b"~=", b"=="), (3, 3)),
    b"..": (5, 4),
    **dict.fromkeys((b"+", b"-"), (6, 6)),
    **dict.fromkeys((b"*", b"/", b"%"), (7, 7)),
    b"^": (10, 9),
}
_UNARY_PRIORITY = 8
_ARITHMETIC = (b"+", b"-", b"*", b"/", b"%", b"^")

_CONSTANT_NAMES = {b"nil": _FALSE, b"false": _FALSE, b"true": _TRUE}
_WORDS = "and break do else elseif end false for function if in local nil not or repeat return then true until while"
KEYWORDS = frozenset(_WORDS.encode().split())


@dataclass
class Operand:
    """An operand over the tokens ``start`` to ``end``. ``number`` counts if its kind is a number."""

    start: int
    end: int
    kind: str = _OPAQUE
    number: int = 0
    prefix: bool = False  # a call or an index may follow


@dataclass
class _Frame:
    """An expression in the making, within a bracket or a block. ``opener`` is what opened it."""

    opener: bytes = b""
    start: int = 0
    awaits_do: bool = False
    expects_operand: bool = True
    operands: list[Operand] = field(default_factory=list)
    operators: list[tuple[bytes, int, bool]] = field(default_factory=list)  # text, index, is unary


def constant_expressions(tokens: list[Token], numeral: Callable[[bytes], int | None], fold: Fold) -> list[Operand]:
    """The largest numeric constants of a source that a compiler has accepted, none within another, in no order.

    ``numeral`` gives a literal's value.
    """
    walker = _Walker(tokens, numeral, fold)
    walker.walk()
    widest: list[Operand] = []
    for constant in sorted(walker.constants, key=lambda c: (c.start, -c.end)):
        if not widest or constant.start > widest[-1].end:
            widest.append(constant)
    return widest


class _Walker:
    def __init__(self, tokens: list[Token], numeral: Callable[[bytes], int | None], fold: Fold) -> None:
        self._tokens, self._numeral, self._fold = tokens, numeral, fold
        self._frames = [_Frame()]
        self.constants: list[Operand] = []

    def walk(self) -> None:
        at = 0
        while at < len(self._tokens):
            at += self._operand_at(at) if self._frames[-1].expects_operand else self._operator_at(at)
        self._end_expression()

    def _push(self, operand: Operand) -> None:
        self._frames[-1].operands.append(operand)
        self._frames[-1].expects_operand = False

    def _operand_at(self, at: int) -> int:
        """Take what starts an operand, or is no part of an expression; the number of tokens taken."""
        token = self._tokens[at]
        text = token.text
        if token.kind == "number":
            value = self._numeral(text)
            assert value is not None, "literals are checked before"
            self._push(Operand(at, at, _NUMBER, value))
        elif token.kind == "string":
            self._push(Operand(at, at, _TRUE))
        elif text in _CONSTANT_NAMES:
            self._push(Operand(at, at, _CONSTANT_NAMES[text]))
        elif text in (b"-", b"not", b"#"):
            self._frames[-1].operators.append((text, at, True))
        elif text in (b"(", b"{", b"[", b"function"):
            self._frames.append(_Frame(text, at))
        elif text == b"...":
            self._push(Operand(at, at))
        elif token.kind == "name" and text not in KEYWORDS:
            self._push(Operand(at, at, prefix=True))
        else:
            self._end_expression()
            self._between_expressions(at)
        return 1

    def _between_expressions(self, at: int) -> None:
        """A separator, a closing bracket, or a word of a statement."""
        text = self._tokens[at].text
        if text in (b"if", b"while", b"for", b"repeat"):
            self._frames.append(_Frame(text, at, awaits_do=text in (b"while", b"for")))
        elif text == b"do":
            if self._frames[-1].awaits_do:
                self._frames[-1].awaits_do = False
            else:
                self._frames.append(_Frame(text, at))
        elif text in (b"end", b"until", b"]", b"}", b")"):
            closed = self._frames.pop()
            if closed.opener in (b"function", b"{", b"("):
                self._push(Operand(closed.start, at, prefix=closed.opener == b"("))

    def _operator_at(self, at: int) -> int:
        token = self._tokens[at]
        text = token.text
        frame = self._frames[-1]
        if text in _PRIORITY:
            self._reduce(_PRIORITY[text][0])
            frame.operators.append((text, at, False))
            frame.expects_operand = True
            return 1
        if text == b")" and frame.opener == b"(":
            self._reduce(0)
            inner = self._frames.pop().operands[-1]
            self._push(Operand(frame.start, at, inner.kind, inner.number, prefix=True))
            return 1
        operand = frame.operands[-1]
        if operand.prefix and (token.kind == "string" or text in (b"(", b"[", b"{", b".", b":")):
            self._settle(operand)
            operand.kind, operand.end = _OPAQUE, at
            if text in (b".", b":"):
                return 2
            if token.kind != "string":
                self._frames.append(_Frame(b"suffix", at))
            return 1
        self._end_expression()
        return 0

    def _end_expression(self) -> None:
        self._reduce(0)
        frame = self._frames[-1]
        for operand in frame.operands:
            self._settle(operand)
        frame.operands.clear()
        frame.operators.clear()
        frame.expects_operand = True

    def _settle(self, operand: Operand) -> None:
        """The operand is used by what is no constant."""
        if operand.kind == _NUMBER:
            self.constants.append(Operand(operand.start, operand.end, _NUMBER, operand.number))

    def _reduce(self, left: int) -> None:
        """Apply the operators that bind tighter than one of this left priority."""
        frame = self._frames[-1]
        while frame.operators:
            text, at, unary = frame.operators[-1]
            if left > (_UNARY_PRIORITY if unary else _PRIORITY[text][1]):
                return
            frame.operators.pop()
            if unary:
                frame.operands.append(self._unary(text, at, frame.operands.pop()))
            else:
                right = frame.operands.pop()
                frame.operands.append(self._binary(text, frame.operands.pop(), right))

    def _unary(self, text: bytes, at: int, operand: Operand) -> Operand:
        if text == b"-" and operand.kind == _NUMBER:
            value = self._fold(b"neg", 0, operand.number)
            assert value is not None
            return Operand(at, operand.end, _NUMBER, value)
        self._settle(operand)
        if text == b"not" and operand.kind != _OPAQUE:
            return Operand(at, operand.end, _TRUE if operand.kind == _FALSE else _FALSE)
        return Operand(at, operand.end)

    def _binary(self, text: bytes, a: Operand, b: Operand) -> Operand:
        if text in _ARITHMETIC and a.kind == b.kind == _NUMBER:
            value = self._fold(text, a.number, b.number)
            if value is not None:
                return Operand(a.start, b.end, _NUMBER, value)
        if (text == b"and" and a.kind in (_NUMBER, _TRUE)) or (text == b"or" and a.kind == _FALSE):
            self._settle(a)
            if b.kind != _NUMBER:
                return Operand(a.start, b.end, b.kind)
            return Operand(a.start, b.end, _NUMBER, b.number)
        self._settle(a)
        self._settle(b)
        return Operand(a.start, b.end)
