"""Figures, declared before they are taken: name, kind, unit and, where it stands fast, the limit.

::

    SMALL = figure("mine.heap", "heap", "at most 2000 B")
    LEAK = Figure("reload.leak", HEAP, limit=at_most(15, "B", words="less than one 16-byte block per reload"))
    WOKEN = Figure("woken.{ms}_ms.{what}", STATE)

    scenario.take(LEAK, growth, reference_growth, samples=used)
    scenario.take(WOKEN.of(50, "cause"), *pair.text("cause"))
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from harness.errors import UsageError
from harness.judging.limits import Limit
from harness.kinds import Kind, named

_PLACE = re.compile(r"\{[a-z_]*\}")


@dataclass(frozen=True)
class Figure:
    """What is going to be measured. ``unit`` is the kind's first one where none is given.

    A figure without a ``limit`` is given one when it is taken, or is held against the reference by its kind's rule.
    A name with places in braces stands for many figures: :meth:`of` fills them. ``family`` is the name as it was
    declared.

    Raises UsageError for an unknown kind and for a unit that the kind does not have.
    """

    name: str
    kind: Kind
    unit: str = ""
    limit: Limit | None = None
    family: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            raise UsageError("a figure has no name", hint="give it one, such as 'reload.leak'")
        if not isinstance(self.kind, Kind) or named(self.kind.name) != self.kind:
            raise UsageError(
                f"figure {self.name!r} is declared with {str(self.kind)[:60]!r}, which is no kind of measurement",
                hint="take one of harness.kinds, or harness.kinds.named('…')",
            )
        if not self.unit:
            object.__setattr__(self, "unit", self.kind.units[0])
        if not self.kind.has_unit(self.unit):
            raise UsageError(
                f"figure {self.name!r} is declared in {self.unit!r}; expected for {self.kind.name}: "
                f"{', '.join(self.kind.units)}",
                hint="convert it, or declare another kind",
            )
        if not self.family:
            object.__setattr__(self, "family", self.name)

    @property
    def places(self) -> int:
        """How many places of its name are to be filled."""
        return len(_PLACE.findall(self.name))

    def of(self, *words: object) -> Figure:
        """One of the figures that this one stands for: ``words`` in the places of its name, in their order.

        Raises UsageError when there are more or fewer words than places.
        """
        if len(words) != self.places:
            raise UsageError(f"figure {self.name!r} has {self.places} places to fill, came {len(words)} words")
        left = iter(words)
        return replace(self, name=_PLACE.sub(lambda _: str(next(left)), self.name))


def figure(name: str, kind: str, limit: str = "", *, unit: str = "") -> Figure:
    """A figure in one line: ``figure("mine.heap", "heap", "at most 2000 B")``.

    ``kind`` is one of ``harness.kinds`` by name; ``limit`` as in :mod:`harness.judging.limit_words`, empty for the rule
    of the kind against the reference. Raises UsageError for what is not understood.
    """
    from harness.judging.limit_words import limit_in_words

    declared = Figure(name, named(kind), unit)
    return replace(declared, limit=limit_in_words(limit, declared.unit)) if limit else declared
