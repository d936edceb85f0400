"""Reload: the VM ends and starts again, the chip does not. What must go goes, what must stay stays."""

from __future__ import annotations

import hashlib
import itertools
import random
import re
import statistics

import pytest

from harness.bench.scenario import Pair, Scenario
from harness.programs.program import Program
from harness.verdict.limits import at_most, exactly

RELOADS = 10
_LARGEST = re.compile(rb"max free sz: (\d{1,9})")
BLOCK = 16


def _largest_free_run(pair: Pair) -> int:
    """Bytes of the largest free run of heap blocks, from ``micropython.mem_info`` on the board."""
    found = _LARGEST.search(pair.board.other)
    if found is None:
        pytest.skip("this VM's mem_info does not tell its largest free run")
    return int(found[1]) * BLOCK


def _slope(values: list[float]) -> float:
    """Growth per reload: the median over all pairs, which single jumps do not move (Theil-Sen)."""
    pairs = itertools.combinations(enumerate(values), 2)
    return statistics.median((late - early) / (j - i) for (i, early), (j, late) in pairs)


def test_reloads_neither_leak_nor_fragment(scenario: Scenario) -> None:
    """Ten soft resets in a row: the heap that a fresh VM has stays the same."""
    program = Program.load("heap_after_start")
    used, reference_used, largest = [], [], []
    # The first start follows whatever was before; leaks are counted from the second on.
    for index in range(RELOADS + 1):
        scenario.step(f"reload {index} of {RELOADS}")
        pair = scenario.run(program)
        if index:
            used.append(pair.board.value("used"))
            reference_used.append(pair.reference.value("used"))
            largest.append(_largest_free_run(pair))
    scenario.check(
        "reload.leak", "heap", "B", _slope(used), _slope(reference_used),
        at_most(BLOCK - 1, "B", words="less than one 16-byte block per reload"), samples=used,
    )  # fmt: skip
    scenario.check(
        "reload.growth", "heap", "B", used[-1] - used[0], reference_used[-1] - reference_used[0],
        at_most(8 * BLOCK - 1, "B", words=f"less than 8 blocks over {RELOADS} reloads"), samples=used,
    )  # fmt: skip
    scenario.check(
        "reload.largest_free_run.loss", "heap", "B", largest[0] - largest[-1], 0,
        at_most(8 * BLOCK - 1, "B", words="less than 8 blocks"), samples=largest,
    )  # fmt: skip


def test_globals_modules_and_paths_are_gone(scenario: Scenario) -> None:
    """What a program left in the VM is not there after a soft reset."""
    mark = f"mark-{random.Random(7).getrandbits(32):08x}"
    scenario.compare(scenario.run(Program.load("leave_traces", mark=mark)), prefix="before.")
    pair = scenario.run(Program.load("look_for_traces"))
    for name in ("global", "module", "path"):
        scenario.check(
            f"after.{name}_left",
            "state",
            "-",
            pair.board.text(name),
            pair.reference.text(name),
            exactly("False"),
        )


def test_files_are_kept(scenario: Scenario) -> None:
    """A file written before a soft reset is there after it, byte for byte."""
    data = random.Random(20).randbytes(3000)
    path = "/hx_kept.bin"
    for runtime in scenario.both:
        runtime.put(path, data)
    try:
        scenario.soft_reset()
        sums = [hashlib.sha256(runtime.get(path)).hexdigest()[:16] for runtime in scenario.both]
        expected = hashlib.sha256(data).hexdigest()[:16]
        scenario.check("file.sha256", "state", "-", sums[0], sums[1], exactly(expected))
    finally:
        for runtime in scenario.both:
            runtime.remove(path)
