"""The run that a run is held against, and which scenarios ended otherwise in it."""

from __future__ import annotations

from sqlalchemy import exists, select

from harness.judging.outcome import Outcome
from harness.results.run_record import RunRecord, ScenarioResult
from harness.results.store import Store
from harness.results.store_schema import RUN, SCENARIO


def run_before(run: RunRecord, store: Store) -> RunRecord | None:
    """The last finished run before ``run`` that had one of its boards with results; None when there is none."""
    boards = [board.id for board in run.boards]
    tested = exists().where(SCENARIO.c.run == RUN.c.id, SCENARIO.c.board.in_(boards))
    before = (
        select(RUN.c.id)
        .where(RUN.c.started < run.started, RUN.c.finished > 0, RUN.c.id != run.id, tested)
        .order_by(RUN.c.started.desc(), RUN.c.id.desc())
        .limit(1)
    )
    with store.database.reading() as connection:
        number = connection.execute(before).scalar()
    return None if number is None else store.load_run(number, figures=False)


def changes(run: RunRecord, before: RunRecord) -> list[tuple[str, ScenarioResult, Outcome]]:
    """Board, scenario as it is, and its outcome in ``before``, of each that had another one there."""
    old = {(b.id, s.suite, s.name): s.outcome for b in before.boards for s in b.scenarios}
    return [
        (board.id, s, old[board.id, s.suite, s.name])
        for board in run.boards
        for s in board.scenarios
        if old.get((board.id, s.suite, s.name), s.outcome) is not s.outcome
    ]
