"""The rules by which a board's figure is held against the reference's. docs/comparison.md explains them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import BenchFault
from harness.judging.calibration import Calibration
from harness.judging.limits import (
    BoardLimit,
    Bounds,
    Limit,
    Value,
    at_most_ratio,
    exactly,
    of_board,
    within_blocks,
    within_percent,
)
from harness.judging.outcome import Outcome
from harness.runtimes.base import Facts
from harness.runtimes.records import Decoded, Kind, Observation
from harness.runtimes.traits import traits_of_vm

#: What a collection may leave behind because stale stack words point at it, in 16-byte blocks.
STALE_BLOCKS = 7
#: Interned names that one firmware has in ROM and another has not, in blocks.
INTERNING_BLOCKS = 2
#: For a time in which something plays a part that the prediction leaves out.
LOOSE_RATIO = 5.0


@dataclass(frozen=True)
class Measurement:
    """One judged figure. ``reference`` is the reference's, for a time the prediction; ``rule`` says why the limit.

    ``limit`` is the limit in words, ``bounds`` in numbers (None in records of versions that did not keep them).
    """

    name: str
    kind: Kind
    unit: str
    measured: Value
    reference: Value | None
    limit: str
    verdict: Outcome
    rule: str = ""
    samples: tuple[float, ...] = ()
    bounds: Bounds | None = None


@dataclass(frozen=True)
class HeapRule:
    """``exact``: to the byte. Otherwise ``blocks`` of 16 bytes, or ``percent`` for another word size."""

    words: str
    exact: bool = False
    blocks: int = 0
    percent: float = 0.0


def heap_rule(board: Facts, reference: Facts) -> HeapRule:
    """Which heap rule holds between two VMs.

    Allocation sizes follow from word size, object representation and version (MicroPython ``py/gc.c``: blocks of
    four words). What else differs between builds is which names stand in ROM already (``py/qstr.c``).
    """
    if board.word_size != reference.word_size:
        return HeapRule(f"words of {board.word_size} and {reference.word_size} bytes: for orientation only", percent=60)
    traits = traits_of_vm(board.name)
    if traits is not None and traits.heap_tolerance is not None and board.machine != reference.machine:
        return HeapRule(traits.heap_tolerance.why, percent=traits.heap_tolerance.percent)
    reasons = []
    if board.object_repr != reference.object_repr:
        reasons.append(
            f"object representation {board.object_repr} against {reference.object_repr} (floats cost differently)"
        )
    if _minor_version(board) != _minor_version(reference):
        reasons.append(f"MicroPython {_minor_version(board)} against {_minor_version(reference)}")
    if reasons:
        return HeapRule(" and ".join(reasons), blocks=4 + INTERNING_BLOCKS)
    if board.machine != reference.machine:
        return HeapRule("another firmware may have other names in ROM", blocks=INTERNING_BLOCKS)
    return HeapRule("same word size, representation, version and build: equal to the byte", exact=True)


def _difference(board: Sequence[tuple[str, ...]], reference: Sequence[tuple[str, ...]]) -> str:
    only = [
        f"{name} ({kind}, {unit}) only by the {who}"
        for who, mine, others in (("board", board, reference), ("reference", reference, board))
        for name, kind, unit in mine
        if (name, kind, unit) not in others
    ]
    return "; ".join(only[:5]) or "their order differs"


def _minor_version(facts: Facts) -> str:
    found = re.search(r"v(\d+\.\d+)", facts.version)
    return found.group(1) if found else facts.version[:20]


@dataclass(frozen=True)
class Judge:
    """Judges one board against the reference. ``limits`` are the board's own, from boards.yaml."""

    board: Facts
    reference: Facts
    limits: Mapping[str, BoardLimit]

    def check(
        self,
        name: str,
        kind: Kind,
        unit: str,
        measured: Value,
        reference: Value | None,
        limit: Limit,
        *,
        rule: str = "",
        samples: tuple[float, ...] = (),
    ) -> Measurement:
        """Hold ``measured`` against ``limit``, or against the board's own limit for that name."""
        limit = of_board(name, limit, reference, unit, self.limits)
        verdict = limit.judge(measured)
        return Measurement(
            name, kind, unit, measured, reference, str(limit), verdict, rule, samples, bounds=limit.bounds
        )

    def pair(
        self,
        board: Decoded,
        reference: Decoded,
        calibration: Calibration | None,
        *,
        prefix: str = "",
        loose_times: Mapping[str, str] | None = None,
    ) -> list[Measurement]:
        """All observations of one program, in order.

        Raises BenchFault when the two sides did not report the same figures (names, kinds and units alike).

        ``loose_times`` names times in which something plays a part that the prediction leaves out, and what.
        """
        mine = [(o.name, o.kind, o.unit) for o in board.observations]
        theirs = [(o.name, o.kind, o.unit) for o in reference.observations]
        if mine != theirs:
            raise BenchFault(
                f"the board and the reference did not report the same figures: {_difference(mine, theirs)}",
                hint="does the program depend on the board? Then it cannot be compared",
            )
        result = []
        for one, other in zip(board.observations, reference.observations, strict=True):
            loose = (loose_times or {}).get(one.name, "")
            if one.kind == "time":
                if calibration is None:
                    raise BenchFault(f"no calibration to predict {one.name!r} with")
                result.append(self.time(prefix + one.name, one, float(other.value), calibration, loose=loose))
            elif one.kind == "heap":
                result.append(self.heap(prefix + one.name, one, other))
            else:
                limit = exactly(other.value, one.unit)
                result.append(self.check(prefix + one.name, one.kind, one.unit, one.value, other.value, limit))
        return result

    def heap(self, name: str, board: Observation, reference: Observation) -> Measurement:
        rule = heap_rule(self.board, self.reference)
        expected = float(reference.value)
        collected = name.endswith("kept")
        if rule.exact:
            limit = exactly(reference.value, "B")
        elif rule.percent:
            limit = within_percent(expected, rule.percent, "B")
        else:
            blocks = rule.blocks + (STALE_BLOCKS if collected else 0)
            limit = within_blocks(expected, blocks, why=rule.words)
        return self.check(
            name, "heap", "B", board.value, reference.value, limit, rule=rule.words, samples=board.samples
        )

    def time(
        self, name: str, board: Observation, cost: float, calibration: Calibration, *, loose: str = ""
    ) -> Measurement:
        predicted = calibration.predict(cost)
        if loose:
            limit = at_most_ratio(predicted, LOOSE_RATIO, board.unit, why=loose)
        else:
            percent = calibration.tolerance_percent
            limit = within_percent(round(predicted, 1), round(percent, 1), board.unit, marginal_percent=2 * percent)
        return self.check(
            name,
            "time",
            board.unit,
            board.value,
            round(predicted, 1),
            limit,
            rule="predicted from the reference's metered cost by this board's calibration",
            samples=board.samples,
        )
