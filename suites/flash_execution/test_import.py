"""Flash execution: one module imported from source, from ``.mpy``, and in place from the chip's flash."""

from __future__ import annotations

import pytest

from harness.formats.romfs import MPY_VERSION, build_romfs, compile_module
from harness.formats.suite_romfs import LARGE, STATEMENTS, SUITE_MODULE, sized_module, sized_name, suite_romfs
from harness.judging.figures import Figure
from harness.judging.limits import at_least, at_most, exactly
from harness.judging.scenario import Scenario
from harness.kinds import HEAP, HEAP_KEPT, RATIO, STATE
from harness.paths import fixtures_dir
from harness.runtimes.program import Program

SOURCE = (fixtures_dir() / "modules" / "payload.py").read_bytes()

BLOCK = 16
MORE_IN_FLASH = 4 * (LARGE - STATEMENTS[0])
#: The longest is 5 kB: a chip with 40 kB of heap has room for it wherever compiling has left something.
IN_RAM = (100, 400, 1000)
MORE_IN_RAM = 4 * (IN_RAM[-1] - IN_RAM[0])

ALLOCATED = Figure("import.allocated", HEAP)
OPENED = Figure("open.allocated", HEAP, limit=at_most(4096, "B", words="at most 4 kB for an open file"))
OF_RAM = Figure("import.kept.of_ram", HEAP_KEPT)
FLASH_GROWTH = Figure(
    "in_flash.growth", HEAP, limit=at_most(2 * BLOCK, "B", words=f"at most 2 blocks for {MORE_IN_FLASH} B more code")
)
RAM_GROWTH = Figure(
    "in_ram.growth",
    HEAP,
    limit=at_least(MORE_IN_RAM, "B", words=f"at least the {MORE_IN_RAM} B of bytecode that are more"),
)
#: The reference has no flash that is slower than its RAM: its quotients are 1. What stands here is for chips with a
#: cache of 32 kB and lines of 32 bytes (ESP32): a line from serial flash takes about 1.5 us and holds eight of the
#: function's statements, which take about 1 us each; so past the cache about a fifth more, and from the cache nothing.
WARM = Figure("in_flash.warm", RATIO, limit=at_most(1.1, words="at most a tenth more than in RAM, from the cache"))
COLD = Figure("in_flash.cold", RATIO, limit=at_most(1.5, words="at most half as much again as in RAM, past the cache"))
MODULE = Figure("module.{version}", STATE)
IMAGE = Figure("image.{version}", STATE)
MOUNTED = Figure("{damage}.rom", STATE, limit=exactly("False"))

#: Reading a file takes the board time that the reference's metered cost does not contain.
FILE_TIME = "file reading is not part of the prediction"


@pytest.mark.holds("place.from-ram")
@pytest.mark.runtime("micropython", "circuitpython")
def test_from_source(scenario: Scenario) -> None:
    """The module is compiled on the board: the most heap, the most time."""
    _import_from_file(scenario, "hx_src", "hx_src.py", SOURCE)


@pytest.mark.holds("place.from-ram", "place.format")
@pytest.mark.runtime("micropython", "circuitpython")
def test_from_mpy(scenario: Scenario) -> None:
    """The module is compiled on the host and loaded into RAM."""
    _need_mpy(scenario)
    _import_from_file(scenario, "hx_mpy", "hx_mpy.mpy", compile_module("payload.py", SOURCE))


@pytest.mark.holds("place.in-place", "place.ram")
@pytest.mark.needs("romfs")
def test_in_place_from_romfs(scenario: Scenario) -> None:
    """The module's bytecode and constants stay in the chip's flash; only the rest is on the heap."""
    _need_mpy(scenario)
    if why := scenario.no_romfs:
        pytest.skip(why)
    mpy = compile_module("payload.py", SOURCE)
    in_place = scenario.run(Program.load("import_module", module=SUITE_MODULE, path="/rom"))
    scenario.compare(in_place)
    with scenario.files({"hx_mpy.mpy": mpy}) as folder:
        in_ram = scenario.run(Program.load("import_module", module="hx_mpy", path=folder))
    saved = in_ram.board.value("import.kept")
    limit = at_most(saved - 1, "B", words=f"less than the {saved} B that the same module keeps in RAM")
    scenario.take(OF_RAM, *in_place.value("import.kept"), limit=limit)


def _need_mpy(scenario: Scenario) -> None:
    version = scenario.board.facts.mpy_version
    if version != MPY_VERSION:
        pytest.skip(f"the VM loads .mpy version {version or 'none'}; the compiler here writes version {MPY_VERSION}")
    if scenario.board.facts.name == "circuitpython" and not _takes_mpy(scenario):
        pytest.skip("CircuitPython's .mpy files begin with 'C' and come from its own mpy-cross, which is not here")


def _takes_mpy(scenario: Scenario) -> bool:
    """Whether the board imports a good file of MicroPython's compiler."""
    with scenario.files({"hx_probe.mpy": compile_module("hx_probe.py", b"VERSION = 1\n")}) as folder:
        asked = f"import sys\nsys.path.insert(0, {folder!r})\n__import__('hx_probe')\nsys.path.pop(0)"
        return not scenario.board.run(asked).stderr


def _import_from_file(scenario: Scenario, module: str, file: str, content: bytes) -> None:
    scenario.require(Program.load("import_module").source)
    with scenario.files({file: content}) as folder:
        path = f"{folder.rstrip('/')}/{file}"
        pair = scenario.run(Program.load("import_module", module=module, path=folder, file=path))
    # An import has one file open. What that costs on the board is measured there, and stands in for the reference's.
    opened, reference_opened = pair.value("open.allocated")
    scenario.take(OPENED, opened, reference_opened)
    allocated, expected = pair.value("import.allocated")
    scenario.take(ALLOCATED, allocated, expected + opened - reference_opened)
    others = [o.name for o in pair.board.observations if o.name not in ("open.allocated", "import.allocated")]
    scenario.compare(pair, only=others, loose_times={"import.time": FILE_TIME})


@pytest.mark.holds("place.in-place", "place.ram")
@pytest.mark.needs("romfs")
def test_code_in_flash_costs_no_heap_however_long_it_is(scenario: Scenario) -> None:
    """Functions of 0.4 to 80 kB of bytecode, the longest larger than the heap: all keep the same, and lie in flash."""
    _need_mpy(scenario)
    if why := scenario.no_romfs:
        pytest.skip(why)
    names = [sized_name(n) for n in (*STATEMENTS, LARGE)]
    pair = scenario.run(Program.load("import_sizes", path="/rom", in_place=True, modules=names))
    scenario.compare(pair, prefix="in_flash.")
    growth = [side.value(f"kept.{names[-1]}") - side.value(f"kept.{names[0]}") for side in (pair.board, pair.reference)]
    scenario.take(FLASH_GROWTH, growth[0], growth[1])


def test_code_in_ram_costs_heap_by_its_length(scenario: Scenario) -> None:
    """The same functions from files: what they keep grows with their length, which shows that it is seen."""
    _need_mpy(scenario)
    names = [f"hr_{n}" for n in IN_RAM]
    modules = {f"{name}.mpy": sized_module(statements) for name, statements in zip(names, IN_RAM, strict=True)}
    with scenario.files(modules) as folder:
        pair = scenario.run(Program.load("import_sizes", path=folder, in_place=False, modules=names))
    scenario.compare(pair, prefix="in_ram.")
    growth = [side.value(f"kept.{names[-1]}") - side.value(f"kept.{names[0]}") for side in (pair.board, pair.reference)]
    scenario.take(RAM_GROWTH, growth[0], growth[1])


@pytest.mark.holds("place.speed", "store.cache")
@pytest.mark.needs("romfs")
def test_code_in_flash_takes_little_more_time_than_in_ram(scenario: Scenario) -> None:
    """One module's work again and again, and 6 kB of code right after 80 kB of other code went through the cache."""
    _need_mpy(scenario)
    if why := scenario.no_romfs:
        pytest.skip(why)
    payload, long = compile_module("payload.py", SOURCE), STATEMENTS[-1]
    names = {"warm_flash": SUITE_MODULE, "long_flash": sized_name(long), "other": sized_name(LARGE)}
    with scenario.files({"hx_mpy.mpy": payload, "hx_long.mpy": sized_module(long)}) as folder:
        pair = scenario.run(
            Program.load("flash_speed", flash="/rom", ram=folder, warm_ram="hx_mpy", long_ram="hx_long", **names)
        )
    for figure, kind in ((WARM, "warm"), (COLD, "cold")):
        board, reference = (
            round(side.value(f"{kind}.flash") / side.value(f"{kind}.ram"), 3) for side in (pair.board, pair.reference)
        )
        scenario.take(figure, board, reference)


@pytest.mark.holds("place.format")
@pytest.mark.runtime("micropython", "circuitpython")
def test_files_that_are_no_good_modules_are_refused(scenario: Scenario) -> None:
    """Empty, cut in the header, wrong magic, version or architecture; syntax error; one that raises at import."""
    _need_mpy(scenario)
    good = sized_module(STATEMENTS[0])
    files = {
        "hb_empty.mpy": b"",
        "hb_head.mpy": good[:3],
        "hb_magic.mpy": b"X" + good[1:],
        "hb_version.mpy": good[:1] + b"\x05" + good[2:],
        "hb_arch.mpy": good[:2] + bytes([good[2] | 0x7C]) + good[3:],
        "hb_syntax.py": b"def work(x:\n    return x\n",
        "hb_raises.py": b"value = 1\nraise ValueError('on purpose')\n",
        "hb_good.mpy": good,
    }
    bad = [name.partition(".")[0] for name in files if name != "hb_good.mpy"]
    with scenario.files(files) as folder:
        pair = scenario.run(Program.load("import_bad", path=folder, modules=[*bad, "hb_missing"], good="hb_good"))
    asked = dict.fromkeys(bad, "ValueError") | {"hb_syntax": "SyntaxError", "hb_missing": "ImportError"}
    asked |= {f"{name}.listed": "False" for name in asked} | {"good": str(STATEMENTS[0] + 1)}
    source = "MicroPython's py/persistentcode.c and py/builtinimport.c"
    scenario.compare(pair, prefix="refused.", asked=asked, source=source)


@pytest.mark.parametrize("kind", ["source", "mpy"])
@pytest.mark.runtime("micropython", "circuitpython")
def test_a_replaced_module_is_the_new_one_after_a_restart(scenario: Scenario, kind: str) -> None:
    """A module's file is replaced, and the VM restarted: the new code runs and the old is gone."""
    if kind == "mpy":
        _need_mpy(scenario)
    program = Program.load("stale_module", path=scenario.folder)
    scenario.require(program.source)
    suffix = "py" if kind == "source" else "mpy"
    versions = {}
    contents = {}
    for version in ("old", "new"):
        source = f"VERSION = {version!r}\n".encode()
        contents[version] = source if kind == "source" else compile_module("hx_version.py", source)
    name = f"hx_version.{suffix}"
    with scenario.files({name: contents["old"]}) as folder:
        versions["old"] = scenario.run(program)
        for runtime in scenario.both:
            runtime.put(f"{folder.rstrip('/')}/{name}", contents["new"])
        versions["new"] = scenario.run(program)
    for version, pair in versions.items():
        scenario.take(MODULE.of(version), *pair.text("version"), limit=exactly(version))


@pytest.mark.holds("place.replace", "place.after-reset")
@pytest.mark.needs("romfs")
def test_a_replaced_image_runs_after_the_reset_and_the_old_is_gone(scenario: Scenario) -> None:
    """The ROMFS region is flashed alone, twice: the new code runs, what only the old image had is gone."""
    _need_mpy(scenario)
    if why := scenario.no_romfs_region:
        pytest.skip(why)
    states = {}
    try:
        for version in ("one", "two"):
            files = {"hx_both.mpy": compile_module("hx_both.py", f"VERSION = {version!r}\n".encode())}
            files[f"hx_{version}.mpy"] = compile_module("hx.py", b"VERSION = 'own'\n")
            scenario.step(f"image {version}")
            scenario.write_romfs(build_romfs(files))
            states[version] = scenario.run(Program.load("rom_state", modules=["hx_both", "hx_one", "hx_two"]))
    finally:
        scenario.restore_romfs()
    for version, pair in states.items():
        scenario.take(IMAGE.of(version), *pair.text("hx_both"), limit=exactly(version))
        other = "two" if version == "one" else "one"
        asked = {"mounted": "True", "hx_both": version, f"hx_{version}": "own", f"hx_{other}": "not there"}
        scenario.compare(
            pair, prefix=f"{version}.", asked=asked | {"answers": "42"}, source="the image that was written"
        )


@pytest.mark.holds("place.damaged")
@pytest.mark.needs("romfs")
@pytest.mark.parametrize("kind", ["magic", "blank"])
def test_a_damaged_image_leaves_the_board_bootable(scenario: Scenario, kind: str) -> None:
    """A ROMFS region whose image has a wrong start, or that is blank: nothing is mounted, and the VM answers."""
    if why := scenario.no_romfs_region:
        pytest.skip(why)
    image = suite_romfs()[:4096]  # the start decides whether it is mounted
    try:
        scenario.write_romfs(b"\x00" * 16 + image[16:] if kind == "magic" else b"\xff" * 4096)
        pair = scenario.run(Program.load("rom_state", modules=[SUITE_MODULE]))
    finally:
        scenario.restore_romfs()
    asked = {"mounted": "False", SUITE_MODULE: "not there", "answers": "42"}
    scenario.compare(
        pair, prefix=f"{kind}.", asked=asked, source="an image without its magic is none (extmod/vfs_rom.c)"
    )
    scenario.take(MOUNTED.of(kind), *pair.text("mounted"))
