"""Every interleaving by the contract: the interrupt comes between any two bytecodes, once or twice in a run.

At the soft level the callback runs there and then, as a scheduled one may (between two bytecodes, in a wait, not in
another callback), and may allocate. At the hard level it strikes at every moment that the build has, in C code and in
a collection as well, with the heap locked.
"""

from __future__ import annotations

import bisect
import itertools
import random
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.reference.engine.tree_vm import Level, Moment
from harness.reference.explore.explorer import Limits, Outcome, Place, place_of, refuse_endless
from harness.reference.explore.rewind import Ending
from harness.reference.explore.struck_life import LETTERS, Spot, StruckJob, StruckRun, Subject, Then

#: Where each level strikes.
KINDS = {
    Level.SOFT: (Moment.BYTECODE, Moment.POLL, Moment.WAIT),
    Level.HARD: (Moment.BYTECODE, Moment.C_CODE, Moment.POLL, Moment.COLLECTION, Moment.WAIT),
}
_SPOT = re.compile(r"([cpgw]?)(\d+)")

Strikes = tuple[Spot, ...]

#: Of a ``main()`` that does not end by itself, so many first moments of each kind are explored.
ENDLESS_MOMENTS = 1000


@dataclass
class StruckOutcome(Outcome):
    """What ``count`` runs led to; ``strikes`` are those of the first of them, and ``places`` where they came.

    ``why`` is what the callback raised; ``late``: it ran after ``main()`` had ended.
    """

    strikes: Strikes = ()
    places: tuple[Place, ...] = ()
    bytecodes: tuple[int, ...] = ()
    why: str = ""
    late: bool = False

    @property
    def label(self) -> str:
        if self.ending is Ending.RESET:
            return f"{self.ending.value}: {self.error.decode('utf-8', 'replace')}"
        if not self.callback_failed:
            return super().label
        why = f"the callback raised {self.why.rstrip(': ')}"
        return why if self.ending is Ending.RETURNED else f"{why}; {super().label}"


@dataclass
class ContractExploration:
    """``moments`` is how many there are of each kind in the undisturbed run, ``possible`` how many runs it would take
    to try them all, and ``runs`` how many were tried. ``ended_by`` says what kept it from trying all."""

    level: Level
    strikes: int
    moments: dict[Moment, int]
    baseline: StruckRun
    outcomes: list[StruckOutcome] = field(default_factory=list)
    possible: int = 0
    runs: int = 0
    late: int = 0
    ended_by: str = ""

    @property
    def points(self) -> int:
        return sum(self.moments.values())

    @property
    def endless(self) -> bool:
        return self.baseline.ending is Ending.ENDLESS

    @property
    def failures(self) -> list[StruckOutcome]:
        return [outcome for outcome in self.outcomes if outcome.failed]

    @property
    def safe(self) -> bool:
        return not self.failures


def strikes_of(text: str) -> Strikes:
    """The strikes that ``--point`` names: ``35``, ``c12`` (in C code), ``35,41``. Raises UsageError."""
    kinds = {letter: kind for kind, letter in LETTERS.items()}
    spots: list[Spot] = []
    for part in text.split(","):
        match = _SPOT.fullmatch(part.strip())
        if match is None or len(spots) == 2:
            raise UsageError(f"--point {text!r} names no point", hint="as the report writes it: 35, c12 or 35,41")
        spots.append(Spot(kinds[match[1]], int(match[2])))
    return tuple(spots)


def explore_by_contract(
    subject: Subject,
    limits: Limits,
    *,
    level: Level = Level.SOFT,
    strikes: int = 1,
    only: Strikes = (),
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> ContractExploration:
    """Run the program with its interrupt at every moment of ``main()``, and with two at every pair of moments.

    ``limits`` bound it; a part is then tried that is spread over all. ``only``: these strikes alone. ``progress`` hears
    how many runs are done, of how many. Raises UsageError for a program that cannot be explored.
    """
    return subject.drive(_Explorer(limits, level, strikes, only, progress).jobs())


class _Explorer:
    def __init__(
        self, limits: Limits, level: Level, strikes: int, only: Strikes, progress: Callable[[int, int], None]
    ) -> None:
        self._limits = limits
        self._level = level
        self._strikes = strikes
        self._only = only
        self._progress = progress
        self._until = time.monotonic() + limits.seconds
        self._outcomes: dict[object, StruckOutcome] = {}

    def jobs(self) -> Generator[StruckJob, StruckRun, ContractExploration]:
        baseline = yield self._job(())
        if baseline.ending in (Ending.CRASHED, Ending.RESET):
            raise UsageError(
                f"the program cannot be explored: main() {baseline.ending.value} without any interrupt",
                hint=baseline.error.decode("utf-8", "replace"),
            )
        moments = {kind: baseline.moments.get(kind, 0) for kind in KINDS[self._level]}
        result = ContractExploration(self._level, self._strikes, moments, baseline)
        if self._only:
            self._check(self._only[0], moments)
            yield from self._try(result, self._only)
        else:
            yield from self._all(result)
        yield from self._locate()
        result.outcomes = sorted(self._outcomes.values(), key=lambda outcome: outcome.strikes)
        if result.endless and not self._only:
            refuse_endless(result.outcomes)
        return result

    def _job(self, strikes: Strikes, then: Then = Then.INTERRUPT) -> StruckJob:
        return StruckJob(strikes, self._level, self._limits.cost, then)

    @staticmethod
    def _check(spot: Spot, moments: dict[Moment, int]) -> None:
        if spot.number >= moments.get(spot.kind, 0):
            has = ", ".join(f"{Spot(kind, 0)} to {Spot(kind, n - 1)}" for kind, n in moments.items() if n)
            raise UsageError(f"point {spot} was asked for, but the program has points {has}")

    def _all(self, result: ContractExploration) -> Generator[StruckJob, StruckRun, None]:
        most = ENDLESS_MOMENTS if result.endless else self._limits.cost
        spots = [Spot(kind, n) for kind, count in result.moments.items() for n in range(min(count, most))]
        result.possible = len(spots)
        ends: dict[Spot, StruckRun] = {}
        for number, at in enumerate(_spread(len(spots), self._limits.points)):
            if self._out_of_time(result):
                break
            ends[spots[at]] = yield from self._try(result, (spots[at],))
            self._progress(number + 1, len(spots))
        if self._strikes == 2:
            yield from self._pairs(result, sorted(ends.items()))
        if not result.ended_by and result.runs < result.possible:
            result.ended_by = f"--points {self._limits.points}"

    def _pairs(
        self, result: ContractExploration, first: Sequence[tuple[Spot, StruckRun]]
    ) -> Generator[StruckJob, StruckRun, None]:
        """The second strike comes at any moment from the first one on, in the run that the first one led to."""
        kinds = KINDS[self._level]
        seconds = [[max(0, run.moments.get(kind, 0) - run.passed.get(kind, 0)) for kind in kinds] for _, run in first]
        sums = list(itertools.accumulate(sum(row) for row in seconds))
        total = sums[-1] if sums else 0
        done = result.runs
        result.possible += total
        for tried, pair in enumerate(_spread(total, max(0, self._limits.points - done)), done + 1):
            if self._out_of_time(result):
                return
            at = bisect.bisect_right(sums, pair)
            offset = pair - (sums[at - 1] if at else 0)
            spot, run = first[at]
            for kind, count in zip(kinds, seconds[at], strict=True):
                if offset < count:
                    yield from self._try(result, (spot, Spot(kind, run.passed.get(kind, 0) + offset)))
                    break
                offset -= count
            self._progress(tried, result.possible)

    def _out_of_time(self, result: ContractExploration) -> bool:
        if time.monotonic() >= self._until:
            result.ended_by = f"--budget {self._limits.seconds:g}"
        return bool(result.ended_by)

    def _try(self, result: ContractExploration, strikes: Strikes) -> Generator[StruckJob, StruckRun, StruckRun]:
        run = yield self._job(strikes)
        result.runs += 1
        result.late += run.late
        ran = run.entered == len(strikes)
        key = (run.ending, run.output, run.error, run.callback_error, ran)
        outcome = self._outcomes.get(key)
        if outcome is None or (strikes < outcome.strikes and len(strikes) <= len(outcome.strikes)):
            why = run.callback_error.decode("utf-8", "replace").strip().splitlines()
            fresh = StruckOutcome(
                run.ending,
                run.output,
                run.callback_error + run.error,
                callback_failed=bool(run.callback_error),
                ran=ran,
                lost=False,
                point=strikes[0].number,
                count=outcome.count if outcome else 0,
                strikes=strikes,
                bytecodes=tuple(run.bytecodes),
                why=why[-1] if why else "",
                late=run.late,
            )
            self._outcomes[key] = outcome = fresh
        outcome.count += 1
        return run

    def _locate(self) -> Generator[StruckJob, StruckRun, None]:
        """Where the first run of each outcome was struck: the same run with a marker that is raised there."""
        for outcome in self._outcomes.values():
            places = []
            for number, begun in enumerate(outcome.bytecodes):
                spot = Spot(Moment.BYTECODE, max(0, begun - 1))
                run = yield self._job((*outcome.strikes[:number], spot), Then.LOCATE)
                places.append(place_of(run.located.partition(b"KeyboardInterrupt")[0] + b"KeyboardInterrupt"))
            outcome.places = tuple(places)
            outcome.place = places[-1] if places else Place()


def _spread(total: int, limit: int) -> Iterator[int]:
    """All numbers below ``total``, in an order of which each beginning is spread over all; at most ``limit``."""
    return iter(random.Random(0).sample(range(total), min(total, limit)))
