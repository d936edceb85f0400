"""Every interleaving of a program with one soft interrupt, grouped by what came of it.

A scheduled callback does not run where the interrupt strikes but at the VM's next check, so many points lead to
one and the same run. A run that was struck at one point goes on through the very points of the undisturbed run,
at the same costs, until that check: it stands for a strike at any of them. (The program could tell them apart only
by using the scheduler's queue itself, so the queue's words must be the same at all of them as well.)
``Exploration.runs`` says how many runs that took; ``every_point=True`` does each point by a run of its own.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field

from harness.errors import UsageError
from harness.reference.explore.rewind import Action, Ending, Job, Rewinder, Run

_FRAME = re.compile(rb'File "([^"]+)", line (\d+), in (\S+)')


@dataclass(frozen=True)
class Limits:
    """``cost`` is what one run may cost, in instructions; ``points`` how many are explored at most, and ``seconds`` for
    how long."""

    cost: int = 10_000_000
    points: int = 50_000
    seconds: float = 60.0


@dataclass(frozen=True)
class Place:
    """A line of a file, counted from 1, and the function it is in; 0 when it is not known.

    ``file`` is empty for the program itself.
    """

    line: int = 0
    function: str = ""
    file: str = ""


@dataclass
class Outcome:
    """What ``count`` points lead to; ``point`` is the first of them, and ``place`` where the callback ran then."""

    ending: Ending
    output: bytes
    error: bytes
    callback_failed: bool
    ran: bool
    lost: bool
    point: int
    count: int = 0
    place: Place = Place()

    @property
    def failed(self) -> bool:
        return self.ending is not Ending.RETURNED or self.callback_failed or self.lost or not self.ran

    @property
    def label(self) -> str:
        """In a few words."""
        text = self.error.decode("utf-8", "replace").strip()
        if self.ending is Ending.RAISED:
            return str(text.splitlines()[-1]) if text else self.ending.value
        if self.ending is not Ending.RETURNED:
            return f"{self.ending.value}: {text}" if self.ending is Ending.CRASHED else self.ending.value
        if self.lost:
            return "the interrupt was lost: the queue was full"
        if self.callback_failed:
            return "the callback raised"
        return "ended well" if self.ran else "the callback never ran"


@dataclass
class Exploration:
    """``points`` is how many were explored, ``baseline`` the run without an interrupt.

    ``endless`` says that ``main()`` does not end without the interrupt; then, and when ``left_out``, only the first
    ``points`` were explored. ``late`` counts those whose callback ran after ``main()`` had ended. ``explored`` is less
    than ``points`` when ``ended_by`` says what ended it.
    """

    points: int
    baseline: Run
    outcomes: list[Outcome] = field(default_factory=list)
    runs: int = 0
    late: int = 0
    left_out: bool = False
    explored: int = 0
    ended_by: str = ""

    @property
    def endless(self) -> bool:
        return self.baseline.ending is Ending.ENDLESS

    @property
    def failures(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.failed]

    @property
    def safe(self) -> bool:
        return not self.failures


def explore(
    rewinder: Rewinder,
    limits: Limits,
    *,
    every_point: bool = False,
    only: int | None = None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Exploration:
    """Run the program with its interrupt at every point (``only``: at that one).

    ``progress`` hears how many points are done, of how many. Raises UsageError for a program that cannot be
    explored, and for a point that it has not.
    """
    return rewinder.drive(_jobs(limits, every_point, only, progress))


def _jobs(
    limits: Limits, every_point: bool, only: int | None, progress: Callable[[int, int], None]
) -> Generator[Job, Run, Exploration]:
    baseline = yield Job(Action.RECORD, limits.cost, points=limits.points)
    points, queues = baseline.points, baseline.queues
    result = Exploration(len(points), baseline, left_out=baseline.points_left_out)
    if only is not None and not 0 <= only < len(points):
        raise UsageError(f"point {only} was asked for, but the program has points 0 to {len(points) - 1}")
    outcomes: dict[object, Outcome] = {}
    last: dict[int, int] = {}  # of an outcome's first point: the last one that the same run stands for
    at, end = (0, len(points)) if only is None else (only, only + 1)
    until = time.monotonic() + limits.seconds
    while at < end:
        if time.monotonic() >= until:
            result.ended_by = f"--budget {limits.seconds:g}"
            break
        run = yield Job(Action.INTERRUPT, limits.cost, cost=points[at])
        result.runs += 1
        first, at = at, at + 1
        for cost in () if every_point else run.points[1:]:
            if at == end or points[at] != cost or queues[at] != queues[first]:
                break
            at += 1
        key = (run.ending, run.output, run.error, run.callback_failed, run.entered, run.lost)
        if key not in outcomes:
            outcomes[key] = Outcome(*_described(run), point=first)
            if run.entered and not run.late:
                last[first] = at - 1
        outcomes[key].count += at - first
        result.late += (at - first) * run.late
        progress(at, len(points))
    result.explored = at if only is None else 1
    for outcome in outcomes.values():
        # The last point before the check: there a marker surfaces where the callback ran, also past a lock.
        if outcome.point in last:
            located = yield Job(Action.LOCATE, limits.cost, cost=points[last[outcome.point]])
            outcome.place = place_of(located.error)
    result.outcomes = sorted(outcomes.values(), key=lambda outcome: outcome.point)
    if result.endless and only is None:
        refuse_endless(result.outcomes)
    return result


def refuse_endless(outcomes: Iterable[Outcome]) -> None:
    """Raise UsageError when none of the runs of a program that does not end by itself ended."""
    if all(outcome.ending is Ending.ENDLESS for outcome in outcomes):
        raise UsageError(
            "the program cannot be explored: main() waits or runs for ever, with its interrupt and without",
            hint="a run may cost --limit; let interrupt() end it, or give main() an end",
        )


def _described(run: Run) -> tuple[Ending, bytes, bytes, bool, bool, bool]:
    return run.ending, run.output, run.error, run.callback_failed, run.entered, run.lost


def place_of(traceback: bytes) -> Place:
    """Where a marker surfaced: the innermost frame."""
    frames = _FRAME.findall(traceback) if b"KeyboardInterrupt" in traceback else []
    if not frames:
        return Place()
    file, line, function = (part.decode("utf-8", "replace") for part in frames[-1])
    return Place(int(line), function, "" if file == "<stdin>" else file)
