"""References from a source tree: building one, finding it in the cache, starting it, and strikes a second.

The tree is that of the emulated boards (Debian's source package, newest release); ``OWN_TREE`` names another, and
``OWN_TREE_BOARD`` its board.
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

from benchmarks._boards import seconds
from harness.reference.engine.tree_vm import Moment
from harness.reference.own_tree.build import Request, build, key_of
from harness.reference.own_tree.kept import built
from harness.reference.own_tree.tree import find_firmware, open_tree
from harness.reference.vm import ReferenceVm

_PROGRAM = "n = 0\ndef isr(a):\n    global n\n    n += 1\nfor i in range(50): pass\n"


def main() -> dict[str, float]:
    place = os.environ.get("OWN_TREE")
    if place is None:
        from tests.emulated.source import source_of

        tree = source_of("sid").tree
    else:
        tree = Path(place)
    request = Request(find_firmware(open_tree(tree), os.environ.get("OWN_TREE_BOARD", "qemu/MPS2_AN385")))
    started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    build(request, key_of(request), lambda _text: None)
    took, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    module, _, _ = built(request, lambda _text: None)
    with ReferenceVm(module=module) as vm:  # compiled, if it was not
        vm.run(_PROGRAM)

        def struck() -> None:
            vm.strike_at(Moment.BYTECODE, 150, "isr", hard=True)
            vm.run(_PROGRAM)

        one = seconds(struck, 200)

    def start() -> None:
        with ReferenceVm(module=module) as fresh:
            fresh.run("pass")

    return {
        "build, wall (s)": took,
        "build, CPU (s)": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "from the cache (ms)": seconds(lambda: built(request, lambda _text: None), 5) * 1000,
        "start (ms)": seconds(start, 31) * 1000,
        "struck programs a second": 1 / one,
    }
