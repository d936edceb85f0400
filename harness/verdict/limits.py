"""Limits that say in words what they are, and judge."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.verdict.outcome import Outcome

Value = float | int | str


class BoardLimit(Protocol):
    """A limit of boards.yaml (``harness.inventory.model.Limit``)."""

    @property
    def min(self) -> float | None: ...
    @property
    def max(self) -> float | None: ...
    @property
    def equal(self) -> float | None: ...
    @property
    def within_percent(self) -> float | None: ...
    @property
    def marginal_percent(self) -> float | None: ...
    @property
    def why(self) -> str: ...


@dataclass(frozen=True)
class Limit:
    """Passes from ``low`` to ``high``; nearer than ``margin`` to a bound, or up to ``beyond`` past it: marginal.

    All in the measurement's unit. ``words`` is the sentence that reports print.
    """

    words: str
    low: float | None = None
    high: float | None = None
    equal: Value | None = None
    margin: float = 0.0
    beyond: float = 0.0

    def __str__(self) -> str:
        return self.words

    def judge(self, value: Value) -> Outcome:
        if self.equal is not None:
            return Outcome.PASS if value == self.equal else Outcome.FAIL
        if isinstance(value, str):
            return Outcome.FAIL
        low = float("-inf") if self.low is None else self.low
        high = float("inf") if self.high is None else self.high
        if not low - self.beyond <= value <= high + self.beyond:
            return Outcome.FAIL
        if not low + self.margin <= value <= high - self.margin:
            return Outcome.MARGINAL
        return Outcome.PASS


def number(value: Value) -> str:
    """A figure as people write it."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value)}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:.0f}"


def _with_unit(value: Value, unit: str) -> str:
    return number(value) if unit in ("", "-", "1") else f"{number(value)} {unit}"


def exactly(value: Value, unit: str = "", *, words: str = "") -> Limit:
    return Limit(words or f"exactly {_with_unit(value, unit)}", equal=value)


def at_most(value: float, unit: str = "", *, words: str = "", margin: float = 0.0) -> Limit:
    return Limit(words or f"at most {_with_unit(value, unit)}", high=value, margin=margin)


def at_least(value: float, unit: str = "", *, words: str = "", margin: float = 0.0) -> Limit:
    return Limit(words or f"at least {_with_unit(value, unit)}", low=value, margin=margin)


def within_percent(center: float, percent: float, unit: str = "", *, marginal_percent: float = 0.0) -> Limit:
    """``percent`` on either side passes; up to ``marginal_percent`` is marginal."""
    reach = abs(center) * percent / 100
    return Limit(
        f"within {number(percent)} % of {_with_unit(center, unit)}",
        low=center - reach,
        high=center + reach,
        beyond=max(0.0, abs(center) * marginal_percent / 100 - reach),
    )


def within_blocks(center: float, blocks: int, *, why: str, block: int = 16) -> Limit:
    return Limit(
        f"within {blocks} blocks ({blocks * block} B) of {number(center)} B: {why}",
        low=center - blocks * block,
        high=center + blocks * block,
    )


def at_most_ratio(center: float, ratio: float, unit: str, *, why: str) -> Limit:
    """For a prediction that leaves something out: only the upper side is held."""
    return Limit(f"at most {number(ratio)} times {_with_unit(round(center, 1), unit)}: {why}", high=center * ratio)


def of_board(name: str, reference: Value | None, unit: str, limits: Mapping[str, BoardLimit]) -> Limit | None:
    """The board's own limit for measurement ``name``, when boards.yaml has one. The first pattern counts."""
    for pattern, limit in limits.items():
        if fnmatch.fnmatchcase(name, pattern):
            return _from_board(limit, reference, unit)
    return None


def _from_board(limit: BoardLimit, reference: Value | None, unit: str) -> Limit:
    why = f" ({limit.why})" if limit.why else ""
    if limit.equal is not None:
        return exactly(limit.equal, unit, words=f"exactly {_with_unit(limit.equal, unit)}, by boards.yaml{why}")
    low, high, words = limit.min, limit.max, []
    if limit.min is not None:
        words.append(f"at least {_with_unit(limit.min, unit)}")
    if limit.max is not None:
        words.append(f"at most {_with_unit(limit.max, unit)}")
    if limit.within_percent is not None and isinstance(reference, (int, float)):
        reach = abs(reference) * limit.within_percent / 100
        low = reference - reach if low is None else max(low, reference - reach)
        high = reference + reach if high is None else min(high, reference + reach)
        words.append(f"within {number(limit.within_percent)} % of {_with_unit(reference, unit)}")
    share = (limit.marginal_percent or 0.0) / 100
    nearest = [abs(bound) for bound in (low, high) if bound is not None]
    return Limit(
        f"{' and '.join(words) or 'anything'}, by boards.yaml{why}",
        low=low,
        high=high,
        margin=share * min(nearest, default=0.0),
    )
