"""The last good run of a board, for its times: what :mod:`harness.judging.earlier` holds new ones against."""

from __future__ import annotations

import re

from sqlalchemy import and_, select

from harness.judging.earlier import EDITION, Earlier
from harness.judging.outcome import Outcome
from harness.results.store import Store
from harness.results.store_schema import BOARD, MEASUREMENT, RUN, SCENARIO, SERIES

_SUITE, _SCENARIO = "calibration", "micro_benchmarks"
_PREFIX = "bench."
#: So many runs are looked through.
_RUNS = 50


def last_good(store: Store, run: int, board: str, *, machine: str, firmware: tuple[str, str]) -> Earlier | None:
    """The newest run but ``run`` in which ``board``'s times were good: with another firmware if there is one.

    ``firmware`` is what it has now, as SHA-256 of its image (empty when not known) and as the VM's version. Only runs
    count in which the VM named the same ``machine``, and whose times were taken with the same programs.
    """
    query = (
        select(SCENARIO.c.id, RUN.c.started, BOARD.c.firmware_version, BOARD.c.firmware_sha256, BOARD.c.facts)
        .join(RUN, RUN.c.id == SCENARIO.c.run)
        .join(BOARD, and_(BOARD.c.run == SCENARIO.c.run, BOARD.c.id == SCENARIO.c.board))
        .where(SCENARIO.c.board == board, SCENARIO.c.suite == _SUITE, SCENARIO.c.name == _SCENARIO, RUN.c.id != run)
        .where(SCENARIO.c.outcome.in_((Outcome.PASS.value, Outcome.MARGINAL.value)))
        .order_by(RUN.c.started.desc(), SCENARIO.c.id.desc())
        .limit(_RUNS)
    )
    with store.database.reading() as connection:
        same: Earlier | None = None
        for row in connection.execute(query).all():
            if row.facts.get("machine") != machine:
                continue
            figures = {
                m.name: m.measured
                for m in connection.execute(
                    select(SERIES.c.name, MEASUREMENT.c.measured)
                    .join(SERIES, SERIES.c.id == MEASUREMENT.c.series)
                    .where(MEASUREMENT.c.scenario == row.id)
                )
            }
            if figures.get("edition") != EDITION:
                continue
            times = {
                name.removeprefix(_PREFIX): float(took)
                for name, took in figures.items()
                if name.startswith(_PREFIX) and isinstance(took, int | float)
            }
            version = str(row.facts.get("version", ""))
            short = re.search(r"\bv?\d+\.\d+\.\d+\S*", (row.firmware_version or version).rpartition(";")[2])
            found = Earlier(
                row.started, short[0] if short else "an unknown version", str(figures.get("clock", "")), times
            )
            if (row.firmware_sha256, version) != firmware:
                return found
            same = same or found
    return same
