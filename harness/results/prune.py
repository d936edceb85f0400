"""Runs that a store is to keep no longer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import and_, delete, exists, func, or_, select

from harness.results.store import Store
from harness.results.store_schema import BOARD, EVENT, LIMIT, MEASUREMENT, RUN, SCENARIO, SERIES, is_sqlite

#: So many runs are taken out in one transaction: other writers get their turn between.
_AT_ONCE = 20
#: What a run takes at most, in seconds.
_LONGEST = 86_400.0


@dataclass(frozen=True)
class Old:
    """What can go: runs, oldest first, and how much is in them."""

    runs: tuple[int, ...]
    scenarios: int
    measurements: int


def old_runs(store: Store, before: float, keep: int) -> Old:
    """Runs begun before ``before`` (Unix seconds), but for the ``keep`` newest of each board with results.

    A run that has not ended may still go on, for a day.
    """
    newest_first = func.row_number().over(partition_by=BOARD.c.id, order_by=(RUN.c.started.desc(), RUN.c.id.desc()))
    has_results = exists().where(and_(SCENARIO.c.run == BOARD.c.run, SCENARIO.c.board == BOARD.c.id))
    ranked = (
        select(BOARD.c.run, newest_first.label("rank"))
        .join(RUN, RUN.c.id == BOARD.c.run)
        .where(has_results)
        .subquery()
    )  # fmt: skip
    kept = select(ranked.c.run).where(ranked.c.rank <= keep)
    over = or_(RUN.c.finished > 0, RUN.c.started < before - _LONGEST)
    old = select(RUN.c.id).where(RUN.c.started < before, over, RUN.c.id.not_in(kept)).order_by(RUN.c.started, RUN.c.id)
    with store.database.reading() as connection:
        runs = tuple(connection.execute(old).scalars())
        within = SCENARIO.c.run.in_(old.order_by(None))
        scenarios = connection.execute(select(func.count()).select_from(SCENARIO).where(within)).scalar_one()
        figures = select(func.count()).select_from(MEASUREMENT).join(SCENARIO, SCENARIO.c.id == MEASUREMENT.c.scenario)
        measurements = connection.execute(figures.where(within)).scalar_one()
    return Old(runs, scenarios, measurements)


def remove_runs(store: Store, runs: Sequence[int], done: Callable[[int], None]) -> None:
    """Take them out, some at a time; ``done`` hears how many each time. What has been taken out stays out."""
    for begin in range(0, len(runs), _AT_ONCE):
        chosen = runs[begin : begin + _AT_ONCE]
        with store.database.writing() as connection:
            keys = select(SCENARIO.c.id).where(SCENARIO.c.run.in_(chosen))
            connection.execute(delete(MEASUREMENT).where(MEASUREMENT.c.scenario.in_(keys)))
            for table in (SCENARIO, EVENT, BOARD):
                connection.execute(delete(table).where(table.c.run.in_(chosen)))
            connection.execute(delete(RUN).where(RUN.c.id.in_(chosen)))
        done(len(chosen))


def remove_unused(store: Store) -> None:
    """Figures and limits that no measurement names any more."""
    with store.database.writing() as connection:
        if not is_sqlite(connection):  # whoever names one just now has not added its measurement yet
            connection.exec_driver_sql("LOCK TABLE series, limit_applied IN SHARE ROW EXCLUSIVE MODE")
        for table, named in ((SERIES, MEASUREMENT.c.series), (LIMIT, MEASUREMENT.c.limit_applied)):
            connection.execute(delete(table).where(~exists().where(named == table.c.id)))
