"""A night that several hosts share: who has which board stands in the store that they have in common.

Each host makes a run of its own. A board is taken by one of them, and what is left of it can be taken by another one
when it is given back, or when nothing is heard of its holder. Read together (:meth:`Night.record`) their runs are one.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, func, or_, select, update

from harness.bench.firmware_record import FirmwareRecord
from harness.inventory.model import Board
from harness.results.database import insert_new
from harness.results.run_record import BoardRecord, RunRecord, ScenarioResult
from harness.results.store import Store, read_runs
from harness.results.store_schema import NIGHT_BOARD, NIGHT_RUN, RUN, SCENARIO, is_sqlite

#: A holder of whom nothing was heard for this long, in seconds, has died, or has lost its way to the store.
DEAD_AFTER = 60.0

OPEN, TAKEN, DONE = "open", "taken", "done"


@dataclass(frozen=True)
class Claim:
    """Who has a board, or had it last. ``silent``: for how many seconds nothing was heard of it."""

    board: str
    state: str
    holder: str
    uid: str
    silent: float
    problem: str

    @property
    def dead(self) -> bool:
        return self.state == TAKEN and self.silent > DEAD_AFTER


class Night:
    """The night ``name`` in ``store``, as the host ``holder`` has it, whose run is ``uid``.

    Whatever asks the store raises ServerAway while its server is not there.
    """

    def __init__(self, store: Store, name: str, holder: str, uid: str) -> None:
        self._store = store
        self.name = name
        self._holder = holder
        self._uid = uid

    def join(self, boards: Sequence[str]) -> None:
        """Our run is a part of the night, and these are boards of it. Again changes nothing."""
        rows = [
            {"night": self.name, "board": board, "state": OPEN, "holder": "", "uid": "", "beat": 0.0, "problem": ""}
            for board in boards
        ]
        with self._store.database.writing() as connection:
            connection.execute(insert_new(connection, NIGHT_RUN).values(night=self.name, uid=self._uid))
            if rows:
                connection.execute(insert_new(connection, NIGHT_BOARD), rows)

    def close(self) -> None:
        self._store.close()

    # -- boards ----------------------------------------------------------------------------------

    def take(self, board: str, *, from_the_dead: bool = True, done: bool = False) -> bool:
        """Whether ``board`` is ours now: it was open, or (``from_the_dead``) its holder has died, or it was ``done``,
        by somebody who had less to do on it."""
        with self._store.database.writing() as connection:
            now = _now(connection)
            free = NIGHT_BOARD.c.state == OPEN
            if from_the_dead:
                free = or_(free, (NIGHT_BOARD.c.state == TAKEN) & (NIGHT_BOARD.c.beat < now - DEAD_AFTER))
            if done:
                free = or_(free, NIGHT_BOARD.c.state == DONE)
            taken = connection.execute(
                update(NIGHT_BOARD)
                .where(NIGHT_BOARD.c.night == self.name, NIGHT_BOARD.c.board == board, free)
                .values(state=TAKEN, holder=self._holder, uid=self._uid, beat=now, problem="")
            )
            return taken.rowcount == 1

    def beat(self) -> set[str]:
        """Say that we live. The boards that are ours."""
        mine = (NIGHT_BOARD.c.night == self.name, NIGHT_BOARD.c.uid == self._uid, NIGHT_BOARD.c.state == TAKEN)
        with self._store.database.writing() as connection:
            connection.execute(update(NIGHT_BOARD).where(*mine).values(beat=_now(connection)))
            return set(connection.execute(select(NIGHT_BOARD.c.board).where(*mine)).scalars())

    def give_back(self, board: str, why: str) -> None:
        """Somebody else may take ``board``, or we later."""
        self._end(board, OPEN, why)

    def done(self, board: str, problem: str = "") -> None:
        """Nothing more is to be done on ``board``; ``problem`` says why that is an error."""
        self._end(board, DONE, problem)

    def _end(self, board: str, state: str, problem: str) -> None:
        mine = (NIGHT_BOARD.c.board == board, NIGHT_BOARD.c.uid == self._uid, NIGHT_BOARD.c.state == TAKEN)
        with self._store.database.writing() as connection:
            connection.execute(
                update(NIGHT_BOARD).where(NIGHT_BOARD.c.night == self.name, *mine).values(state=state, problem=problem)
            )

    def claims(self) -> dict[str, Claim]:
        """Who has which board, by board."""
        query = select(NIGHT_BOARD).where(NIGHT_BOARD.c.night == self.name).order_by(NIGHT_BOARD.c.board)
        with self._store.database.reading() as connection:
            now = _now(connection)
            rows = connection.execute(query).all()
        return {
            row.board: Claim(row.board, row.state, row.holder, row.uid, max(0.0, now - row.beat), row.problem)
            for row in rows
        }

    # -- results ---------------------------------------------------------------------------------

    def finished(self, board: str) -> Counter[tuple[str, str]]:
        """The scenarios (suite and name) of ``board`` that have a result, by whichever host."""
        query = (
            select(SCENARIO.c.suite, SCENARIO.c.name)
            .join(RUN, RUN.c.id == SCENARIO.c.run)
            .join(NIGHT_RUN, NIGHT_RUN.c.uid == RUN.c.uid)
            .where(NIGHT_RUN.c.night == self.name, SCENARIO.c.board == board)
        )
        with self._store.database.reading() as connection:
            return Counter((row.suite, row.name) for row in connection.execute(query))

    def record(self, boards: Sequence[Board], command: str) -> RunRecord:
        """The runs of all hosts as one, with those of ``boards`` that are of the night. It has no number in any store.

        A board that nobody finished has a problem that says so.
        """
        ours = select(NIGHT_RUN.c.uid).where(NIGHT_RUN.c.night == self.name)
        query = select(RUN).where(RUN.c.uid.in_(ours)).order_by(RUN.c.started, RUN.c.uid)
        with self._store.database.reading() as connection:
            runs = read_runs(connection, connection.execute(query).all())
        claims = self.claims()
        return RunRecord(
            0,
            min((run.started for run in runs), default=0.0),
            max((run.finished for run in runs), default=0.0),
            command,
            tuple(_joined(board, runs, claims[board.id]) for board in boards if board.id in claims),
            environment=runs[-1].environment if runs else {},
        )


def _joined(board: Board, runs: Sequence[RunRecord], claim: Claim) -> BoardRecord:
    """What all ``runs`` have of ``board``: a scenario that two of them have counts as it came out last."""
    parts = [(run.uid, one) for run in runs for one in run.boards if one.id == board.id]
    last = BoardRecord(board.id, board.chip, FirmwareRecord("", "", ""))
    for uid, one in parts:
        if uid == claim.uid or not last.scenarios:
            last = one
    results: dict[tuple[str, str, int], ScenarioResult] = {}
    for _, one in parts:
        seen: Counter[tuple[str, str]] = Counter()
        for scenario in one.scenarios:
            key = (scenario.suite, scenario.name)
            place = (*key, seen[key])
            seen[key] += 1
            if place not in results or results[place].started <= scenario.started:
                results[place] = scenario
    problem = claim.problem
    if claim.state != DONE:
        who = f", {claim.holder} had it last" if claim.holder else ""
        problem = f"{problem or 'it has not come to its end'}{who}"
    events = sorted((event for _, one in parts for event in one.events), key=lambda event: event.at)
    ordered = tuple(sorted(results.values(), key=lambda scenario: scenario.started))
    return replace(last, scenarios=ordered, problem=problem, events=tuple(events))


def _now(connection: Connection) -> float:
    """Seconds by the database's own clock: those of the hosts may differ."""
    if is_sqlite(connection):
        return time.time()
    return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())
