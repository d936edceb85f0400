"""Small plots beside a figure in a report: how it went run after run, and how its samples lie. Plain SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from harness.errors import UsageError
from harness.kinds import Effect, number
from harness.results.run_record import RunRecord
from harness.results.series import histories
from harness.results.store import Store

_WIDTH, _HEIGHT, _PAD = 130, 26, 3
#: Fewer than this are better read than looked at.
_LEAST_RUNS, _LEAST_SAMPLES = 3, 8
_BINS = 26
_MOST_RUNS = 30
NO_EFFECT = Effect()

#: Board, suite, scenario, figure.
Place = tuple[str, str, str, str]
#: The figure's values in the last runs, oldest first.
Trends = Mapping[Place, Sequence[float]]


def trends_of(run: RunRecord, store: Store) -> Trends:
    """The last values of each figure of ``run``, with the same firmware line, up to this run."""
    trends: dict[Place, Sequence[float]] = {}
    for board in run.boards:
        try:
            every = histories(store, board.id, line=board.firmware.line)
        except UsageError:  # no figure yet
            continue
        for history in every:
            values = [e.measured for e in history.entries if e.started <= run.started]
            if not any(isinstance(value, str) for value in values):
                trends[board.id, history.suite, history.scenario, history.name] = [
                    float(v) for v in values[-_MOST_RUNS:]
                ]
    return trends


def trend_svg(values: Sequence[float], effect: Effect = NO_EFFECT) -> str:
    """A line through ``values`` with the last one marked; empty when there is nothing to see.

    What is less than ``effect`` does not fill the height: noise of a thousandth should not look like a cliff.
    """
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) < _LEAST_RUNS or min(finite) == max(finite):
        return ""
    low, high = min(finite), max(finite)
    span = max(high - low, effect.absolute, effect.relative * abs(finite[-1]))
    bottom = low / 2 + high / 2 - span / 2
    step = (_WIDTH - 2 * _PAD) / (len(finite) - 1)
    points = [
        (_PAD + place * step, _HEIGHT - _PAD - (value - bottom) / span * (_HEIGHT - 2 * _PAD))
        for place, value in enumerate(finite)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return _svg(
        f"last {len(finite)} runs: {number(low)} to {number(high)}",
        f'<polyline points="{path}" fill="none" stroke="currentColor" stroke-width="1.3"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="currentColor"/>',
    )


def distribution_svg(samples: Sequence[float]) -> str:
    """A histogram of ``samples`` from least to greatest; empty when there is nothing to see."""
    finite = [value for value in samples if math.isfinite(value)]
    if len(finite) < _LEAST_SAMPLES or min(finite) == max(finite):
        return ""
    low, high = min(finite), max(finite)
    counts = [0] * _BINS
    for value in finite:
        counts[min(_BINS - 1, int((value - low) / (high - low) * _BINS))] += 1
    width = (_WIDTH - 2 * _PAD) / _BINS
    tallest = max(counts)
    bars = "".join(
        f'<rect x="{_PAD + place * width:.1f}" y="{_HEIGHT - height:.1f}" width="{width - 0.6:.1f}" '
        f'height="{height:.1f}"/>'
        for place, count in enumerate(counts)
        if (height := max(1.5, count / tallest * (_HEIGHT - _PAD)) if count else 0)
    )
    return _svg(f"{len(finite)} samples: {number(low)} to {number(high)}", f'<g fill="currentColor">{bars}</g>')


def _svg(title: str, content: str) -> str:
    return (
        f'<svg class="plot" role="img" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}">'
        f"<title>{title}</title>{content}</svg>"
    )
