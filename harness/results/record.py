"""The record of a run: plain values, apart from the running."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.verdict.compare import Measurement
from harness.verdict.outcome import Outcome, exit_code, worst


@dataclass(frozen=True)
class FirmwareRecord:
    """``sha256`` of the image file, empty when the board was tested with what it held."""

    name: str
    version: str
    sha256: str


@dataclass(frozen=True)
class ScenarioResult:
    """``started`` is a Unix time; ``reason`` says why it was not a pass."""

    suite: str
    name: str
    outcome: Outcome
    reason: str = ""
    measurements: tuple[Measurement, ...] = ()
    seconds: float = 0.0
    started: float = 0.0


@dataclass(frozen=True)
class BoardRecord:
    """One board in one run. ``problem`` is set when it could not be made ready."""

    id: str
    chip: str
    firmware: FirmwareRecord
    scenarios: tuple[ScenarioResult, ...] = ()
    problem: str = ""
    facts: dict[str, object] = field(default_factory=dict)

    @property
    def outcome(self) -> Outcome:
        """The worst of its scenarios; a board without any, or with a problem, is an error at least."""
        if self.problem or not self.scenarios:
            return worst([Outcome.ERROR, *(s.outcome for s in self.scenarios)])
        return worst(s.outcome for s in self.scenarios)


@dataclass(frozen=True)
class RunRecord:
    """``started`` and ``finished`` are Unix times; ``finished`` is 0 for a run that was killed (or still goes on):
    what had ended by then is here."""

    id: int
    started: float
    finished: float
    command: str
    boards: tuple[BoardRecord, ...]

    @property
    def outcome(self) -> Outcome:
        """A board of which nothing was judged counts as an error: a check that did not happen has not passed."""
        each = [b.outcome if b.outcome is not Outcome.SKIPPED else Outcome.ERROR for b in self.boards]
        if self.interrupted or not each:
            each.append(Outcome.ERROR)
        return worst(each)

    @property
    def interrupted(self) -> bool:
        return not self.finished

    @property
    def exit_code(self) -> int:
        return exit_code(self.outcome)
