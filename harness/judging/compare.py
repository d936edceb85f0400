"""A board's figures judged: by the limit that a figure was declared with, or by its kind's rule."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.errors import BenchFault, UsageError
from harness.judging.calibration import Calibration
from harness.judging.figures import Figure
from harness.judging.limits import BoardLimit, Bounds, Limit, by_source, of_board
from harness.judging.outcome import Outcome
from harness.judging.rules import Compared, expected
from harness.kinds import Value, named
from harness.runtimes.interface import Facts
from harness.runtimes.records import Decoded


@dataclass(frozen=True)
class Measurement:
    """One judged figure. ``reference`` is the reference's, for a time the prediction; ``rule`` says why the limit.

    ``limit`` is the limit in words, ``bounds`` in numbers (None in records of versions that did not keep them).
    ``measured`` is None for a figure that was skipped, and only then; ``reason`` says why it was.
    """

    name: str
    kind: str
    unit: str
    measured: Value | None
    reference: Value | None
    limit: str
    verdict: Outcome
    rule: str = ""
    samples: tuple[float, ...] = ()
    bounds: Bounds | None = None
    reason: str = ""


def _difference(board: Sequence[tuple[str, ...]], reference: Sequence[tuple[str, ...]]) -> str:
    only = [
        f"{name} ({kind}, {unit}) only by the {who}"
        for who, mine, others in (("board", board, reference), ("reference", reference, board))
        for name, kind, unit in mine
        if (name, kind, unit) not in others
    ]
    return "; ".join(only[:5]) or "their order differs"


@dataclass(frozen=True)
class Judge:
    """Judges one board against the reference. ``limits`` are the board's own, from boards.yaml."""

    board: Facts
    reference: Facts
    limits: Mapping[str, BoardLimit]
    #: Both VMs are one build that the harness made (a virtual board): to the byte, whatever machine each names.
    same_build: bool = False
    #: The reference is built from the firmware's own source tree.
    own_tree: bool = False

    def take(
        self,
        figure: Figure,
        measured: Value,
        reference: Value | None = None,
        *,
        limit: Limit | None = None,
        rule: str = "",
        samples: Sequence[float] = (),
        uncertainty: float = 0.0,
        uncertain: str = "",
    ) -> Measurement:
        """Hold ``measured`` against ``limit``, that of the figure's declaration, or the board's own for that name.

        ``uncertainty``, in the figure's unit, is what the bench itself may have added or taken, and ``uncertain`` says
        how that was found out.

        Raises UsageError for a figure that cannot be judged so.
        """
        _check(figure, measured, reference, samples)
        if limit is not None and figure.limit is not None:
            raise UsageError(f"figure {figure.name!r} is declared with a limit ({figure.limit}) and taken with another")
        limit = limit or figure.limit
        if limit is None:
            raise UsageError(f"figure {figure.name!r} has no limit", hint="declare it with one, or take it with limit=")
        limit = of_board(figure.name, limit, reference, figure.unit, self.limits).widened(uncertainty, uncertain)
        if not figure.kind.decides:
            limit = limit.told_only()
        return Measurement(
            name=figure.name,
            kind=figure.kind.name,
            unit=figure.unit,
            measured=measured,
            reference=reference,
            limit=str(limit),
            verdict=limit.judge(measured),
            rule=rule,
            samples=tuple(samples),
            bounds=limit.bounds,
        )

    def by_rule(
        self,
        figure: Figure,
        measured: Value,
        reference: Value,
        *,
        calibration: Calibration | None = None,
        samples: Sequence[float] = (),
        loose: str = "",
    ) -> Measurement:
        """Hold ``measured`` against what the reference measured (for a time: its cost), by the rule of the kind."""
        _check(figure, measured, None, samples)
        _of_kind(figure, reference, "the reference of ")
        compared = Compared(
            figure.name,
            figure.unit,
            reference,
            self.board,
            self.reference,
            calibration=calibration,
            loose=loose,
            same_build=self.same_build,
            own_tree=self.own_tree,
        )
        asked = expected(figure.kind.rule, compared)
        return self.take(figure, measured, asked.reference, limit=asked.limit, rule=asked.rule, samples=samples)

    def skip(self, figure: Figure, reason: str) -> Measurement:
        """A figure that could not be taken, and why."""
        limit = "" if figure.limit is None else str(figure.limit)
        return Measurement(
            figure.name, figure.kind.name, figure.unit, None, None, limit, Outcome.SKIPPED, reason=reason
        )

    def pair(
        self,
        board: Decoded,
        reference: Decoded,
        calibration: Calibration | None,
        *,
        prefix: str = "",
        only: Collection[str] = (),
        loose_times: Mapping[str, str] | None = None,
        weighed: Decoded | None = None,
        asked: Mapping[str, Value | Limit] | None = None,
        source: str = "",
    ) -> list[Measurement]:
        """All observations of one program, in order, each by the rule of its kind; or those named in ``only``.

        Raises BenchFault when the two sides did not report the same figures (names, kinds and units alike), or none
        of a name in ``only``; UsageError for something in ``asked`` that cannot be meant.

        ``asked`` are figures that something else than the reference decides, ``source``: a document, or the program's
        own text. They are held against that, and the reference's is only shown.
        ``loose_times`` names times in which something plays a part that the prediction leaves out, and what.
        ``weighed`` is what the reference reported with its work weighed as the calibration has it; without it times are
        predicted from their plain cost.
        """
        if calibration is not None and weighed is None:
            calibration = calibration.plain
        mine = [(o.name, o.kind, o.unit) for o in board.observations]
        theirs = [(o.name, o.kind, o.unit) for o in reference.observations]
        if mine != theirs:
            raise BenchFault(
                f"the board and the reference did not report the same figures: {_difference(mine, theirs)}",
                hint="does the program depend on the board? Then it cannot be compared",
            )
        asked = asked or {}
        if asked and not source:
            raise UsageError("figures are asked for without saying who says so", hint="source=…")
        for name in (*only, *asked):
            _ = board[name]
        if unseen := sorted(set(asked) - set(only)) if only else []:
            raise UsageError(f"{unseen[0]!r} is asked for and not among those compared: {', '.join(only)}")
        result = []
        for one, other in zip(board.observations, reference.observations, strict=True):
            if only and one.name not in only:
                continue
            kind = named(one.kind)
            if one.name in asked:
                figure = Figure(prefix + one.name, kind, one.unit)
                wanted = asked[one.name]
                if not isinstance(wanted, Limit):
                    _of_kind(figure, wanted, "what is asked of ")
                limit = by_source(wanted, one.unit, source)
                result.append(self.take(figure, one.value, other.value, limit=limit, rule=source, samples=one.samples))
                continue
            if kind.calibrated and weighed is not None:
                other = weighed[one.name]
            result.append(
                self.by_rule(
                    Figure(prefix + one.name, kind, one.unit),
                    one.value,
                    other.value,
                    calibration=calibration,
                    samples=one.samples,
                    loose=(loose_times or {}).get(one.name, ""),
                )
            )
        return result


def _check(figure: Figure, measured: Value, reference: Value | None, samples: Sequence[float]) -> None:
    """Raise UsageError for what a suite cannot mean: such a value would be in the store, and in the way, for good."""
    if figure.places:
        raise UsageError(f"figure {figure.name!r} stands for many", hint="say which one with .of(…)")
    _of_kind(figure, measured, "")
    if reference is not None:
        _of_kind(figure, reference, "the reference of ")
    for sample in samples:
        if not _is_number(sample):
            raise UsageError(f"a sample of figure {figure.name!r} is {str(sample)[:40]!r}, expected a number")


def _of_kind(figure: Figure, value: object, whose: str) -> None:
    if not (_is_number(value) if figure.kind.numeric else isinstance(value, str)):
        expected = "a number" if figure.kind.numeric else "a text"
        came = repr(value[:40]) if isinstance(value, str) else f"{str(value)[:40]} ({type(value).__name__})"
        hint = "" if value is not None else "scenario.skip_figure says why a figure cannot be taken"
        raise UsageError(
            f"{whose}figure {figure.name!r} is {came}; {figure.kind.name} is {expected}",
            hint=hint,
        )


def _is_number(value: object) -> bool:
    """A finite one; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
