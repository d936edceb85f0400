"""The kinds of measurement: everything that a figure's kind decides stands in its row here, and nowhere else.

Another package adds a kind by an entry point of the group ``harness.kinds`` that bears the kind's name and resolves
to a :class:`Kind`::

    [project.entry-points."harness.kinds"]
    energy = "my_package:ENERGY"

Such a package is looked for, and imported, when a kind is asked for that has no row here.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

from harness import extensions
from harness.errors import UsageError

Value = float | int | str

GROUP = "harness.kinds"
#: As it stands in an agent's record; ``end`` is the record at the end.
NAME = re.compile(r"[a-z][a-z0-9_]{0,19}")
_RESERVED = ("end",)


def number(value: Value, digits: int = 4) -> str:
    """A figure as people write it; ``digits`` are significant where it is no whole number."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value)}"
    return f"{value:.{digits}g}" if abs(value) < 10 ** (digits - 1) else f"{value:.0f}"


def with_unit(value: Value, unit: str, digits: int = 4) -> str:
    """The same with its unit, where it has one; a text has said all by itself."""
    if isinstance(value, str) or unit in ("", "-", "1"):
        return number(value, digits)
    return f"{number(value, digits)} {'µs' if unit == 'us' else unit}"


# -- rules: what a board's figure is held against; harness.judging.rules applies them ---------------


@dataclass(frozen=True)
class Equal:
    """Equal to the reference's, always."""


@dataclass(frozen=True)
class Within:
    """Within ``percent`` of the reference's; marginal up to ``marginal_percent``. ``why`` is told in reports."""

    percent: float
    marginal_percent: float = 0.0
    why: str = ""


@dataclass(frozen=True)
class Allocated:
    """Heap, as far as the two VMs allocate alike; on another build ``stale_blocks`` of 16 bytes may be more or less."""

    stale_blocks: int = 0


@dataclass(frozen=True)
class Predicted:
    """A time, as the board's calibration predicts it from the reference's metered cost."""


@dataclass(frozen=True)
class OwnLimit:
    """There is nothing to hold it against: each figure brings its limit. ``why`` says what the reference lacks."""

    why: str


class OwnRule(Protocol):
    """A rule of another package. It is given a :class:`harness.judging.rules.Compared`, and gives an
    :class:`harness.judging.rules.Expected`."""

    def expect(self, compared: Any, /) -> Any: ...


Rule = Equal | Within | Allocated | Predicted | OwnLimit | OwnRule


# -- rows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Effect:
    """What the history tells: a change of at least ``absolute`` (in the figure's unit) and of ``relative`` of it.

    ``exact`` figures are the same in every run by their nature, and any change of them that lasts is worth telling.
    """

    absolute: float = 0.0
    relative: float = 0.0
    exact: bool = False

    def of(self, baseline: float) -> float:
        return max(self.absolute, self.relative * abs(baseline))


@dataclass(frozen=True)
class Kind:
    """One kind of measurement.

    ``name`` stands in records, stores and reports, ``words`` in the documentation. ``units``: the first is taken
    where none is named; ``any_unit`` admits others. ``rule`` holds the board against the reference where a figure
    has no limit of its own. ``numeric``: a number, otherwise a text. ``decides``: beyond its limit a figure fails the
    scenario, otherwise it is marginal at worst. ``digits``: significant ones in reports, of what is no whole number.
    ``history``: which changes are told, None: none. ``higher_is_worse``: None where there is no better or worse.
    ``telling``: worth a line in a report although all is well. ``continues``: the kind under which its figures were
    kept before it had a row of its own; their history goes on.

    Raises ValueError for a row that makes no sense.
    """

    name: str
    words: str
    units: tuple[str, ...]
    rule: Rule
    any_unit: bool = False
    numeric: bool = True
    decides: bool = True
    digits: int = 4
    history: Effect | None = Effect()
    higher_is_worse: bool | None = None
    telling: bool = False
    continues: str = ""

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.name) or self.name in _RESERVED:
            raise ValueError(f"{self.name!r} is no name for a kind: expected small letters, digits and _, at most 20")
        if not self.units:
            raise ValueError(f"kind {self.name!r} has no unit; a pure number has '1', a text '-'")
        if not 1 <= self.digits <= 15:
            raise ValueError(f"kind {self.name!r}: expected 1 to 15 digits, came {self.digits}")
        if not self.numeric and not self.decides:
            raise ValueError(f"kind {self.name!r} is a text: it is equal or it fails, and cannot be marginal")

    @property
    def calibrated(self) -> bool:
        """Whether its rule needs the board's calibration."""
        return isinstance(self.rule, Predicted)

    @property
    def by_board(self) -> bool:
        """Whether what its rule says differs from board to board: reports tell it once above a board's figures."""
        return isinstance(self.rule, Allocated)

    @property
    def family(self) -> str:
        """The name that it shares with the kind it continues."""
        return self.continues or self.name

    def has_unit(self, unit: str) -> bool:
        return self.any_unit or unit in self.units

    def written(self, value: Value, unit: str) -> str:
        """``value`` as reports show it, with its unit."""
        return with_unit(value, unit, self.digits)

    def worse(self, before: Value, after: Value) -> bool | None:
        """Whether ``after`` is worse than ``before``; None when that cannot be said."""
        if self.higher_is_worse is None or isinstance(before, str) or isinstance(after, str) or before == after:
            return None
        return (after > before) == self.higher_is_worse


#: What a collection may leave behind because stale stack words point at it, in 16-byte blocks.
STALE_BLOCKS = 7
#: MicroPython's heap block on a 32-bit VM (``py/gc.c``, ``MICROPY_BYTES_PER_GC_BLOCK``) is the least change told.
_BLOCK = Effect(absolute=16.0, exact=True)
_ONE = Effect(absolute=1.0, exact=True)
_NOISY = Effect(relative=0.02)

HEAP = Kind(
    "heap", "bytes that are taken from the heap, the collector held off", ("B",), Allocated(),
    history=_BLOCK, higher_is_worse=True, telling=True,
)  # fmt: skip
HEAP_KEPT = Kind(
    "heap_kept", "bytes that are still taken after collections", ("B",), Allocated(STALE_BLOCKS),
    history=_BLOCK, higher_is_worse=True, telling=True, continues="heap",
)  # fmt: skip
HEAP_FREE = Kind(
    "heap_free", "bytes of heap that are left, or saved", ("B",), Allocated(),
    history=_BLOCK, higher_is_worse=False, telling=True, continues="heap",
)  # fmt: skip
TIME = Kind(
    "time", "how long something takes", ("us", "ms", "s"), Predicted(),
    history=_NOISY, higher_is_worse=True, telling=True,
)  # fmt: skip
RATIO = Kind(
    "ratio", "one time by another", ("1", "-"), OwnLimit("a quotient of two times has no prediction"),
    history=_NOISY, telling=True, continues="time",
)  # fmt: skip
COUNT = Kind(
    "count", "how many, or a number that stands for something", ("1",), Equal(), any_unit=True, history=_ONE
)  # fmt: skip
RATE = Kind(
    "rate", "how often in a second", ("Hz",), Equal(), history=_ONE, higher_is_worse=False, continues="count"
)  # fmt: skip
STATE = Kind("state", "a text", ("-",), Equal(), numeric=False, history=Effect(exact=True))

#: Ours, by name.
BUILT_IN = {kind.name: kind for kind in (HEAP, HEAP_KEPT, HEAP_FREE, TIME, RATIO, COUNT, RATE, STATE)}


# -- looking up ----------------------------------------------------------------------------------


def named(name: str) -> Kind:
    """The kind of that name: ours, or one of another package.

    Raises UsageError with the nearest name when there is none, and with the package's name for one that cannot be
    used.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    known = extensions.names(GROUP)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"there is no kind of measurement {name[:40]!r}", hint=f"{hint}Kinds: {', '.join(known)}")
    return _added(name)


@cache
def _added(name: str) -> Kind:
    kind = extensions.load(GROUP, name, Kind)
    if kind.name != name:
        package = extensions.package_of(GROUP, name)
        raise UsageError(f"{GROUP}: {name!r} of {package} is the kind {kind.name!r}", hint="give both the same name")
    return kind


def stored(name: str) -> Kind:
    """The kind of a figure out of a store or a certificate.

    What wrote it may have had a package that is not here: such a figure is shown as it is, and has no history.
    """
    try:
        return named(name)
    except UsageError:
        return Kind("unknown", "of a kind that is not known here", ("-",), Equal(), any_unit=True, history=None)


def every() -> dict[str, Kind]:
    """All kinds by name: ours, then those of other packages. Raises UsageError for one that cannot be used."""
    return {name: named(name) for name in extensions.names(GROUP)}
