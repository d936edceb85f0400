"""The first bad one of an ordered list of firmware images, by as few runs as a search needs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from harness.errors import BenchFault, UsageError
from harness.kinds import Effect, Value


class State(Enum):
    GOOD = "good"
    BAD = "bad"
    UNKNOWN = "unknown"


@dataclass
class Tried:
    """What the tries of one image gave; ``problem`` is the last fault of the bench."""

    index: int
    figures: list[Value] = field(default_factory=list)
    problem: str = ""
    state: State = State.UNKNOWN


@dataclass(frozen=True)
class Found:
    """``last_good`` and ``first_bad`` are indexes into the list; images between them could not be tried.

    ``good`` and ``bad`` are what the figure is on either side.
    """

    last_good: int
    first_bad: int
    good: Value
    bad: Value
    tried: tuple[Tried, ...]

    @property
    def between(self) -> range:
        return range(self.last_good + 1, self.first_bad)


#: Makes a run with the image of this index and returns its figure. Raises BenchFault when there is none.
Measure = Callable[[int], Value]


def bisect(
    count: int,
    measure: Measure,
    effect: Callable[[], Effect],
    *,
    repeats: int = 3,
    watch: Callable[[Tried], None] = lambda _tried: None,
) -> Found:
    """Search ``count`` images, of which the first is good, the last is bad, and each one after a bad one is bad.

    Good and bad are what the ends are. Each image is tried until more than half of ``repeats`` tries agree, so that
    one odd figure decides nothing; one that cannot be measured so often is left out and named. ``effect`` is asked for
    once the ends are measured. Raises UsageError when the ends do not differ by it, or an end is at odds with itself,
    and BenchFault when an end cannot be measured.
    """
    if count < 2:
        raise UsageError("a bisection needs two images at least", hint="give a good one first and a bad one last")
    if repeats < 1 or repeats % 2 == 0:
        raise UsageError(f"{repeats} repeats cannot have a majority", hint="give an odd number: 1, 3, 5")
    search = _Search(measure, repeats, watch)
    good, bad = search.end(0), search.end(count - 1)
    search.tell_apart(good, bad, effect())
    low, high = 0, count - 1
    while True:
        untried = [i for i in range(low + 1, high) if i not in search.tried]
        if not untried:
            break
        middle = min(untried, key=lambda i: abs(2 * i - low - high))
        state = search.state(middle)
        low = middle if state is State.GOOD else low
        high = middle if state is State.BAD else high
    return Found(low, high, good, bad, tuple(search.tried[i] for i in sorted(search.tried)))


class _Search:
    def __init__(self, measure: Measure, repeats: int, watch: Callable[[Tried], None]) -> None:
        self._measure = measure
        self._repeats = repeats
        self._watch = watch
        self._is_bad: Callable[[Value], bool | None] = lambda _value: None
        self.tried: dict[int, Tried] = {}

    def _try(self, tried: Tried) -> Value | None:
        try:
            value = self._measure(tried.index)
        except BenchFault as problem:
            tried.problem = problem.message
            return None
        tried.figures.append(value)
        return value

    def end(self, index: int) -> Value:
        """The figure of an end: all repeats are made, for everything is held against it."""
        tried = self.tried[index] = Tried(index)
        for _ in range(self._repeats):
            self._try(tried)
        if len(tried.figures) * 2 <= self._repeats:
            raise BenchFault(
                f"image {index + 1} could be measured {len(tried.figures)} times of {self._repeats}: {tried.problem}",
                hint="the first and the last image must run; leave this one out",
            )
        tried.state = State.BAD if index else State.GOOD
        self._watch(tried)
        if any(isinstance(value, str) for value in tried.figures):
            return max(tried.figures, key=tried.figures.count)
        return statistics.median(tried.figures)  # type: ignore[type-var]

    def tell_apart(self, good: Value, bad: Value, effect: Effect) -> None:
        """From here on a figure is bad when it is nearer to that of the bad end."""
        text = isinstance(good, str) or isinstance(bad, str)
        least = 0.0 if text else effect.of(float(good))
        if good == bad or (not text and abs(float(bad) - float(good)) < least):
            raise UsageError(
                f"the first image gives {good} and the last one {bad}: nothing to search for",
                hint="is the measurement the one that changed, and are the images in their order?",
            )
        if text:
            self._is_bad = lambda value: {bad: True, good: False}.get(value)
        else:
            self._is_bad = lambda value: abs(float(value) - float(bad)) < abs(float(value) - float(good))
            for tried in self.tried.values():
                wrong = sum(self._is_bad(value) is not bool(tried.index) for value in tried.figures)
                if 2 * wrong >= len(tried.figures):
                    raise UsageError(
                        f"image {tried.index + 1} is at odds with itself: {tried.figures}", hint="give more --repeats"
                    )

    def state(self, index: int) -> State:
        tried = self.tried[index] = Tried(index)
        needed = self._repeats // 2 + 1
        votes = {True: 0, False: 0}
        for done in range(1, self._repeats + 1):
            value = self._try(tried)
            vote = None if value is None else self._is_bad(value)
            if vote is not None:
                votes[vote] += 1
            if max(votes.values()) + self._repeats - done < needed or max(votes.values()) >= needed:
                break
        if max(votes.values()) >= needed:
            tried.state = State.BAD if votes[True] >= needed else State.GOOD
        self._watch(tried)
        return tried.state


def most_runs(count: int, repeats: int) -> int:
    """How many runs a search takes at most when every image can be measured."""
    return repeats * (2 + math.ceil(math.log2(max(1, count - 1))))
