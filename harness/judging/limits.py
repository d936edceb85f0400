"""Limits that say in words what they are, and judge."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Protocol

from harness.errors import UsageError
from harness.judging.outcome import Outcome
from harness.kinds import Value, number, with_unit


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
class Bounds:
    """The numbers of a :class:`Limit`, as they are kept with a figure; None where there is no bound."""

    low: float | None = None
    high: float | None = None
    good_low: float | None = None
    good_high: float | None = None
    equal: Value | None = None

    def judge(self, value: Value) -> Outcome:
        """What the limit comes to for ``value``: the same as when it was judged first."""
        low, good_low = (-math.inf if bound is None else bound for bound in (self.low, self.good_low))
        high, good_high = (math.inf if bound is None else bound for bound in (self.high, self.good_high))
        return Limit("", low, high, good_low, good_high, self.equal).judge(value)

    def to_json(self) -> dict[str, Value | None]:
        return dict(vars(self))

    @classmethod
    def from_json(cls, found: object) -> Bounds | None:
        """None for null, which stands with figures of older versions. Raises ValueError for anything else."""
        if found is None:
            return None
        if not isinstance(found, dict) or found.keys() != {field.name for field in fields(cls)}:
            raise ValueError(f"expected the bounds of a limit, came {str(found)[:80]}")
        for name, value in found.items():
            fits = int | float | str | None if name == "equal" else int | float | None
            if isinstance(value, bool) or not isinstance(value, fits):
                raise ValueError(f"the bound {name!r} is {str(value)[:40]!r}, expected a number")
        return cls(**found)


@dataclass(frozen=True)
class Limit:
    """Passes from ``good_low`` to ``good_high``; marginal from there to ``low`` and ``high``; fails beyond.

    All in the measurement's unit and inclusive; infinite where there is no bound. ``equal`` stands alone: the
    only good value. ``words`` is the sentence that reports print.
    """

    words: str
    low: float = -math.inf
    high: float = math.inf
    good_low: float = -math.inf
    good_high: float = math.inf
    equal: Value | None = None

    def __str__(self) -> str:
        return self.words

    def told_only(self) -> Limit:
        """The same limit for a figure that does not decide: what fails by this one is marginal.

        Raises ValueError for a text, which has nothing between equal and not.
        """
        if self.equal is None:
            return Limit(self.words, good_low=max(self.low, self.good_low), good_high=min(self.high, self.good_high))
        if isinstance(self.equal, str):
            raise ValueError("a text is equal or it is not")
        return Limit(self.words, good_low=self.equal, good_high=self.equal)

    def widened(self, by: float, why: str) -> Limit:
        """The same limit for a figure that is uncertain by ``by``, in its unit. A limit that is one value stays."""
        if not by or self.equal is not None:
            return self
        words = f"{self.words}, ± {number(round(by, 4))} {why}"
        return Limit(words, self.low - by, self.high + by, self.good_low - by, self.good_high + by)

    @property
    def bounds(self) -> Bounds:
        sides = (self.low, self.high, self.good_low, self.good_high)
        low, high, good_low, good_high = (side if math.isfinite(side) else None for side in sides)
        return Bounds(low, high, good_low, good_high, self.equal)

    def judge(self, value: Value) -> Outcome:
        if self.equal is not None:
            return Outcome.PASS if value == self.equal else Outcome.FAIL
        if isinstance(value, str):
            return Outcome.FAIL
        if not self.low <= value <= self.high:
            return Outcome.FAIL
        return Outcome.PASS if self.good_low <= value <= self.good_high else Outcome.MARGINAL


def exactly(value: Value, unit: str = "", *, words: str = "") -> Limit:
    return Limit(words or f"exactly {with_unit(value, unit)}", equal=value)


def by_source(asked: Value | Limit, unit: str, source: str) -> Limit:
    """What ``source`` says that a figure is, or the limit that follows from it; the limit's words name it."""
    limit = asked if isinstance(asked, Limit) else exactly(asked, unit)
    return replace(limit, words=f"{limit.words}: {source}")


def at_most(value: float, unit: str = "", *, words: str = "", margin: float = 0.0) -> Limit:
    """A good value nearer than ``margin`` to ``value`` is marginal."""
    return Limit(words or f"at most {with_unit(value, unit)}", high=value, good_high=value - margin)


def at_least(value: float, unit: str = "", *, words: str = "", margin: float = 0.0) -> Limit:
    """A good value nearer than ``margin`` to ``value`` is marginal."""
    return Limit(words or f"at least {with_unit(value, unit)}", low=value, good_low=value + margin)


def between(low: float, high: float, unit: str = "", *, words: str = "") -> Limit:
    return Limit(words or f"{number(low)} to {with_unit(high, unit)}", low, high, low, high)


def within_percent(center: float, percent: float, unit: str = "", *, marginal_percent: float = 0.0) -> Limit:
    """``percent`` on either side passes; up to ``marginal_percent`` is marginal."""
    reach = abs(center) * percent / 100
    outer = max(reach, abs(center) * marginal_percent / 100)
    words = f"within {number(percent)} % of {with_unit(center, unit)}"
    if outer > reach:
        words += f", marginal to {number(marginal_percent)} %"
    return Limit(words, center - outer, center + outer, center - reach, center + reach)


def within_blocks(center: float, blocks: int, *, why: str, block: int = 16) -> Limit:
    return Limit(
        f"within {blocks} blocks ({blocks * block} B) of {number(center)} B: {why}",
        low=center - blocks * block,
        high=center + blocks * block,
    )


def at_most_ratio(center: float, ratio: float, unit: str, *, why: str) -> Limit:
    """For a prediction that leaves something out: only the upper side is held."""
    return Limit(f"at most {number(ratio)} times {with_unit(round(center, 1), unit)}: {why}", high=center * ratio)


def of_board(name: str, builtin: Limit, reference: Value | None, unit: str, limits: Mapping[str, BoardLimit]) -> Limit:
    """The limit for measurement ``name``: the board's own when boards.yaml has one, else ``builtin``.

    The first pattern that matches counts. Raises UsageError for a limit that cannot be applied to it.
    """
    for pattern, limit in limits.items():
        if fnmatch.fnmatchcase(name, pattern):
            return _from_board(name, limit, builtin, reference, unit)
    return builtin


def _from_board(name: str, limit: BoardLimit, builtin: Limit, reference: Value | None, unit: str) -> Limit:
    if limit.equal is not None:
        return exactly(limit.equal, words=_by_board(f"exactly {with_unit(limit.equal, unit)}", limit))
    low, high, words = -math.inf, math.inf, []
    if limit.min is not None:
        low = limit.min
        words.append(f"at least {with_unit(limit.min, unit)}")
    if limit.max is not None:
        high = limit.max
        words.append(f"at most {with_unit(limit.max, unit)}")
    if limit.within_percent is not None:
        if reference is None or isinstance(reference, str):
            raise UsageError(
                f"the limit within_percent of boards.yaml cannot be applied to {name!r}: its reference is no figure",
                hint="give it 'min', 'max' or 'equal'",
            )
        reach = abs(reference) * limit.within_percent / 100
        low, high = max(low, reference - reach), min(high, reference + reach)
        words.append(f"within {number(limit.within_percent)} % of {with_unit(reference, unit)}")
    if not words:  # marginal_percent alone: the built-in limit stays, and gets a margin
        if builtin.equal is not None:
            return builtin
        low, high = builtin.low, builtin.high
        words.append(str(builtin))
    share = (limit.marginal_percent or 0.0) / 100
    if share:
        words.append(f"marginal nearer than {number(share * 100)} % to that")
    return Limit(
        _by_board(" and ".join(words), limit),
        low=low,
        high=high,
        good_low=low + share * abs(low) if math.isfinite(low) else low,
        good_high=high - share * abs(high) if math.isfinite(high) else high,
    )


def _by_board(words: str, limit: BoardLimit) -> str:
    return f"{words}, by boards.yaml" + (f" ({limit.why})" if limit.why else "")
