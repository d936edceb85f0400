"""The record of a run: plain values, apart from the running."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from harness.bench.firmware_record import FirmwareRecord
from harness.judging.compare import Measurement
from harness.judging.outcome import Outcome, exit_code, worst


def board_outcome(problem: str, scenarios: Collection[Outcome]) -> Outcome:
    """The worst of its scenarios; a board without any, or with a problem, is an error at least."""
    return worst([Outcome.ERROR, *scenarios] if problem or not scenarios else scenarios)


def run_outcome(boards: Iterable[Outcome], *, interrupted: bool) -> Outcome:
    """A board of which nothing was judged counts as an error: a check that did not happen has not passed."""
    each = [outcome if outcome is not Outcome.SKIPPED else Outcome.ERROR for outcome in boards]
    if interrupted or not each:
        each.append(Outcome.ERROR)
    return worst(each)


@dataclass(frozen=True)
class Event:
    """Something that happened to a board in a run and is no scenario: a reset, a retry, a recovery.

    ``at`` is a Unix time; ``kind`` one word (``reset``, ``retry``, ``recovery``, …); ``scenario`` its ``suite:
    name`` when it happened in one.
    """

    kind: str
    text: str
    at: float
    scenario: str = ""


@dataclass(frozen=True)
class ScenarioResult:
    """``started`` is a Unix time; ``reason`` says why it was not a pass.

    ``transcript`` says where its transcript is: a path relative to the bench's state folder.
    """

    suite: str
    name: str
    outcome: Outcome
    reason: str = ""
    measurements: tuple[Measurement, ...] = ()
    seconds: float = 0.0
    started: float = 0.0
    transcript: str = ""


@dataclass(frozen=True)
class BoardRecord:
    """One board in one run. ``problem`` is set when it could not be made ready."""

    id: str
    chip: str
    firmware: FirmwareRecord
    scenarios: tuple[ScenarioResult, ...] = ()
    problem: str = ""
    facts: dict[str, object] = field(default_factory=dict)
    events: tuple[Event, ...] = ()

    @property
    def outcome(self) -> Outcome:
        return board_outcome(self.problem, [s.outcome for s in self.scenarios])


@dataclass(frozen=True)
class RunRecord:
    """``started`` and ``finished`` are Unix times; ``finished`` is 0 for a run that was killed (or still goes on):
    what had ended by then is here.

    ``id`` counts within one store; ``uid`` names the run in every store that it has been merged into.
    """

    id: int
    started: float
    finished: float
    command: str
    boards: tuple[BoardRecord, ...]
    uid: str = ""
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        return run_outcome((board.outcome for board in self.boards), interrupted=self.interrupted)

    @property
    def interrupted(self) -> bool:
        return not self.finished

    @property
    def exit_code(self) -> int:
        return exit_code(self.outcome)
