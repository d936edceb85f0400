"""A limit as one writes it down: ``at most 2000 B``, ``at least 10 ms``, ``exactly 3``, ``200 to 250 us``."""

from __future__ import annotations

import re
from fractions import Fraction

from harness.errors import UsageError
from harness.judging.limits import Limit, at_least, at_most, between, exactly

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)"
_UNIT = r"(?:\s*(?P<unit>[A-Za-z%µ/]+))?"
_FORMS = {
    "at most": re.compile(rf"at most (?P<high>{_NUMBER}){_UNIT}"),
    "at least": re.compile(rf"at least (?P<low>{_NUMBER}){_UNIT}"),
    "exactly": re.compile(rf"exactly (?P<equal>{_NUMBER}){_UNIT}"),
    "to": re.compile(rf"(?P<low>{_NUMBER}) to (?P<high>{_NUMBER}){_UNIT}"),
}
#: Microseconds in a unit of time, so that a limit may be written in another one than its figure.
_MICROSECONDS = {"us": 1, "µs": 1, "ms": 1_000, "s": 1_000_000}
_BYTES = {"B": 1, "kB": 1000, "KB": 1024}


def limit_in_words(words: str, unit: str) -> Limit:
    """The limit that ``words`` say, for a figure in ``unit``. Raises UsageError for any other sentence, and for a unit
    that cannot be converted."""
    for form, pattern in _FORMS.items():
        found = pattern.fullmatch(" ".join(words.split()))
        if found is None:
            continue
        factor = _factor(found["unit"] or unit, unit, words)
        given = {
            name: _whole(Fraction(text) * factor) for name, text in found.groupdict().items() if text and name != "unit"
        }
        if form == "at most":
            return at_most(given["high"], unit, words=words)
        if form == "at least":
            return at_least(given["low"], unit, words=words)
        if form == "exactly":
            return exactly(given["equal"], unit, words=words)
        if given["low"] > given["high"]:
            raise UsageError(f"limit {words!a}: the first number is larger than the second")
        return between(given["low"], given["high"], unit, words=words)
    raise UsageError(
        f"limit {words[:80]!a} is not understood",
        hint="write 'at most 2000 B', 'at least 10 ms', 'exactly 3' or '200 to 250 us'",
    )


def _whole(value: Fraction) -> float:
    """Whole numbers as such: bytes are counted, and ``2000.0 B`` reads badly."""
    return int(value) if value.denominator == 1 else float(value)


def _factor(given: str, unit: str, words: str) -> Fraction:
    if given == unit:
        return Fraction(1)
    for table in (_MICROSECONDS, _BYTES):
        if given in table and unit in table:
            return Fraction(table[given], table[unit])
    raise UsageError(f"limit {words!a}: the figure is in {unit!r}, which {given!a} cannot be converted to")
