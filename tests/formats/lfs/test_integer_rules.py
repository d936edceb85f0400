"""Images for integer firmware against its rules, written down here a second time.

The rules are those of NodeMCU's luaconf.h, lvm.c, lobject.c and lcode.c with LUA_NUMBER_INTEGRAL, on a 64-bit host. The
images are read by the independent reader and run by the small VM below; nothing here is shared with harness.formats.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass
from typing import Any

import pytest

from harness.errors import UsageError
from harness.formats.lfs.compile import compile_lua
from harness.reference.nodemcu.lfs_build import build_file
from tests.formats.lfs.independent_reader import IndependentImage


def cut(value: int) -> int:
    """To a C int of 32 bits."""
    return int(struct.unpack("<i", struct.pack("<Q", value & (1 << 64) - 1)[:4])[0])


THREE_TO_60 = cut(3**60)


class LuaError(Exception):
    pass


def c_quotient(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def arithmetic(operator: str, a: Any, b: Any) -> int:
    if type(a) is not int or type(b) is not int:
        raise LuaError("arithmetic on no number")
    if operator in "+-*":
        return cut({"+": a + b, "-": a - b, "*": a * b}[operator])
    if operator == "^":
        if b < 0:
            return 0
        power = 1
        while b:
            power = cut(power * a) if b & 1 else power
            a, b = cut(a * a), b >> 1
        return power
    if b == 0:
        raise LuaError("by zero")
    quotient = c_quotient(a, b)
    rest = a - quotient * b
    alike = (a < 0) == (b < 0) or rest == 0
    if operator == "/":
        return cut(quotient if alike else quotient - 1)
    return cut(rest if alike else rest + b)


def strtol(text: str) -> int:
    if text[:2].lower() == "0x":
        return cut(min(int(text, 16), 0xFFFF_FFFF_FFFF_FFFF))
    return cut(min(int(text), 0x7FFF_FFFF_FFFF_FFFF))


# -- expressions, what they are worth, and which constants a function of them holds ---------------


@dataclass
class Node:
    text: str
    operator: str = ""  # "" for a leaf
    operands: tuple[Node, ...] = ()
    value: Any = None  # of a leaf; a variable is in `variable`
    variable: str = ""


_PRIORITY = {"or": 1, "and": 2, "<": 3, "==": 3, "+": 6, "-": 6, "*": 7, "/": 7, "%": 7, "neg": 8, "not": 8, "^": 9}
_SMALL = "0 1 2 3 5 7 8 10 16 31 32 65535 2147483647 2147483648 4294967295 4294967296 9007199254740993"
_ODD = "007 0x10 0XfF 0x80000000 0x1FFFFFFFF 99999999999999999999 0xFFFFFFFFFFFFFFFFFF"
_LITERALS = [*_SMALL.split(), *_ODD.split()]
_OPERATORS = "+ - * / % ^ + - * / % ^ neg neg and or not == <"


def expression(choose: random.Random, depth: int) -> Node:
    if depth == 0 or choose.random() < 0.15:
        leaf = choose.random()
        if leaf < 0.15:
            name = choose.choice("ab")
            return Node(name, variable=name)
        if leaf < 0.22:
            word, value = choose.choice((("nil", None), ("true", True), ("false", False), ("'s'", "s")))
            return Node(word, value=value)
        text = choose.choice(_LITERALS) if leaf < 0.8 else str(choose.getrandbits(choose.randint(1, 90)))
        return Node(text, value=strtol(text))
    operator = choose.choice(_OPERATORS.split())
    operands = tuple(expression(choose, depth - 1) for _ in range(1 if operator in ("neg", "not") else 2))

    def within(operand: Node, *, on_the_right: bool) -> str:
        mine, theirs = _PRIORITY[operator], _PRIORITY.get(operand.operator, 10)
        # Powers bind to the right; a sign on the right of anything needs no parentheses.
        loose = theirs < mine or (theirs == mine and on_the_right != (operator == "^"))
        if on_the_right and operand.operator in ("neg", "not") and choose.random() < 0.5:
            loose = False
        return f"({operand.text})" if loose or choose.random() < 0.1 else operand.text

    if len(operands) == 1:
        sign = "- " if operator == "neg" else "not "
        return Node(sign + within(operands[0], on_the_right=True), operator, operands)
    left, right = within(operands[0], on_the_right=False), within(operands[1], on_the_right=True)
    return Node(f"{left} {operator} {right}", operator, operands)


def worth(node: Node, variables: dict[str, int]) -> Any:
    if node.variable:
        return variables[node.variable]
    if not node.operator:
        return node.value
    first = worth(node.operands[0], variables)
    if node.operator == "neg":
        return arithmetic("-", 0, first)
    if node.operator == "not":
        return first is None or first is False
    if node.operator in ("and", "or"):
        is_true = first is not None and first is not False
        return worth(node.operands[1], variables) if is_true == (node.operator == "and") else first
    second = worth(node.operands[1], variables)
    if node.operator == "==":
        return type(first) is type(second) and first == second
    if node.operator == "<":
        if type(first) is not type(second) or type(first) not in (int, str):
            raise LuaError("comparison")
        return first < second
    return arithmetic(node.operator, first, second)


NOT_CONSTANT = object()


@dataclass
class Known:
    """What the compiler knows of an expression: its value, and whether jumps lead past it, when true or when false."""

    value: Any = NOT_CONSTANT
    if_true: bool = False
    if_false: bool = False

    def is_numeral(self) -> bool:
        return type(self.value) is int and not self.if_true and not self.if_false

    def is_false(self) -> bool:
        return self.value is None or self.value is False


def known(node: Node, held: set[Any]) -> Known:
    """What the compiler makes of an expression; the numbers and strings that it needs go to ``held``."""

    def load(operand: Known) -> None:
        if type(operand.value) is int:
            held.add(operand.value)

    if node.variable:
        return Known()
    if not node.operator:
        if isinstance(node.value, str):
            held.add(node.value.encode())
        return Known(node.value)
    first, *others = [known(operand, held) for operand in node.operands]
    if node.operator == "not":
        value = first.value if first.value is NOT_CONSTANT else first.is_false()
        return Known(value, first.if_false, first.if_true)
    if node.operator == "neg":
        if first.is_numeral():
            return Known(cut(-first.value))
        load(first)
        return Known()
    second = others[0]
    if node.operator == "and":
        if first.value is not NOT_CONSTANT and not first.is_false():
            return Known(second.value, second.if_true, second.if_false or first.if_false)
        return Known(second.value, second.if_true, True)
    if node.operator == "or":
        if first.is_false():
            return Known(second.value, second.if_true or first.if_true, second.if_false)
        load(first)
        return Known(second.value, True, second.if_false)
    if node.operator in "+-*/%^" and first.is_numeral() and second.is_numeral():
        try:
            return Known(arithmetic(node.operator, first.value, second.value))
        except LuaError:
            pass
    load(first)
    load(second)
    return Known()


# -- a VM of 32-bit integers -----------------------------------------------------------------------


def execute(function: dict[str, Any], arguments: list[Any]) -> list[Any]:
    registers: list[Any] = [None] * 260
    code, k = function["code"], function["k"]
    pc = 0

    def rk(field: int) -> Any:
        return k[field - 256] if field >= 256 else registers[field]

    def truth(value: Any) -> bool:
        return value is not None and value is not False

    while True:
        word = code[pc]
        pc += 1
        opcode, a, c, b = word & 63, word >> 6 & 255, word >> 14 & 511, word >> 23
        if opcode == 0:
            registers[a] = registers[b]
        elif opcode == 1:
            registers[a] = k[word >> 14]
        elif opcode == 2:
            registers[a] = bool(b)
            pc += bool(c)
        elif opcode == 3:
            registers[a : b + 1] = [None] * (b + 1 - a)
        elif 12 <= opcode <= 17:
            registers[a] = arithmetic("+-*/%^"[opcode - 12], rk(b), rk(c))
        elif opcode == 18:
            registers[a] = arithmetic("-", 0, registers[b])
        elif opcode == 19:
            registers[a] = not truth(registers[b])
        elif opcode == 22:
            pc += (word >> 14) - 131071
        elif opcode in (23, 24):
            left, right = rk(b), rk(c)
            alike = type(left) is type(right)
            if opcode == 24 and (not alike or type(left) not in (int, bytes)):
                raise LuaError("comparison")
            pc += (left < right if opcode == 24 else alike and left == right) != bool(a)
        elif opcode == 26:
            pc += truth(registers[a]) != bool(c)
        elif opcode == 27:
            if truth(registers[b]) == bool(c):
                registers[a] = registers[b]
            else:
                pc += 1
        elif opcode == 30:
            return registers[a : a + b - 1]
        elif opcode == 37:
            registers[a : a + b - 1] = arguments
        else:
            raise AssertionError(f"opcode {opcode}")


def outcome(what: Any, *arguments: Any) -> Any:
    try:
        return what(*arguments)
    except LuaError:
        return "error"


@pytest.mark.holds("store.integer")
@pytest.mark.parametrize("decade", range(50))
def test_ten_generated_sources_hold_and_compute_what_the_firmware_does(decade: int) -> None:
    for seed in range(10 * decade, 10 * decade + 10):
        choose = random.Random(seed)
        tree = expression(choose, choose.randint(1, 6))
        separator = choose.choice((" ", "\n", " -- c\n"))
        source = "local a, b = ...\nreturn " + tree.text.replace(" ", separator)
        image = IndependentImage(build_file({"m.lua": source.encode()}, integer=True, build_time=1), integer=True)
        function = image.modules()[b"m"]
        held: set[Any] = set()
        whole = known(tree, held)
        if type(whole.value) is int:
            held.add(whole.value)
        plain = [value for value in function["k"] if value is not None and not isinstance(value, bool)]
        assert set(plain) == held, source
        assert len(plain) == len(held), source
        for a, b in ((7, -3), (-(1 << 31), -1), (0, 12345)):
            expected = outcome(worth, tree, {"a": a, "b": b})
            got = outcome(execute, function, [a, b])
            if got != "error":
                got = got[0].decode() if isinstance(got[0], bytes) else got[0]
            assert (type(got), got) == (type(expected), expected), f"{source} with a={a}, b={b}"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("-8/3", -3),
        ("8/-3", -3),
        ("-8%3", 1),
        ("8%-3", -1),
        ("2^-1", 0),
        ("2^31", -(1 << 31)),
        ("-2^2", -4),
        ("3*7/2", 10),
        ("7/2*2", 6),
        ("(1 and 2)+3", 5),
        ("(nil or 4)*2", 8),
        ("4294967295", -1),
        ("2147483648", -(1 << 31)),
        ("99999999999999999999", -1),
        ("0x123456789", 0x23456789),
        ("9007199254740993", 1),
        ("010", 10),
        ("(-2147483647-1)/-1", -(1 << 31)),
        ("-0", 0),
    ],
)
def test_what_upstreams_compiler_was_seen_to_hold(text: str, value: int) -> None:
    # Read off luac.cross.int of commit 36cbf9f; the last division but one kills it on a PC, and is the chip's.
    assert compile_lua(f"return {text}".encode(), "a.lua", integer=True).constants == [value]


@pytest.mark.parametrize(
    ("text", "constants"),
    [
        ("((x or 1) and 3) ^ 60", [THREE_TO_60]),
        ("((x and nil) or 3) ^ 60", [THREE_TO_60]),
        ("(not (x and nil) and 3) ^ 60", [THREE_TO_60]),
        ("((5 or 1) and 3) ^ 60", [5, THREE_TO_60]),
        ("((x or 1) and 3) ^ 60 + ((y or 1) and 2) ^ 31", [cut(3**60 + 2**31)]),
        ("(x and 3) ^ 60", [3, 60]),
        ("((x or 'a') and 'b' and 3) ^ 60", [b"a", b"b", THREE_TO_60]),
    ],
)
def test_a_number_behind_a_test_is_computed_with_as_an_integer(text: str, constants: list[object]) -> None:
    """What integer builds of Lua 5.1's own compiler hold; as doubles such numbers have lost their last bits."""
    source = f"local x, y = ... return {text}"
    assert compile_lua(source.encode(), "a.lua", integer=True).constants == constants


def test_a_test_before_a_number_is_still_made() -> None:
    """The code is the same but for the number, which no double can hold the end of."""
    for before in ("(x or 1) and", "(x and nil) or", "((5 or 1) and (x or 2)) and"):
        folded = compile_lua(f"local x = ... return ({before} 3) ^ 60".encode(), "a.lua", integer=True)
        plain = compile_lua(f"local x = ... return ({before} 7)".encode(), "a.lua", integer=True)
        assert folded.code == plain.code
        assert folded.constants[:-1] == plain.constants[:-1]


def test_numbers_that_are_one_after_wrapping_are_one_constant() -> None:
    proto = compile_lua(b"return -1, 0xFFFFFFFF, 4294967295, 1 - 2", "a.lua", integer=True)
    assert proto.constants == [-1]


def test_what_is_divided_by_zero_is_left_to_the_board() -> None:
    proto = compile_lua(b"return 1/0, 5 % (65536 * 65536)", "a.lua", integer=True)
    assert [word & 63 for word in proto.code[:2]] == [15, 16]
    assert proto.constants == [0, 1, 5]


@pytest.mark.parametrize("literal", ["0.5", ".5", "3.", "1e3", "0x", "0x1p4", "1x10", "5_", "1E+2"])
def test_a_number_that_is_none_for_integers_is_refused_with_its_line(literal: str) -> None:
    source = f"local x = 1\n--[[\n]] local y = {literal}\nlocal = 5"
    with pytest.raises(UsageError, match=r"^a\.lua:3: malformed number near "):
        compile_lua(source.encode(), "a.lua", integer=True)


def test_an_error_before_a_malformed_number_comes_first() -> None:
    with pytest.raises(UsageError, match=r"^a\.lua:2: '=' expected near 'x'"):
        compile_lua(b"\nx x = 0.5", "a.lua", integer=True)
