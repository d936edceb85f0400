"""Small plots beside a figure in a report: how it went run after run, and how its samples lie. Plain SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from harness.kinds import Effect, number
from harness.results.change import Verdict
from harness.results.run_record import RunRecord
from harness.results.series import History, recent_values
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
        # Twice as many runs: not every run measures every figure.
        every = recent_values(store, board.id, 2 * _MOST_RUNS, until=run.started, line=board.firmware.line)
        for figure, values in every.items():
            newest = values[-_MOST_RUNS:]
            if not any(isinstance(value, str) for value in newest):
                trends[board.id, *figure] = [float(value) for value in newest]
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


def history_svg(history: History, verdict: Verdict) -> str:
    """One figure over its runs, larger: a dot a run, a line at each step, the baseline that holds now."""
    values = [entry.measured for entry in history.entries]
    numbers = [float(value) for value in values if not isinstance(value, str) and math.isfinite(value)]
    if len(numbers) != len(values) or len(numbers) < _LEAST_RUNS:
        return ""
    low, high = min(numbers), max(numbers)
    span = (high - low) or 1.0
    wide, tall, pad = 900, 150, 12

    def x(place: float) -> float:
        return pad + place * (wide - 2 * pad) / (len(numbers) - 1)

    def y(value: float) -> float:
        return tall - pad - (value - low) / span * (tall - 2 * pad) if high > low else tall / 2

    parts = []
    if verdict.baseline is not None and not isinstance(verdict.baseline.middle, str):
        level = y(min(max(float(verdict.baseline.middle), low), high))
        parts.append(f'<line x1="{pad}" x2="{wide - pad}" y1="{level:.1f}" y2="{level:.1f}" stroke-dasharray="2 5"/>')
    for step in verdict.steps:
        at = x(step.first - 0.5)
        parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="2" y2="{tall - 2}" stroke-dasharray="6 4"/>')
    path = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in enumerate(numbers))
    parts.append(f'<polyline points="{path}" stroke-width="1.2"/>')
    dots = "".join(f'<circle cx="{x(p):.1f}" cy="{y(v):.1f}" r="2.2"/>' for p, v in enumerate(numbers))
    least, most = (history.measured_as.written(value, history.unit) for value in (low, high))
    title = f"{len(numbers)} runs: {least} to {most}"
    return (
        f'<svg class="plot" role="img" viewBox="0 0 {wide} {tall}" width="{wide}" fill="none" '
        f'stroke="currentColor"><title>{escape(title)}</title>{"".join(parts)}'
        f'<g fill="currentColor" stroke="none">{dots}</g></svg>'
        f"<p class='soft'>{escape(title)}</p>"
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
