"""Which expressions of a source Lua's compiler computes itself (lcode.c, constfolding), with any arithmetic.

It is the operator-precedence half of Lua's parser over tokens, without recursion: nesting is as deep as the source's.
Arithmetic on two numbers is folded; ``and``, ``or`` and ``not`` on constants give one of them without an instruction,
and so ``(1 and 2) + 3`` is the number 5. What they test at run time can end where the number begins: ``(x or 1) and 2``
is the number 2, behind the code that looks at ``x``. The rest (names, calls, tables, comparisons, ``..``, ``#``) is
opaque.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

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
    """An operand over the tokens ``start`` to ``end``. ``number`` counts if its kind is a number.

    ``if_true`` and ``if_false``: jumps lead past it, from something before it that was true or false. ``ahead`` is what
    stays of a number's expression when its value is known: first and last token of each piece, and the operator
    (``and``, ``or``) after it.
    """

    start: int
    end: int
    kind: str = _OPAQUE
    number: int = 0
    prefix: bool = False  # a call or an index may follow
    if_true: bool = False
    if_false: bool = False
    ahead: tuple[tuple[int, int, bytes], ...] = ()

    @property
    def is_number(self) -> bool:
        """Whether the compiler computes with it (lcode.c, isnumeral)."""
        return self.kind == _NUMBER and not self.if_true and not self.if_false


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
    """The numeric constants of a source that a compiler has accepted, by where they start, the largest first.

    One can lie within another: in what is ahead of that, or where its value counts no more. ``numeral`` gives a
    literal's value.
    """
    walker = _Walker(tokens, numeral, fold)
    walker.walk()
    return sorted(walker.constants, key=lambda constant: (constant.start, -constant.end))


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
            self._push(Operand(at, at, _TRUE, ahead=((at, at, b"and"),)))  # it is among the function's constants
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
            self._push(replace(inner, start=frame.start, end=at, prefix=True))
            return 1
        operand = frame.operands[-1]
        if operand.prefix and (token.kind == "string" or text in (b"(", b"[", b"{", b".", b":")):
            self._settle(operand)
            frame.operands[-1] = Operand(operand.start, at, prefix=True)
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
        if operand.is_number:
            self.constants.append(operand)

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
        if text == b"-" and operand.is_number:
            value = self._fold(b"neg", 0, operand.number)
            assert value is not None
            return Operand(at, operand.end, _NUMBER, value, ahead=operand.ahead)
        self._settle(operand)
        if text == b"not" and operand.kind != _OPAQUE:
            kind = _TRUE if operand.kind == _FALSE else _FALSE
            past = (operand.if_false, operand.if_true)
            return Operand(at, operand.end, kind, if_true=past[0], if_false=past[1], ahead=operand.ahead)
        return Operand(at, operand.end)

    def _binary(self, text: bytes, a: Operand, b: Operand) -> Operand:
        if text in _ARITHMETIC and a.is_number and b.is_number:
            value = self._fold(text, a.number, b.number)
            if value is not None:
                return Operand(a.start, b.end, _NUMBER, value, ahead=a.ahead + b.ahead)
        self._settle(a)
        if text not in (b"and", b"or"):
            self._settle(b)
            return Operand(a.start, b.end)
        # A constant that is true before ``and``, or false before ``or``, decides nothing at run time.
        if text == b"and":
            if_true, if_false = b.if_true, b.if_false or a.if_false or a.kind not in (_NUMBER, _TRUE)
        else:
            if_true, if_false = b.if_true or a.if_true or a.kind != _FALSE, b.if_false
        tested = a.if_true or a.if_false
        ahead = (((a.start, a.end, text),) if tested else a.ahead) + b.ahead
        both = Operand(a.start, b.end, b.kind, b.number, if_true=if_true, if_false=if_false, ahead=ahead)
        if not both.is_number:
            self._settle(b)
        return both
