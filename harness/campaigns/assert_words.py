"""What a failed ``assert`` says, in few lines: pytest's explanation without the insides of the harness's objects."""

from __future__ import annotations

import re

_LINES, _WIDTH = 6, 200
_AT = re.compile(r"<([\w.]+\.)?(\w+) object at 0x[0-9a-f]+>")
_MADE = re.compile(r"\b([A-Z]\w*)\([a-z_]\w*=")
#: A line of pytest's explanation that says where a value came from.
_WHERE = re.compile(r" \+ +(?:where|and) ")


def assert_words(text: str) -> str:
    """``text`` of an AssertionError: at most six lines of 200 characters; ``Decoded(…)`` for what stands in one."""
    kept = []
    for line in text.splitlines():
        short = _without_insides(_AT.sub(r"\2(…)", line))
        if _WHERE.match(line) and short != line:
            continue  # where an object came from says nothing without the object
        kept.append(short if len(short) <= _WIDTH else f"{short[: _WIDTH - 1]}…")
    return "\n".join(kept[:_LINES] + (["…"] if len(kept) > _LINES else []))


def _without_insides(line: str) -> str:
    """``Pair(board=…)`` becomes ``Pair(…)``, to the bracket that closes it or to the line's end."""
    result, at = "", 0
    while match := _MADE.search(line, at):
        result += f"{line[at : match.start()]}{match[1]}(…)"
        at = _closing(line, match.start() + len(match[1]))
    return result + line[at:]


def _closing(line: str, opening: int) -> int:
    """The place after the bracket that closes the one at ``opening``; the line's end when none does."""
    depth = 0
    for at in range(opening, len(line)):
        depth += {"(": 1, ")": -1}.get(line[at], 0)
        if depth == 0:
            return at + 1
    return len(line)
