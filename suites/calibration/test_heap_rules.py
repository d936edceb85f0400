"""How the heap is taken: growth of containers, whole blocks, one object for one name, and what an exception costs.

Sizes in blocks are MicroPython's (``py/gc.c``); how lists, dicts and sets grow stands in ``py/objlist.c``, ``py/map.c``
and ``py/objset.c``.
"""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from harness.judging.figures import Figure
from harness.judging.limits import exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, STATE
from harness.runtimes.program import Program

#: Where lists, dicts and sets take more: before it and after it.
COUNTS = (4, 5, 8, 9, 16, 17, 64, 65)
SIZES = (1, 15, 16, 17, 31, 32, 33, 47, 48, 49, 63, 64, 65, 255, 257)

BLOCK = Figure("blocks.size", COUNT, "B")
BROKEN_BLOCKS = Figure(
    "blocks.broken", COUNT, limit=exactly(0, words="none: whatever its size, an allocation is whole blocks")
)
TOO_SMALL = Figure(
    "blocks.too_small", COUNT, limit=exactly(0, words="none: no allocation is smaller than what it holds")
)
#: True is what the language asks for, or MicroPython's documentation of string interning (docs/develop/qstr.rst).
ONE_OBJECT = Figure("strings.{what}", STATE)


def test_containers_grow_in_their_steps(scenario: Scenario) -> None:
    """Bytes of lists, dicts and sets that grew to either side of each step, and where the steps are."""
    scenario.compare(scenario.run(Program.load("heap_growth", counts=list(COUNTS))), prefix="growth.")


@pytest.mark.figures(BLOCK, BROKEN_BLOCKS, TOO_SMALL)
def test_odd_sizes_take_whole_blocks(scenario: Scenario) -> None:
    """Bytearrays of odd sizes: what each takes is whole blocks of four words, and as many as in the reference."""
    pair = scenario.run(Program.load("heap_blocks", sizes=list(SIZES)))
    scenario.compare(pair, prefix="blocks.")
    taken, others = ([int(side.value(f"bytearray.{size}")) for size in SIZES] for side in (pair.board, pair.reference))
    block = 4 * scenario.board.facts.word_size
    sizes = [math.gcd(*(after - before for before, after in pairwise(one))) for one in (taken, others)]
    scenario.take(BLOCK, *sizes, limit=exactly(block, "B", words=f"{block} B: four words (MICROPY_BYTES_PER_GC_BLOCK)"))
    scenario.take(BROKEN_BLOCKS, sum(n % block != 0 for n in taken))
    scenario.take(TOO_SMALL, sum(n < size for n, size in zip(taken, SIZES, strict=True)))


def test_the_same_name_is_one_object(scenario: Scenario) -> None:
    """Short literals are one object wherever they stand, texts made at run time are not; both are the same name."""
    pair = scenario.run(Program.load("interned"))
    wanted = {"short_literal": "True", "built_of_many": "False", "attribute": "True", "key": "True"}
    for what, expected in wanted.items():
        scenario.take(ONE_OBJECT.of(what), *pair.text(what), limit=exactly(expected))
    # What else is kept once is the build's choice: how long a literal may be for that, and what a built name finds.
    scenario.compare(pair, prefix="strings.", only=("long_literal", "built_as_a_name"))


def test_an_exception_costs_itself_and_its_traceback(scenario: Scenario) -> None:
    """Heap of an exception that goes up through one to three functions and is caught; none of it is kept."""
    scenario.compare(scenario.run(Program.load("exception_cost")), prefix="exception.")
