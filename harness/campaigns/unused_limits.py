"""Limits of boards.yaml that were held against nothing: a misspelt pattern leaves a figure to its built-in rule."""

from __future__ import annotations

import fnmatch
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches

from harness.inventory.model import Board
from harness.results.run_record import RunRecord
from harness.results.series import figure_names
from harness.results.store import Store

#: From this likeness on (difflib's ratio) a name is taken for another one misspelt: one letter or two of ten.
_MISSPELT = 0.85


def unused_limits(boards: Iterable[Board], record: RunRecord, store: Store, *, everything: bool) -> list[str]:
    """A sentence for each limit that applied to no figure of the run.

    Without ``everything`` (only some suites or scenarios were asked) a limit may be meant for a figure of the others:
    it is told only when it is nearly the name of a figure that the board has.
    """
    found: list[str] = []
    for board in boards:
        names = {
            m.name
            for one in record.boards
            if one.id == board.id
            for scenario in one.scenarios
            for m in scenario.measurements
        }
        if not board.limits or not names:
            continue
        elsewhere = set() if everything else set(figure_names(store, board.id))
        found += [f"{board.id}: {words}" for words in _unused(list(board.limits), names, names | elsewhere, everything)]
    return found


def _unused(patterns: list[str], names: Collection[str], known: Collection[str], everything: bool) -> Iterator[str]:
    """``names`` are the figures of the run, ``known`` all that a pattern may be meant for."""
    for position, pattern in enumerate(patterns):
        fitting = fnmatch.filter(known, pattern)
        if not fitting:
            near = get_close_matches(pattern, sorted(known), n=1, cutoff=0.4 if everything else _MISSPELT)
            if not (near or everything):
                continue
            meant = f"; did you mean {near[0]!r}?" if near else ""
            yield f"the limit {pattern!r} of boards.yaml fits no figure{meant}"
            continue
        earlier = (one for one in patterns[:position] if set(fitting) <= set(fnmatch.filter(known, one)))
        if everything and (before := next(earlier, "")):
            yield f"the limit {pattern!r} of boards.yaml never applies: {before!r} stands before it and fits the same"
