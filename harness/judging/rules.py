"""The rules by which a board's figure is held against the reference's; a kind of measurement names its rule.

docs/comparison.md explains them. A rule turns what the reference measured into a limit for the board.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from harness.errors import BenchFault, UsageError
from harness.judging.calibration import Calibration
from harness.judging.limits import Limit, at_most_ratio, exactly, within_blocks, within_percent
from harness.kinds import Allocated, Equal, OwnLimit, Predicted, Rule, Value, Within
from harness.runtimes.interface import Facts
from harness.runtimes.traits import traits_of_vm

OWN_TREE = "the reference is built from the firmware's own source tree: equal to the byte"
#: Interned names that one firmware has in ROM and another has not, in blocks.
INTERNING_BLOCKS = 2
#: So many minor releases may lie between two VMs whose times are held against each other.
NEAR_RELEASES = 8
PREDICTED = "predicted from the reference's metered work by this board's calibration"
#: For a time in which something plays a part that the prediction leaves out.
LOOSE_RATIO = 5.0


@dataclass(frozen=True)
class Compared:
    """What a rule goes by: the reference's figure (for a time its metered cost), and the two VMs.

    ``loose`` says what plays a part that a prediction leaves out, empty when nothing does. ``same_build``: both VMs are
    one build that the harness made, whatever name each bears. ``own_tree``: the reference is built from the firmware's
    own source tree.
    """

    name: str
    unit: str
    reference: Value
    board_facts: Facts
    reference_facts: Facts
    calibration: Calibration | None = None
    loose: str = ""
    same_build: bool = False
    own_tree: bool = False

    @property
    def number(self) -> float:
        """The reference's figure. Raises UsageError when it is a text."""
        if isinstance(self.reference, str):
            raise UsageError(f"the reference of {self.name!r} is {self.reference[:40]!r}, expected a number")
        return self.reference


@dataclass(frozen=True)
class Expected:
    """What a rule asks of the board: ``limit``, the ``reference`` to show beside, and why (``rule``)."""

    limit: Limit
    reference: Value
    rule: str = ""


def expected(rule: Rule, compared: Compared) -> Expected:
    """What ``rule`` asks of the board. Raises BenchFault when something is missing that it needs."""
    match rule:
        case Equal():
            return Expected(exactly(compared.reference, compared.unit), compared.reference)
        case Within(percent, marginal_percent, why):
            limit = within_percent(compared.number, percent, compared.unit, marginal_percent=marginal_percent)
            return Expected(limit, compared.reference, why)
        case Allocated(stale_blocks):
            return _allocated(compared, stale_blocks)
        case Predicted():
            return _predicted(compared)
        case OwnLimit(why):
            raise UsageError(
                f"{compared.name!r} cannot be held against the reference: {why}",
                hint="declare the figure with a limit, and take it with scenario.take",
            )
    expectation = rule.expect(compared)
    if not isinstance(expectation, Expected):
        raise UsageError(f"the rule for {compared.name!r} gave a {type(expectation).__name__}, expected an Expected")
    return expectation


def _predicted(compared: Compared) -> Expected:
    line = compared.calibration
    if line is None:
        raise BenchFault(f"no calibration to predict {compared.name!r} with")
    predicted = line.predict(compared.number)
    if words := other_words(compared.board_facts, compared.reference_facts):
        return Expected(Limit(words), round(predicted, 1), words)
    if compared.loose:
        limit = at_most_ratio(predicted, LOOSE_RATIO, compared.unit, why=compared.loose)
    else:
        percent = line.tolerance_percent
        limit = within_percent(round(predicted, 1), round(percent, 1), compared.unit, marginal_percent=2 * percent)
    if words := far_release(compared.board_facts, compared.reference_facts):
        return Expected(limit.told_only(), round(predicted, 1), words)
    return Expected(limit, round(predicted, 1), PREDICTED)


def other_words(board: Facts, reference: Facts) -> str:
    """Why sizes and times of two VMs are not held against each other; empty when they are."""
    if board.word_size == reference.word_size:
        return ""
    return f"words of {board.word_size} and {reference.word_size} bytes: for orientation only"


def far_release(board: Facts, reference: Facts) -> str:
    """Why a time beyond its limit is no failure: the two VMs are so many releases apart that their work is another.

    Empty when they are not.
    """
    versions = [re.search(r"v(\d+)\.(\d+)", facts.version) for facts in (board, reference)]
    if None in versions:
        return ""
    (major, minor), (other, others) = (map(int, found.groups()) for found in versions if found)
    if major == other and abs(minor - others) <= NEAR_RELEASES:
        return ""
    return f"MicroPython {_minor_version(board)} against {_minor_version(reference)}: told, and no failure"


# -- heap ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeapRule:
    """``exact``: to the byte. Otherwise ``blocks`` of 16 bytes, or ``percent``; ``judged`` false: shown and no more."""

    words: str
    exact: bool = False
    blocks: int = 0
    percent: float = 0.0
    judged: bool = True


def _allocated(compared: Compared, stale_blocks: int) -> Expected:
    rule = heap_rule(
        compared.board_facts, compared.reference_facts, same_build=compared.same_build, own_tree=compared.own_tree
    )
    if not rule.judged:
        limit = Limit(rule.words)
    elif rule.exact:
        limit = exactly(compared.reference, compared.unit)
    elif rule.percent:
        limit = within_percent(compared.number, rule.percent, compared.unit)
    else:
        limit = within_blocks(compared.number, rule.blocks + stale_blocks, why=rule.words)
    return Expected(limit, compared.reference, rule.words)


def heap_rule(board: Facts, reference: Facts, *, same_build: bool = False, own_tree: bool = False) -> HeapRule:
    """Which heap rule holds between two VMs.

    Allocation sizes follow from word size, object representation and version (MicroPython ``py/gc.c``: blocks of
    four words). What else differs between builds is which names stand in ROM already (``py/qstr.c``).
    """
    if words := other_words(board, reference):
        return HeapRule(words, judged=False)
    other_build = board.machine != reference.machine and not same_build
    traits = traits_of_vm(board.name)
    if traits is not None and traits.heap_tolerance is not None and other_build:
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
    if own_tree:
        return HeapRule(OWN_TREE, exact=True)
    if other_build:
        return HeapRule("another firmware may have other names in ROM", blocks=INTERNING_BLOCKS)
    return HeapRule("same word size, representation, version and build: equal to the byte", exact=True)


def release_of(version: str) -> str:
    """``1.26.1`` of what a VM or a tree calls its version; empty when there is none in it."""
    found = re.search(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version.rpartition("MicroPython")[2])
    return f"{found[1]}.{found[2]}.{found[3] or 0}" if found else ""


def _minor_version(facts: Facts) -> str:
    match = re.search(r"v(\d+\.\d+)", facts.version)
    return match.group(1) if match else facts.version[:20]
