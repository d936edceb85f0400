"""A board's speed: the line that leads from the reference's metered cost to the board's microseconds.

The fit is on ratios, by medians, so that a few micro-benchmarks that are out of line do not move it; they
are what it shows. No overhead is fitted: the agent has taken its own cost out on both sides.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from harness import strict_json
from harness.errors import BenchFault

#: Fewer points than this say nothing about a board.
LEAST_POINTS = 5
#: A time may differ from its prediction by this much at least, and at most, in percent, to be in line. The upper
#: bound is there because a board whose own calibration scatters wildly must not thereby pass everything.
_TOLERANCE = (25.0, 100.0)
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
    """``scale`` is board µs per unit of reference cost; ``spread`` the relative scatter (1 sigma) of the points."""

    scale: float
    spread: float
    points: tuple[Point, ...]

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
            return cls(float(fields["scale"]), float(fields["spread"]), points)
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
    logs = [math.log(p.measured_us / p.cost) for p in usable]
    middle = statistics.median(logs)
    spread = _MAD_TO_SIGMA * statistics.median(abs(value - middle) for value in logs)
    return Calibration(math.exp(middle), spread, tuple(usable))
