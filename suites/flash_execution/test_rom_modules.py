"""Flash execution as people do it: modules pushed on the board, used after a reset, popped and erased after another.

Every expected value is absolute. What the segment holds is held against the image that upstream's own writer makes
(``mpremote.romfs``); the reference VM takes no part.
"""

from __future__ import annotations

import zlib

import pytest

from harness.formats.romfs import MPY_VERSION, build_romfs, compile_module
from harness.judging.figures import Figure
from harness.judging.limits import exactly
from harness.judging.scenario import Scenario
from harness.kinds import STATE
from harness.paths import fixtures_dir
from harness.runtimes.program import Program

STACK = (fixtures_dir() / "modules" / "rom_modules.py").read_bytes()
FIRST, PUSHED = "hx_first.mpy", "hx_pushed.mpy"
UPLOADED = "hx_pushed.bin"  # no module while it is a file

NAMES = Figure("{step}.names", STATE)
MODULE = Figure("{step}.module", STATE)
IMAGE = Figure("{step}.image", STATE)


@pytest.mark.holds("place.push", "place.after-reset", "place.stack", "place.pop")
@pytest.mark.needs("romfs")
def test_a_module_pushed_on_the_board_runs_after_its_restart_and_goes_after_a_pop(scenario: Scenario) -> None:
    """``fixtures/modules/rom_modules.py`` on the board; each reset is a soft one, after which it starts first."""
    if scenario.board.facts.mpy_version != MPY_VERSION:
        pytest.skip(f"the VM loads no .mpy of version {MPY_VERSION}")
    if why := scenario.no_romfs_region:
        pytest.skip(why)
    first, pushed = (compile_module(name, f"VERSION = {name!r}\n".encode()) for name in ("first", "pushed"))
    one, both = build_romfs({FIRST: first}), build_romfs({FIRST: first, PUSHED: pushed})
    try:
        scenario.write_romfs(one)
        files = {"rom_modules.mpy": compile_module("rom_modules.py", STACK), UPLOADED: pushed}
        with scenario.files(files) as folder:
            _step(scenario, folder, "push", FIRST, "not there", one)
            scenario.board.soft_reset()
            _step(scenario, folder, "start", f"{FIRST}, {PUSHED}", "/rom/hx_pushed.mpy: pushed", both)
            scenario.board.soft_reset()
            _step(scenario, folder, "pop", f"{FIRST}, {PUSHED}", "/rom/hx_pushed.mpy: pushed", both)
            scenario.board.soft_reset()
            _step(scenario, folder, "start", FIRST, "not there", one, name="end")
    finally:
        scenario.restore_romfs()


def _step(scenario: Scenario, folder: str, step: str, names: str, module: str, image: bytes, *, name: str = "") -> None:
    """Do one step on the board, and take what is there after it: exactly this."""
    scenario.step(name or step)
    path = f"{folder.rstrip('/')}/{UPLOADED}"
    outcome = Program.load(
        "rom_stack", folder=folder, step=step, path=path, pushed=PUSHED, module="hx_pushed", length=len(image)
    ).run(scenario.board)
    expected = {NAMES: names, MODULE: module, IMAGE: f"{zlib.crc32(image):08x}"}
    for figure, value in expected.items():
        kind = figure.name.rpartition(".")[2]
        scenario.take(figure.of(name or step), outcome.text(kind), value, limit=exactly(value))
