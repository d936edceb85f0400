"""Flash execution: one module imported from source, from ``.mpy``, and in place from the chip's flash."""

from __future__ import annotations

import pytest

from harness.bench.attach import SUITE_MODULE
from harness.bench.scenario import Scenario
from harness.flashstore.romfs import compile_module
from harness.paths import fixtures_dir
from harness.programs.program import Program
from harness.verdict.limits import at_most

SOURCE = (fixtures_dir() / "modules" / "payload.py").read_bytes()

#: Reading a file takes the board time that the reference's metered cost does not contain.
FILE_TIME = "file reading is not part of the prediction"


def test_from_source(scenario: Scenario) -> None:
    """The module is compiled on the board: the most heap, the most time."""
    _import_from_file(scenario, "hx_src", "hx_src.py", SOURCE)


def test_from_mpy(scenario: Scenario) -> None:
    """The module is compiled on the host and loaded into RAM."""
    _need_mpy(scenario)
    _import_from_file(scenario, "hx_mpy", "hx_mpy.mpy", compile_module("payload.py", SOURCE))


@pytest.mark.needs("romfs")
def test_in_place_from_romfs(scenario: Scenario) -> None:
    """The module's bytecode and constants stay in the chip's flash; only the rest is on the heap."""
    _need_mpy(scenario)
    if not scenario.romfs_in_place:
        pytest.skip("the chip's ROMFS region does not hold the suite's image; run without --no-flash")
    mpy = compile_module("payload.py", SOURCE)
    in_place = scenario.run(Program.load("import_module", module=SUITE_MODULE, path="/rom"))
    scenario.compare(in_place)
    for runtime in scenario.both:
        runtime.put("/hx_mpy.mpy", mpy)
    try:
        in_ram = scenario.run(Program.load("import_module", module="hx_mpy", path="/"))
    finally:
        for runtime in scenario.both:
            runtime.remove("/hx_mpy.mpy")
    saved = [side.value("import.kept") for side in (in_ram.board, in_ram.reference)]
    scenario.check(
        "import.kept.of_ram", "heap", "B",
        in_place.board.value("import.kept"), in_place.reference.value("import.kept"),
        at_most(saved[0] - 1, "B", words=f"less than the {saved[0]} B that the same module keeps in RAM"),
    )  # fmt: skip


def _need_mpy(scenario: Scenario) -> None:
    version = scenario.board.facts.mpy & 0xFF
    if version != 6:
        pytest.skip(f"the VM loads .mpy version {version or 'none'}; the compiler here writes version 6")


def _import_from_file(scenario: Scenario, module: str, file: str, content: bytes) -> None:
    for runtime in scenario.both:
        runtime.put(f"/{file}", content)
    try:
        pair = scenario.run(Program.load("import_module", module=module, path="/"))
    finally:
        for runtime in scenario.both:
            runtime.remove(f"/{file}")
    scenario.compare(pair, loose_times={"import.time": FILE_TIME})
