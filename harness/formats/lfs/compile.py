"""Lua 5.1 source to a Proto as NodeMCU's own compiler makes it.

The code generator is stock Lua 5.1 (from lupa): NodeMCU's generates the same instructions and constants. What is left
to do is its line information (app/lua/lcode.c), and the limit that it sets lower than stock Lua does.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from lupa import lua51

from harness.errors import UsageError
from harness.formats.lfs.chunk import Proto, is_chunk, read_chunk
from harness.formats.lfs.integers import as_integers, first_malformed, with_integer_constants
from harness.formats.lfs.lineinfo import LinePacker, unpack
from harness.formats.lfs.local_limit import MAX_LOCALS, first_too_many
from harness.formats.lfs.tokens import Token, last_line, source_of, tokens_of

_TEST, _CALL, _TAILCALL, _FORLOOP, _TFORLOOP, _SETLIST = 26, 28, 29, 31, 33, 34

_MALFORMED = b"0x_"  # no number to any Lua

# Tokens after which an expression starts, so that a '(' there neither calls nor belongs to an operand.
_EXPRESSION_STARTS = {
    b"=",
    b"(",
    b",",
    b"{",
    b"[",
    b";",
    b"return",
    b"if",
    b"while",
    b"until",
    b"elseif",
    b"and",
    b"or",
    b"in",
}


def compile_lua(source: bytes, name: str, *, integer: bool = False) -> Proto:
    """Compile ``source``, or read it if it is a chunk (see :func:`harness.formats.lfs.chunk.read_chunk`).

    ``name`` is the file name as it is to stand in tracebacks and in the image: luac.cross takes the argument of its
    command line as it is. Names of locals and upvalues are dropped, as the firmware's default is.
    Raises UsageError for a syntax error and for what only the board's compiler would refuse.
    """
    if is_chunk(source):
        proto = read_chunk(source, name)
        return as_integers(proto, name) if integer else proto
    if source.startswith(b"#"):
        source = b"\n" + source.partition(b"\n")[2]
    tokens = tokens_of(source)
    _refuse_what_only_the_board_does(source, tokens, name, integer=integer)
    stock = _compile_stock(source, name)
    if integer:
        tokens = with_integer_constants(tokens)
        stock = _compile_stock(source_of(tokens), name)
    marked = _compile_stock(_one_token_a_line(tokens), name)
    _Positions(tokens).pack(stock, marked)
    proto = stock.without_names()
    return as_integers(proto, name) if integer else proto


@cache
def _dumper() -> Any:
    lua = lua51.LuaRuntime(encoding=None, register_eval=False, register_builtins=False)
    return lua.execute(
        b"local load, dump = loadstring, string.dump "
        b"return function(source, name) local f, problem = load(source, name) "
        b"if f then return dump(f) end return nil, problem end"
    )


def _compile_stock(source: bytes, name: str) -> Proto:
    answer = _dumper()(source, b"@" + name.encode())
    if isinstance(answer, tuple):
        raise UsageError(answer[1].decode("utf-8", "replace"), hint="correct the source (it has to be Lua 5.1)")
    return read_chunk(answer, name)


def _refuse_what_only_the_board_does(source: bytes, tokens: list[Token], name: str, *, integer: bool) -> None:
    """Refuse what stock Lua takes, unless it finds an error before that; then refuse with that one."""
    too_many = first_too_many(tokens)
    at = len(tokens) + 1 if too_many is None else too_many.name + 1
    message, hint = "", ""
    if too_many is not None:
        where = f"function at line {too_many.function_line}" if too_many.function_line else "main function"
        local = tokens[too_many.name].text.decode("utf-8", "replace")
        message = f"{where} has more than {MAX_LOCALS} local variables at a time (the one too many is {local!r})"
        hint = "NodeMCU's limit is lower than stock Lua's: use a table, or do ... end blocks"
    malformed = first_malformed(tokens) if integer else None
    if malformed is not None and malformed <= at:
        at = malformed
        message = f"malformed number near '{tokens[at].text.decode()}'"
        hint = "integer firmware knows decimal and hexadecimal whole numbers only"
    if not message:
        return
    # The compiler would say it when it has read this token: does it get so far?
    place = tokens[at].start if at < len(tokens) else len(source)
    try:
        _compile_stock(source[:place] + b"\n" + _MALFORMED, name)
    except UsageError as problem:
        if f"malformed number near '{_MALFORMED.decode()}'" not in problem.message:
            raise
    line = tokens[at].line if at < len(tokens) else last_line(source)
    raise UsageError(f"{name}:{line}: {message}", hint=hint)


# -- line information -----------------------------------------------------------------------------
#
# The code generator first puts an instruction on the line of the token read last, and corrects some: a call goes to
# its opening parenthesis, a loop to its `for` (or to what follows its `in`), a function statement to its `function`.
# And a `not` before `and`, `or` and the end of a condition is taken back: the test after it stands in its place.
# Stock chunks hold the result only; NodeMCU's packed form shows the corrections. The same source with one token a line
# tells the token of each instruction.


def _one_token_a_line(tokens: list[Token]) -> bytes:
    # A '(' on a line of its own would be "ambiguous syntax": it stays with the token before it.
    parts = [token.text if i == 0 or token.text == b"(" else b"\n" + token.text for i, token in enumerate(tokens)]
    return b" ".join(parts)


class _Positions:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._first_on: list[int] = []  # per line of the marked source: index of its first token
        for i, token in enumerate(tokens):
            if i == 0 or token.text != b"(":
                self._first_on.append(i)
        self._partner = _partners(tokens)

    def pack(self, stock: Proto, marked: Proto) -> None:
        """Replace the packed lines of ``stock`` by the ones that NodeMCU's code generator leaves."""
        if stock.code != marked.code:
            raise RuntimeError("the rearranged source compiles to other instructions")
        packer = LinePacker()
        places = unpack(marked.packed_lines, len(marked.code))
        lines = unpack(stock.packed_lines, len(stock.code))
        string_called: set[int] = set()
        operand_follows = False
        for word, place, line in zip(stock.code, places, lines, strict=True):
            if operand_follows:
                operand_follows = False
                packer.emit(line)
                continue
            opcode = word & 63
            # Beyond 25550 items of a constructor the number of the batch is a word of its own (lcode.c luaK_setlist).
            operand_follows = opcode == _SETLIST and not word >> 14 & 511
            emitted = line
            first = self._first_on[place - 1] if place <= len(self._first_on) else len(self._tokens)
            token = self._tokens[first] if first < len(self._tokens) else Token("end", b"", line)
            if opcode in (_CALL, _TAILCALL):
                emitted = self._line_of_call_end(first, place in string_called)
                if token.kind == "string":
                    string_called.add(place)
            elif opcode in (_FORLOOP, _TFORLOOP):
                emitted = self._line_of_body_end(first)
            elif token.text == b"function":
                emitted = self._tokens[self._partner[first]].line
            if opcode == _TEST and (word >> 14 & 511) != (token.text == b"or"):
                packer.emit(self._line_of_not(first, place))
                packer.correct(emitted)
            else:
                packer.emit(emitted)
            packer.correct(line)
        stock.packed_lines = packer.packed()
        for child, marked_child in zip(stock.protos, marked.protos, strict=True):
            self.pack(child, marked_child)

    def _line_of_call_end(self, first: int, string_called: bool) -> int:
        token = self._tokens[first]
        if token.text == b"{":
            return self._tokens[self._partner[first]].line
        if token.kind == "string" and not string_called:
            return token.line
        opening = first if token.text == b"(" and first == 0 else first + 1
        return self._tokens[self._partner[opening]].line

    def _line_of_body_end(self, first: int) -> int:
        loop = first
        if self._tokens[first].text != b"for":
            loop = self._partner[first if self._tokens[first].text == b"in" else first - 1]
        return self._tokens[self._partner[loop] - 1].line

    def _line_of_not(self, first: int, place: int) -> int:
        if self._tokens[first].text in (b"and", b"or"):
            at = first - 1
        else:
            at = (self._first_on[place] if place < len(self._first_on) else len(self._tokens)) - 1
        while self._tokens[at].text == b")":
            before = self._partner[at] - 1
            if before >= 0 and self._tokens[before].text not in _EXPRESSION_STARTS:
                break
            at -= 1
        return self._tokens[at].line


def _partners(tokens: list[Token]) -> dict[int, int]:
    """For each bracket the other of its pair; for ``for`` and ``function`` the ``end``; for ``in`` the ``for``."""
    partner: dict[int, int] = {}
    brackets: list[int] = []
    blocks: list[int] = []
    loops_before_do: set[int] = set()
    for i, token in enumerate(tokens):
        if token.kind == "operator" and token.text in b"([{":
            brackets.append(i)
        elif token.kind == "operator" and token.text in b")]}":
            partner[i] = brackets.pop()
            partner[partner[i]] = i
        elif token.kind == "name" and token.text in (b"if", b"function", b"repeat", b"for", b"while"):
            blocks.append(i)
            if token.text in (b"for", b"while"):
                loops_before_do.add(i)
        elif token.text == b"in":
            partner[i] = blocks[-1]
        elif token.text == b"do":
            if blocks and blocks[-1] in loops_before_do:
                loops_before_do.discard(blocks[-1])
            else:
                blocks.append(i)
        elif token.kind == "name" and token.text in (b"end", b"until"):
            partner[blocks.pop()] = i
    return partner
