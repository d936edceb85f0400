"""JSON from files that somebody else may have written, or damaged: nothing in it that the rest cannot take.

RFC 8259 leaves open what a number may be; here it is finite, and whole ones have at most 64 bits, as in every database.
"""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn


def loads(text: str | bytes) -> Any:
    """The value that ``text`` holds. Raises ValueError for anything that is no JSON, or has numbers that are too large,
    infinite or none, or is nested without end."""
    try:
        return json.loads(text, parse_constant=_none, parse_float=_finite, parse_int=_bounded)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _none(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _finite(word: str) -> float:
    value = float(word)
    if not math.isfinite(value):
        raise ValueError(f"a number is too large: {word[:20]}")
    return value


def _bounded(word: str) -> int:
    if len(word) > 20 or not -(1 << 63) <= (value := int(word)) < 1 << 63:
        raise ValueError(f"a number is too large: {word[:20]}")
    return value
