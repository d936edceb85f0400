"""The run that a run is held against, and which scenarios ended otherwise in it."""

from __future__ import annotations

from harness.judging.outcome import Outcome
from harness.results.run_record import RunRecord, ScenarioResult
from harness.results.store import Store

_LOOKED_AT = 50


def run_before(run: RunRecord, store: Store) -> RunRecord | None:
    """The last finished run before ``run`` that had one of its boards with results; None when there is none."""
    boards = {board.id for board in run.boards}
    for number in store.runs(_LOOKED_AT):
        if number == run.id:
            continue
        other = store.load_run(number, figures=False)
        earlier = other.started < run.started and not other.interrupted
        if earlier and any(board.id in boards and board.scenarios for board in other.boards):
            return other
    return None


def changes(run: RunRecord, before: RunRecord) -> list[tuple[str, ScenarioResult, Outcome]]:
    """Board, scenario as it is, and its outcome in ``before``, of each that had another one there."""
    old = {(b.id, s.suite, s.name): s.outcome for b in before.boards for s in b.scenarios}
    return [
        (board.id, s, old[board.id, s.suite, s.name])
        for board in run.boards
        for s in board.scenarios
        if old.get((board.id, s.suite, s.name), s.outcome) is not s.outcome
    ]
