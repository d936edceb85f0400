"""Scenarios that pass and fail with one and the same firmware on one and the same board."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sqlalchemy import and_, select

from harness.results.store import Store
from harness.results.store_schema import BOARD, RUN, SCENARIO
from harness.results.suite_editions import edition_of

_GOOD = ("pass", "marginal")


@dataclass(frozen=True)
class Flakiness:
    """``tried`` results with firmware images that were tried more than once, ``odd`` of them unlike most of the same
    image. ``low`` and ``high`` bound their share (Wilson's interval, 95 %)."""

    board: str
    suite: str
    scenario: str
    tried: int
    odd: int

    @property
    def share(self) -> float:
        return self.odd / self.tried

    @property
    def low(self) -> float:
        return self._wilson(-1)

    @property
    def high(self) -> float:
        return self._wilson(1)

    def _wilson(self, sign: int) -> float:
        n, p, z = self.tried, self.share, 1.96
        middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
        return min(1.0, max(0.0, (middle + sign * half) / (1 + z * z / n)))


def flakiness(store: Store, board: str = "", *, last: int = 0, since: float = 0.0) -> list[Flakiness]:
    """The scenarios (of ``board``, or of all) that were seen to be flaky, the worst first.

    Only results of one image (by hash) and one edition of the suite are held against each other: what changed with the
    firmware is a regression and not flaky, and what changed with the suite is neither. ``last``: only so many newest
    results of a scenario; ``since``: only of runs that began after it (Unix seconds). Results of images without a hash
    are left out.
    """
    query = (
        select(
            SCENARIO.c.board,
            SCENARIO.c.suite,
            SCENARIO.c.name,
            BOARD.c.firmware_sha256,
            SCENARIO.c.outcome,
            SCENARIO.c.run,
        )
        .join(BOARD, and_(BOARD.c.run == SCENARIO.c.run, BOARD.c.id == SCENARIO.c.board))
        .join(RUN, RUN.c.id == SCENARIO.c.run)
        .where(BOARD.c.firmware_sha256 != "", SCENARIO.c.outcome != "skipped")
        .order_by(RUN.c.started, SCENARIO.c.position)
    )
    if board:
        query = query.where(SCENARIO.c.board == board)
    if since:
        query = query.where(RUN.c.started >= since)
    results: dict[tuple[str, str, str], list[tuple[str, bool]]] = {}
    with store.database.reading() as connection:
        environments = select(RUN.c.id, RUN.c.environment).where(RUN.c.started >= since)
        if board:
            environments = environments.where(RUN.c.id.in_(select(BOARD.c.run).where(BOARD.c.id == board)))
        made_with = {row.id: row.environment for row in connection.execute(environments)}
        for row in connection.execute(query):
            key = (row.board, row.suite, row.name)
            tested = f"{row.firmware_sha256} {edition_of(made_with.get(row.run, {}), row.suite)}"
            results.setdefault(key, []).append((tested, row.outcome in _GOOD))
    judged = [_judge(*key, outcomes[-last:]) for key, outcomes in results.items()]
    return sorted((f for f in judged if f.odd), key=lambda f: (-f.share, f.board, f.suite, f.scenario))


def _judge(board: str, suite: str, scenario: str, outcomes: list[tuple[str, bool]]) -> Flakiness:
    images: dict[str, list[bool]] = {}
    for tested, good in outcomes:
        images.setdefault(tested, []).append(good)
    repeated = [goods for goods in images.values() if len(goods) > 1]
    tried = sum(map(len, repeated))
    return Flakiness(board, suite, scenario, tried, sum(min(sum(g), len(g) - sum(g)) for g in repeated))
