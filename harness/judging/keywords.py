"""What ``-k`` means: words of a scenario's name as it is printed, with ``and``, ``or``, ``not`` and brackets.

``reload: files are kept`` selects the scenario that is printed so; ``files or globals`` whatever has one of the words.
Large and small letters, ``_`` and a space, are the same. Words side by side are one piece of a name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass

from harness.errors import UsageError

#: Of what is given with -k, in characters and in brackets within brackets.
_LONGEST = 2_000
_DEEPEST = 50
_TOKEN = re.compile(r"\s*(?:(?P<bracket>[()])|(?P<word>[^\s()]+))")

_Test = Callable[[Collection[str]], bool]


def normal(text: str) -> str:
    """``text`` as it is compared: small letters, one space between words."""
    return " ".join(re.sub(r"[_:]", " ", text.lower()).split())


@dataclass(frozen=True)
class Keywords:
    """What several ``-k`` select together; everything when there is none. Raises UsageError for one that is wrong."""

    texts: tuple[str, ...]

    def __post_init__(self) -> None:
        for text in self.texts:
            _Parser(text).whole()

    def select(self, printed: str, others: Collection[str] = ()) -> bool:
        """Whether the scenario printed as ``suite: name`` is meant; ``others`` are more words that stand for it."""
        if not self.texts:
            return True
        names = [normal(printed), *map(normal, others)]
        return any(names[0] == normal(text) or _Parser(text).whole()(names) for text in self.texts)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        if len(text) > _LONGEST:
            raise UsageError(f"-k: expected at most {_LONGEST} characters, came {len(text)}")
        self._tokens = [match["bracket"] or match["word"] for match in _TOKEN.finditer(text)]
        self._at = 0
        self._depth = 0

    def whole(self) -> _Test:
        test = self._either()
        if self._at < len(self._tokens):
            raise self._wrong(f"{self._tokens[self._at]!a} has no place here")
        return test

    def _next(self, *wanted: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at].lower() in wanted:
            self._at += 1
            return True
        return False

    def _either(self) -> _Test:
        tests = [self._all()]
        while self._next("or"):
            tests.append(self._all())
        return lambda names: any(test(names) for test in tests)

    def _all(self) -> _Test:
        tests = [self._one()]
        while self._next("and"):
            tests.append(self._one())
        return lambda names: all(test(names) for test in tests)

    def _one(self) -> _Test:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise self._wrong(f"more than {_DEEPEST} brackets and 'not' within each other")
        try:
            if self._next("not"):
                inner = self._one()
                return lambda names: not inner(names)
            if self._next("("):
                inner = self._either()
                if not self._next(")"):
                    raise self._wrong("a bracket is not closed")
                return inner
            return self._words()
        finally:
            self._depth -= 1

    def _words(self) -> _Test:
        words = []
        while self._at < len(self._tokens) and self._tokens[self._at].lower() not in ("and", "or", "not", "(", ")"):
            words.append(self._tokens[self._at])
            self._at += 1
        piece = normal(" ".join(words))
        if not piece:
            raise self._wrong("a word is missing")
        return lambda names: any(piece in name for name in names)

    def _wrong(self, what: str) -> UsageError:
        return UsageError(
            f"-k {self._text[:80]!a}: {what}",
            hint="give words of a scenario's name, with 'and', 'or', 'not' and brackets; --list shows the names",
        )
