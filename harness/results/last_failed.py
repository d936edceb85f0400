"""What did not pass when a board last ran."""

from __future__ import annotations

from collections.abc import Sequence

from harness.judging.outcome import Outcome
from harness.results.store import Store

#: A board that took part in none of so many runs counts as one that never ran.
_LOOKED_AT = 200
_BAD = (Outcome.FAIL, Outcome.ERROR, Outcome.BROKEN)


def last_failed(store: Store, boards: Sequence[str]) -> frozenset[tuple[str, str, str]]:
    """Board, suite and name of each scenario that failed or had an error in the newest run of its board."""
    left, failed = set(boards), set()
    for number in store.runs(_LOOKED_AT):
        if not left:
            break
        for board in store.load_run(number, figures=False).boards:
            if board.id in left and board.scenarios:
                left.discard(board.id)
                failed |= {(board.id, s.suite, s.name) for s in board.scenarios if s.outcome in _BAD}
    return frozenset(failed)
