"""NodeMCU's limit of local variables, found in the tokens of a source as its parser finds it (lparser.c)."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.formats.lfs.tokens import Token

MAX_LOCALS = 50  # LUAI_MAXVARS of NodeMCU's luaconf.h; stock Lua has 200


@dataclass(frozen=True)
class TooMany:
    """The token of the first variable beyond the limit, and the line of its function (0: the main one)."""

    name: int
    function_line: int


@dataclass
class _Function:
    line: int = 0
    active: int = 0
    blocks: list[tuple[bytes, int]] = field(default_factory=list)  # what opened it, variables before it


class _Exceeded(Exception):
    def __init__(self, name: int, function_line: int) -> None:
        super().__init__()
        self.found = TooMany(name, function_line)


def first_too_many(tokens: list[Token]) -> TooMany | None:
    """The first variable that exceeds the limit. What no Lua compiler would accept ends the search."""
    try:
        _Walker(tokens).walk()
    except _Exceeded as exceeded:
        return exceeded.found
    except IndexError:  # a name or an `end` is missing, or there is one too many
        return None
    return None


class _Walker:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._functions = [_Function()]

    def walk(self) -> None:
        at = 0
        while at < len(self._tokens):
            text = self._tokens[at].text
            if text == b"local" and self._tokens[at + 1].text == b"function":
                self._declare(at + 2)
                at = self._function(at + 1, named=False)
            elif text == b"local":
                at = self._names(at + 1)
            elif text == b"function":
                at = self._function(at, named=self._tokens[at + 1].text != b"(")
            elif text == b"for":
                self._open(text)
                self._declare(at + 1, hidden=3)
                at = self._names(at + 1, declared=True)
            else:
                self._block_word(text)
                at += 1

    def _declare(self, name: int, *, hidden: int = 0) -> None:
        function = self._functions[-1]
        function.active += 1 + hidden
        if function.active > MAX_LOCALS:
            raise _Exceeded(name, function.line)

    def _names(self, at: int, *, declared: bool = False) -> int:
        """A list of names, the first of which may be declared already; the index after it."""
        if not declared:
            self._declare(at)
        while at + 1 < len(self._tokens) and self._tokens[at + 1].text == b",":
            at += 2
            self._declare(at)
        return at + 1

    def _function(self, at: int, *, named: bool) -> int:
        """From ``function`` over the parameters; the index after them. Of a statement the line is its first word's."""
        line = self._tokens[at].line
        method = False
        while self._tokens[at].text != b"(":
            method = method or self._tokens[at].text == b":"
            at += 1
        self._functions.append(_Function(line if named else self._tokens[at].line, int(method)))
        at += 1
        while self._tokens[at].text != b")":
            if self._tokens[at].text != b",":
                self._declare(at)  # `...` is the variable `arg`
            at += 1
        return at + 1

    def _open(self, text: bytes) -> None:
        self._functions[-1].blocks.append((text, self._functions[-1].active))

    def _block_word(self, text: bytes) -> None:
        function = self._functions[-1]
        blocks = function.blocks
        if text in (b"if", b"while", b"repeat"):
            self._open(text)
        elif text == b"do":
            if blocks and blocks[-1][0] in (b"while", b"for"):
                blocks[-1] = (text, blocks[-1][1])
            else:
                self._open(text)
        elif text in (b"else", b"elseif"):
            function.active = blocks[-1][1]
        elif text in (b"end", b"until"):
            if blocks:
                function.active = blocks.pop()[1]
            elif len(self._functions) > 1:
                self._functions.pop()
            else:
                raise IndexError("an end too many")
