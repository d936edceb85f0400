"""Images for integer firmware against a Lua 5.1 with integers: the same code, the same constants, the same results.

Slow only the first time, when Debian's source of Lua is got and built; `tox -e emulated` runs it.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.formats.lfs.chunk import Proto
from harness.formats.lfs.compile import compile_lua
from harness.formats.lfs.integers import fold
from tests.formats.lfs.generated_lua import lua_source
from tests.formats.lfs.test_integer_rules import LuaError, Node, expression, worth

from .integer_lua import ARGUMENTS, Compiled, Function, compiled, interpreter
from .tools import Unavailable

WANTED, REQUIRED = os.environ.get("HARNESS_EMULATED"), os.environ.get("CI")

pytestmark = pytest.mark.skipif(not WANTED, reason="builds Lua from Debian's source: tox -e emulated runs it")

SOURCES = sorted((Path(__file__).parents[1] / "formats" / "lfs" / "sources").glob("*.lua"))
APPLICATION = sorted((Path(__file__).parents[2] / "fixtures" / "lua" / "app").glob("*.lua"))


@pytest.fixture(autouse=True, scope="module")
def _built() -> None:
    try:
        interpreter()
    except Unavailable as problem:
        if REQUIRED:
            pytest.fail(str(problem))
        pytest.skip(str(problem))


def _ours(source: bytes) -> Function | None:
    """None: refused."""
    try:
        return _function(compile_lua(source, "m", integer=True))
    except UsageError:
        return None


def _function(proto: Proto) -> Function:
    constants = [int(value) if isinstance(value, float) else value for value in proto.constants]
    shape = (proto.upvalue_count, proto.parameters, proto.is_vararg, proto.max_stack)
    return Function(shape, proto.code, constants, [_function(child) for child in proto.protos])


def _typed(function: Function | None) -> object:
    """For comparing: a number is no boolean."""
    if function is None:
        return "refused"
    constants = [(type(value).__name__, value) for value in function.constants]
    return (function.shape, function.code, constants, [_typed(child) for child in function.functions])


def _worth(tree: Node, a: int, b: int) -> tuple[str, bytes]:
    try:
        value = worth(tree, {"a": a, "b": b})
    except LuaError:
        return "error", b""
    if value is None or isinstance(value, bool):
        return ("nil" if value is None else "boolean"), str(value).replace("None", "nil").lower().encode()
    return ("string" if isinstance(value, str) else "number"), str(value).encode()


@pytest.mark.holds("store.integer")
def test_generated_expressions_are_compiled_and_worth_the_same() -> None:
    choices = [random.Random(seed) for seed in range(2000)]
    trees = [expression(choose, choose.randint(1, 6)) for choose in choices]
    sources = [f"local a, b = ...\nreturn {tree.text}".encode() for tree in trees]
    for tree, source, theirs in zip(trees, sources, compiled(sources, call=True), strict=True):
        assert _typed(_ours(source)) == _typed(theirs.function), source
        assert [_worth(tree, a, b) for a, b in ARGUMENTS] == theirs.results, source


_ATOMS = (
    *("a", "b", "nil", "true", "false", "'s'", "'t'", "1", "2", "7", "10", "65535", "2147483648", "0x10", "..."),
    *("f(1, 2^3)", "f'x'", "t.x", "t[1+1]", "t:m(2^4)", "{1, 2*3}", "function() return (a or 1) and 2^31 end"),
)
_BETWEEN = (*("and", "or") * 3, "+", "-", "*", "/", "%", "^", "==", "~=", "<", ">=", "..")


def _any_expression(choose: random.Random, depth: int) -> str:
    kind = choose.random()
    if depth == 0 or kind < 0.15:
        return choose.choice(_ATOMS)
    if kind < 0.36:
        return f"({_any_expression(choose, depth - 1)})"
    if kind < 0.46:
        return choose.choice(("not ", "- ", "# ")) + _any_expression(choose, depth - 1)
    return f"{_any_expression(choose, depth - 1)} {choose.choice(_BETWEEN)} {_any_expression(choose, depth - 1)}"


def test_expressions_of_all_kinds_are_compiled_the_same() -> None:
    """A number can be one behind a test of something: ``((x or 1) and 3) ^ 60``."""
    sources = []
    for seed in range(4000):
        choose = random.Random(seed)
        text = f"local a, b, f, t = ... return {_any_expression(choose, choose.randint(1, 6))}"
        sources.append(text.replace(" ", choose.choice((" ", "\n"))).encode())
    _compare(sources, compiled(sources))


@pytest.mark.holds("store.integer")
def test_generated_programs_are_compiled_the_same() -> None:
    sources = [lua_source(seed, integer=True) for seed in range(400)]
    _compare(sources, compiled(sources))


@pytest.mark.parametrize("files", [SOURCES, APPLICATION], ids=["sources", "application"])
def test_written_programs_are_compiled_the_same_or_refused_by_both(files: list[Path]) -> None:
    sources = [file.read_bytes() for file in files]
    _compare(
        [source for source in sources if not source.startswith(b"#")],
        compiled([source for source in sources if not source.startswith(b"#")]),
    )


def _compare(sources: list[bytes], answers: list[Compiled]) -> None:
    for source, theirs in zip(sources, answers, strict=True):
        assert _typed(_ours(source)) == _typed(theirs.function), source


def test_literals_are_read_the_same_or_refused_by_both() -> None:
    choose = random.Random(7)
    texts = ["".join(choose.choices("0123456789xXabfep.+_", k=choose.randint(1, 24))) for _ in range(4000)]
    texts = [text for text in texts if text[0].isdigit()]
    texts += [
        f"{choose.choice(('', '0', '000', '0x', '0X0'))}{choose.getrandbits(choose.randint(1, 90))}" for _ in range(500)
    ]
    sources = [f"return {text}".encode() for text in texts]
    _compare(sources, compiled(sources))


def test_the_operators_are_the_same_at_their_edges() -> None:
    """As constants, folded by the compilers; and of variables, computed by the VM."""
    edges = (-(1 << 31), -(1 << 31) + 1, -65536, -8, -3, -2, -1, 0, 1, 2, 3, 7, 31, 65535, (1 << 31) - 1)
    asked = [(op, a, b) for op in "+-*/%^" for a in edges for b in edges]
    sources = [f"local a, b = {a}, {b} return a {op} b".encode() for op, a, b in asked]
    for (op, a, b), theirs in zip(asked, compiled(sources, call=True), strict=True):
        mine = fold(op.encode(), a, b)
        assert theirs.results[0] == (("error", b"") if mine is None else ("number", b"%d" % mine)), (op, a, b)
    folded = [f"return ({a}) {op} ({b})".encode() for op, a, b in asked]
    _compare(folded, compiled(folded))
