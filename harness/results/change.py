"""Steps told from noise in the history of one figure. docs/history.md states the method and its measured rates.

An exact figure (heap, counts, states) that stood still has a step when it changes and stays changed for two runs.
Any other figure, and one that does not stand still, is followed by a two-sided cumulative sum (Page's CUSUM) of its
clipped deviations from the median of the baseline, in units of the baseline's scatter; no scatter is taken for
smaller than a quarter of the minimum effect.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.kinds import Effect, Value


@dataclass(frozen=True)
class Point:
    """A figure in one run. ``spread`` is the scatter (1 sigma) of its samples within the run, 0 when there is one."""

    value: Value
    spread: float = 0.0


@dataclass(frozen=True)
class Method:
    """``least_runs``: so many make a baseline, of at most ``window`` runs. ``slack``, ``alarm`` and ``clip`` are the
    CUSUM's, in units of the scatter. ``confirm``: so many runs must an exact figure stay changed;
    ``most_blips``: the share of runs in which it may differ and go back before it is treated as noisy.

    The defaults are chosen so that the false-alarm rates of ``benchmarks/history.py`` are what docs/history.md says.
    """

    least_runs: int = 10
    window: int = 60
    slack: float = 1.0
    alarm: float = 8.0
    clip: float = 4.0
    confirm: int = 2
    most_blips: float = 0.3


@dataclass(frozen=True)
class Baseline:
    """What a figure is expected to be: ``runs`` of them, their median, their scatter (1 sigma; 0: it never moved)."""

    middle: Value
    scatter: float
    runs: int

    @property
    def exact(self) -> bool:
        return self.scatter == 0


@dataclass(frozen=True)
class Step:
    """``first`` is the index of the first run that is changed, ``told`` of the one in which that was certain.

    ``confirmed`` is false for an exact figure that has changed in the newest run only.
    """

    first: int
    told: int
    before: Value
    after: Value
    confirmed: bool = True


@dataclass(frozen=True)
class Verdict:
    """All steps of a history, and the baseline that holds now; None while there are too few runs for one."""

    steps: tuple[Step, ...]
    baseline: Baseline | None


def baseline_of(points: Sequence[Point], effect: Effect, *, least_runs: int = Method.least_runs) -> Baseline | None:
    """The baseline of ``points``. A figure that never moved needs two runs, any other ``least_runs``."""
    values = [p.value for p in points]
    if len(values) < 2:
        return None
    if all(value == values[0] for value in values):
        return Baseline(values[0], 0.0, len(values))
    if len(values) < least_runs or any(isinstance(value, str) for value in values):
        return None
    numbers = [float(value) for value in values]
    middle = statistics.median(numbers)
    return Baseline(middle, _scatter(numbers, middle, points, effect), len(values))


def _scatter(numbers: list[float], middle: float, points: Sequence[Point], effect: Effect) -> float:
    """One sigma, by whatever estimate is largest: outliers do not blow it up, and a figure that mostly stands still
    and sometimes moves has more than none."""
    deviation = 1.4826 * statistics.median(abs(n - middle) for n in numbers)
    ordered = sorted(numbers)
    tenth = len(ordered) // 10
    width = (ordered[-1 - tenth] - ordered[tenth]) / 2.563
    within = statistics.median(p.spread for p in points)
    return max(deviation, width, within, effect.of(middle) / 4)


def find_steps(points: Sequence[Point], effect: Effect, method: Method = Method()) -> Verdict:
    """Go through a history in the order of its runs. It sees at each run what was known then: no step is told late
    because of what came afterwards, and none is taken back."""
    steps: list[Step] = []
    start = 0
    while True:
        step = _next_step(points, start, effect, method)
        if step is None:
            break
        steps.append(step)
        if not step.confirmed:
            break
        start = step.first
    held = points[start:-1] if steps and not steps[-1].confirmed else points[start:]
    return Verdict(tuple(steps), baseline_of(held[-method.window :], effect, least_runs=method.least_runs))


def _next_step(points: Sequence[Point], start: int, effect: Effect, method: Method) -> Step | None:
    if effect.exact:
        step = _exact_step(points, start, method)
        if step is not None:
            return step
    return _noisy_step(points, start, effect, method)


def _exact_step(points: Sequence[Point], start: int, method: Method) -> Step | None:
    """The first change of a value that held, to another one that holds.

    Runs that go back to the old value are blips. A figure without blips is believed after ``confirm`` equal runs;
    after blips it must stay for so long that chance would do that once in ten thousand times. None also when it
    moves too often to be called exact.
    """
    index = start + 1
    while index < len(points) and points[index].value != points[index - 1].value:
        index += 1  # the first value that held for two runs
    if index >= len(points):
        return None
    held, settled = points[index].value, index
    blips = length = first = 0
    for index in range(settled + 1, len(points)):
        value = points[index].value
        if value == held:
            blips, length = blips + length, 0
            continue
        if length and value == points[index - 1].value:
            length += 1
        else:
            blips, length, first = blips + length, 1, index
        share = blips / (first - start)
        if share > method.most_blips:
            return None
        needed = max(method.confirm, math.ceil(math.log(1e-4) / math.log(share)) if blips else 0)
        if length >= needed:
            return Step(_back(points, first, settled, held), index, held, value)
    if length and not blips:
        return Step(first, len(points) - 1, held, points[-1].value, confirmed=False)
    return None


def _back(points: Sequence[Point], first: int, settled: int, held: Value) -> int:
    """The first run of a new value, when a blip has interrupted it at its beginning."""
    new, index = points[first].value, first - 1
    while index > settled and points[index].value != held:
        first = index if points[index].value == new else first
        index -= 1
    return first


def _noisy_step(points: Sequence[Point], start: int, effect: Effect, method: Method) -> Step | None:
    numbers: list[float] = []
    for point in points[start:]:
        if isinstance(point.value, str):
            return _changed_text(points, start, method)
        numbers.append(float(point.value))
    up = down = 0.0
    up_from = down_from = method.least_runs  # where each sum was zero last
    baseline: Baseline | None = None
    deviations: list[float] = [0.0] * min(method.least_runs, len(numbers))
    for index in range(method.least_runs, len(numbers)):
        if up == down == 0.0 and (baseline is None or index < method.window or index % 5 == 0):
            first = start + max(0, index - method.window)
            baseline = baseline_of(points[first : start + index], effect, least_runs=2)
        if baseline is None:
            return None
        middle = float(baseline.middle)
        scatter = baseline.scatter or effect.of(middle) / 4 or 1e-9
        # A median of few runs is itself uncertain: a young baseline is given more room.
        scatter *= 1 + 3.0 / baseline.runs
        deviation = max(-method.clip, min(method.clip, (numbers[index] - middle) / scatter))
        deviations.append(deviation)
        up = max(0.0, up + deviation - method.slack)
        down = max(0.0, down - deviation - method.slack)
        up_from = index + 1 if up == 0.0 else up_from
        down_from = index + 1 if down == 0.0 else down_from
        if max(up, down) > method.alarm:
            sign = 1.0 if up > down else -1.0
            first = _onset(deviations, sign, up_from if up > down else down_from)
            after = statistics.median(numbers[first : index + 1])
            if abs(after - middle) >= effect.of(middle):
                return Step(start + first, start + index, baseline.middle, _plain(after))
            up = down = 0.0  # real, perhaps, and too small to be told: it becomes the baseline
            up_from = down_from = index + 1
    return None


def _onset(deviations: Sequence[float], sign: float, since: int) -> int:
    """The likeliest first changed run: where the deviations since it speak loudest for the new level (maximum
    likelihood for a change of known size)."""
    level = statistics.median(sign * d for d in deviations[since:])
    best, best_sum, total = len(deviations) - 1, float("-inf"), 0.0
    for index in range(len(deviations) - 1, max(0, since - 3) - 1, -1):
        total += sign * deviations[index] - level / 2
        if total > best_sum:
            best, best_sum = index, total
    return best


def _changed_text(points: Sequence[Point], start: int, method: Method) -> Step | None:
    """States that come and go have no scatter: the first that stays for ``confirm`` runs after another one did."""
    held: Value | None = None
    index = start
    while index < len(points):
        value, stays = points[index].value, 1
        while index + stays < len(points) and points[index + stays].value == value:
            stays += 1
        if stays >= method.confirm:
            if held is not None and value != held:
                return Step(index, index + method.confirm - 1, held, value)
            held = value
        index += stays
    return None


def _plain(value: float) -> Value:
    return int(value) if value == int(value) else value
