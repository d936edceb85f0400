"""The tokens of a Lua 5.1 source, with their lines: only what it takes to tell where the code generator was."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""
    (?P<space>[ \t\v\f\r\n]+)
  | (?P<comment>--\[(?P<clevel>=*)\[.*?\](?P=clevel)\]|--(?!\[=*\[)[^\r\n]*)
  | (?P<long>\[(?P<level>=*)\[(?P<body>.*?)\](?P=level)\])
  | (?P<string>"(?:[^"\\\r\n]|\\\r\n|\\\n\r|\\.)*"|'(?:[^'\\\r\n]|\\\r\n|\\\n\r|\\.)*')
  | (?P<number>(?:\d|\.\d)[\d.]*(?:[eE][+-]?)?\w*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<operator>\.\.\.|\.\.|==|~=|<=|>=|.)
    """,
    re.VERBOSE | re.DOTALL,
)
_NEWLINE = re.compile(rb"\r\n|\n\r|\r|\n")
_ESCAPED_NEWLINE = re.compile(rb"\\(?:(\r\n|\n\r|\r|\n)|(.))", re.DOTALL)


@dataclass(frozen=True)
class Token:
    """``text`` fits on one line and means the same as the source's; ``line`` is the one that the token ends on.

    ``start`` is where it starts in the source, in bytes.
    """

    kind: str
    text: bytes
    line: int
    start: int = 0


def tokens_of(source: bytes) -> list[Token]:
    """The tokens of a source. Of one that a Lua compiler refuses, those up to where it does."""
    line = 1
    tokens = []
    for match in _TOKEN.finditer(source):
        text = match.group()
        line += len(_NEWLINE.findall(text))
        kind = match.lastgroup or ""
        if match["space"] or match["comment"]:
            continue
        if match["long"] is not None:
            kind, text = "string", _quoted(match["body"])
        elif match["string"]:
            kind, text = "string", _ESCAPED_NEWLINE.sub(lambda m: b"\\n" if m[1] else m[0], text)
        elif match["number"]:
            kind = "number"
        elif match["name"]:
            kind = "name"
        else:
            kind = "operator"
        tokens.append(Token(kind, text, line, match.start()))
    return tokens


def last_line(source: bytes) -> int:
    """The line that a source ends on."""
    return 1 + len(_NEWLINE.findall(source))


def _quoted(body: bytes) -> bytes:
    body = _NEWLINE.sub(b"\n", body)
    body = body.removeprefix(b"\n")
    return b'"' + b"".join(b"\\%03d" % byte for byte in body) + b'"'


def source_of(tokens: list[Token]) -> bytes:
    """A source of these tokens, each on its line."""
    parts = []
    line = 1
    for token in tokens:
        parts.append(b"\n" * (token.line - line) or b" ")
        parts.append(token.text)
        line = token.line
    return b"".join(parts)
