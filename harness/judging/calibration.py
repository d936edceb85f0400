"""A board's speed: a profile, which says what each kind of the reference's work costs it, and one scale, its clock.

The scale is fitted on ratios, by medians, so that a few micro-benchmarks that are out of line do not move it; they
are what it shows. No overhead is fitted: the agent has taken its own cost out on both sides. docs/times.md says how
well this predicts.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

from harness import strict_json
from harness.errors import BenchFault
from harness.judging.limits import Limit, within_percent
from harness.judging.profiles import GENERIC, PLAIN, PROFILES, profile_named
from harness.reference.vm import ReferenceVm
from harness.runtimes.program import Program
from harness.runtimes.records import DRAWN_NUMBERS

#: Fewer points than this say nothing about a board.
LEAST_POINTS = 5
#: A time may differ from its prediction by this much at least, and at most, in percent, to be in line. The upper
#: bound is there because a board whose own calibration scatters wildly must not thereby pass everything.
_TOLERANCE = (25.0, 50.0)
#: The same for a benchmark of the calibration itself, by the others: beyond the first it is marginal, beyond the second
#: it fails.
_IN_LINE, _OUT_OF_LINE = (15.0, 30.0), (25.0, 50.0)
#: By so much must the mean profile fit better to be preferred to that of one instruction set.
_CLEARLY = 0.8
#: How often the agent times nothing as it starts.
_AGENT_ROUNDS = 7
#: Median absolute deviation to standard deviation, for a normal distribution.
_MAD_TO_SIGMA = 1.4826


@dataclass(frozen=True)
class Point:
    """One micro-benchmark: the board's time in µs against the reference's metered cost (its own µs)."""

    name: str
    measured_us: float
    cost: float


@dataclass(frozen=True)
class Calibration:
    """``scale`` is board µs per unit of reference cost; ``spread`` the relative scatter (1 sigma) of the points.

    The points' costs are by the weights of ``profile``; ``plain_scale`` and ``plain_spread`` are for costs that were
    counted without them.
    """

    scale: float
    spread: float
    points: tuple[Point, ...]
    profile: str = PLAIN.name
    plain_scale: float = 0.0
    plain_spread: float = 0.0

    @property
    def weights(self) -> tuple[float, ...]:
        """By which the reference's work is weighed; empty when each instruction counts alike."""
        return () if self.profile == PLAIN.name else profile_named(self.profile).weights

    @property
    def plain(self) -> Calibration:
        """The line for costs that were not weighed."""
        return self if self.profile == PLAIN.name else Calibration(self.plain_scale, self.plain_spread, ())

    def without(self, name: str) -> Calibration:
        """The line of all points but the one of that name, which cannot thereby widen its own limit."""
        return replace(fit([point for point in self.points if point.name != name]), profile=self.profile)

    def limit(self, cost: float, unit: str = "us") -> Limit:
        """For the time of a benchmark that this line was fitted without.

        A pass within two spreads, 15 to 30 %; a fail beyond three, 25 to 50 %.
        """
        inner, outer = (
            min(most, max(least, 100 * count * self.spread))
            for count, (least, most) in ((2, _IN_LINE), (3, _OUT_OF_LINE))
        )
        center = round(self.predict(cost), 1)
        return within_percent(center, round(inner, 1), unit, marginal_percent=round(outer, 1))

    def predict(self, cost: float) -> float:
        """The time in µs that this board should take for what costs the reference ``cost``."""
        return self.scale * cost

    @property
    def tolerance_percent(self) -> float:
        """What a time may differ from its prediction before it is out of line: four spreads, within bounds."""
        least, most = _TOLERANCE
        return min(most, max(least, 400.0 * self.spread))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """What :meth:`to_json` made. Raises BenchFault for anything else."""
        try:
            fields = strict_json.loads(text)
            points = tuple(Point(str(p["name"]), float(p["measured_us"]), float(p["cost"])) for p in fields["points"])
            profile = str(fields.get("profile", PLAIN.name))  # a calibration of before there were profiles
            plain = (float(fields.get(name, 0.0)) for name in ("plain_scale", "plain_spread"))
            return cls(float(fields["scale"]), float(fields["spread"]), points, profile, *plain)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
            raise BenchFault(f"this is no stored calibration: {problem}", hint="calibrate the board again") from None


def fit(points: Sequence[Point]) -> Calibration:
    """Fit by the median of the logarithms of the ratios: right with up to half of the points out of line.

    Raises BenchFault when there are too few usable points.
    """
    usable = [p for p in points if p.measured_us > 0 and p.cost > 0]
    if len(usable) < LEAST_POINTS:
        raise BenchFault(
            f"calibration has {len(usable)} usable benchmarks, expected at least {LEAST_POINTS}",
            hint="does the board's clock advance? See the calibration scenario's transcript",
        )
    ratios = {p.name: p.measured_us / p.cost for p in usable}
    middle = statistics.median(map(math.log, ratios.values()))
    return Calibration(math.exp(middle), spread_of(ratios), tuple(usable))


def best_fit(plain: Sequence[Point], work: Mapping[str, Sequence[float]]) -> Calibration:
    """The calibration with the profile that fits best; the plain one where no ``work`` was counted.

    ``plain`` are the points with their plain cost, ``work`` each one's counts by kind.
    """
    unweighed = fit(plain)
    if not work:
        return unweighed
    lines = [
        replace(fit([replace(p, cost=profile.cost(work[p.name], p.name)) for p in plain]), profile=profile.name)
        for profile in PROFILES
    ]
    # The mean of the others last, and only where it is clearly better: two runs of a board are to have one profile.
    misfits = [misfit([p.measured_us / line.predict(p.cost) for p in line.points]) for line in lines]
    favour = [1.0 if line.profile != GENERIC else 1 / _CLEARLY for line in lines]
    best = min(zip(misfits, favour, lines, strict=True), key=lambda choice: choice[0] * choice[1])[2]
    return replace(best, plain_scale=unweighed.scale, plain_spread=unweighed.spread)


def misfit(ratios: Sequence[float]) -> float:
    """How far times are from their predictions in the mean.

    None counts for more than a quarter, so that one operation that is out of line chooses no profile.
    """
    return statistics.fmean(min(_OUT_OF_LINE[0] / 100, abs(math.log(ratio))) for ratio in ratios)


def spread_of(ratios: Mapping[str, float]) -> float:
    """The relative scatter (1 sigma) of ratios about their median; a third of them may be anything."""
    logs = [math.log(ratio) for ratio in ratios.values()]
    middle = statistics.median(logs)
    return _MAD_TO_SIGMA * statistics.median(abs(value - middle) for value in logs)


#: What the records of the counted run are numbered from: their checksums take memory by it, and so by a little work.
_NUMBER = DRAWN_NUMBERS[0]


def work_of(program: Program, reference: ReferenceVm, *, rounds: int = 5) -> dict[str, tuple[float, ...]]:
    """The work by kind of each operation that ``program`` times with ``agent.time`` and of nothing else, exactly.

    The agent looks at its clock before and after each round, of which it has had seven when it starts, to find what
    that costs by itself. Raises BenchFault when the program has looked at it at other times.
    """
    with reference.counted() as counting:
        before = len(counting.readings)
        found = program.run(counting, timeout=240.0, drawn=_NUMBER)
        readings = counting.readings[before:]
    if len(readings) != 2 * (_AGENT_ROUNDS + rounds * len(found.observations)):
        raise BenchFault(f"program {program.name} looked at its clock at times of its own: its work cannot be told")
    spans = [
        tuple(after - before for before, after in zip(*pair, strict=True))
        for pair in zip(readings[::2], readings[1::2], strict=True)
    ]
    own = [statistics.median(kind) for kind in zip(*spans[:_AGENT_ROUNDS], strict=True)]
    result = {}
    for number, one in enumerate(found.observations):
        first = _AGENT_ROUNDS + number * rounds
        kinds = zip(*spans[first : first + rounds], strict=True)
        result[one.name] = tuple(
            max(0.0, statistics.median(kind) - cost) for kind, cost in zip(kinds, own, strict=True)
        )
    return result
