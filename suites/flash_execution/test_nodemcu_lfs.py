"""NodeMCU's Lua Flash Store: what it saves, and that a reload replaces all of it or nothing."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import cast

import pytest

from harness.errors import Unsuitable
from harness.formats.lfs import target_layout
from harness.formats.lfs.compile import compile_lua
from harness.formats.lfs.container import pack_image
from harness.formats.lfs.read import read_image
from harness.judging.board_bench import Pair
from harness.judging.figures import Figure
from harness.judging.limits import Limit, at_least, at_most, between, by_source, exactly
from harness.judging.scenario import Scenario
from harness.kinds import COUNT, HEAP_FREE, HEAP_KEPT, RATIO, STATE
from harness.paths import fixtures_dir
from harness.reference.nodemcu.lfs_build import build, build_file
from harness.reference.nodemcu.lfs_cost import ModuleCost, costs, strings_of
from harness.runtimes.interface import Intervention, LfsRuntime
from harness.runtimes.nodemcu.nodemcu_lines import HELPERS
from harness.runtimes.program import Program

pytestmark = [pytest.mark.runtime("nodemcu"), pytest.mark.needs("lfs")]

IMAGE = "hx_lfs.img"
HARDWARE_WATCHDOG, SOFTWARE_WATCHDOG = 1, 3
#: All that a function in LFS takes of the heap: a closure without upvalues, and its allocator's header.
CLOSURE = target_layout.lua_closure()
#: What the allocator of the SDK may take for each block, in bytes: a header of 8 and rounding up to a multiple of 8.
BLOCK = 16
STRUCTURES = "Lua 5.1 of NodeMCU on 32 bits (app/lua/lobject.h)"
WORDS = 32
MODULES = len(list((fixtures_dir() / "lua" / "app").glob("*.lua")))

FROM_LFS = Figure("lfs.{module}", HEAP_KEPT)
OF_LFS = Figure("lfs.objects.{module}", HEAP_KEPT, limit=by_source(CLOSURE, "B", f"a closure, {STRUCTURES}"))
CODE = Figure("ram.code.{module}", HEAP_KEPT)
STRINGS = Figure("ram.strings.{module}", HEAP_KEPT)
SAVED = Figure("saved.{module}", HEAP_FREE)
SAVED_IN_ALL = Figure("saved.all", HEAP_FREE)
SAME_RESULT = Figure("equal", STATE, limit=exactly("true"))
OVER_RAM = Figure("lfs.over.ram", RATIO, "-", at_most(1.6, words="at most 1.6 times the time in RAM"))
ALL_FIT = Figure("lfs.modules", COUNT, limit=exactly(MODULES))
FIT_IN_RAM = Figure("ram.modules", COUNT)
#: What loading ended with: nothing but memory keeps a module out.
LFS_ENDED, RAM_ENDED = Figure("lfs.ended", STATE), Figure("ram.ended", STATE)
FREE_WITH_LFS = Figure("lfs.free", HEAP_FREE)
STRINGS_SAVED = Figure("strings.saved", HEAP_FREE)
REFUSED = Figure("refused.{image}", STATE)
LFS_KEPT = Figure("lfs.kept", STATE, limit=exactly("words"))
MODULE = Figure("reload.{number}.module", STATE)
WATCHDOG = Figure("reload.{number}.watchdog", STATE, limit=exactly("True"))
HEAP_LOST = Figure("reload.heap_lost", HEAP_KEPT, limit=at_most(400, "B"))
INTERRUPTED = Figure("interrupted.modules", STATE, limit=exactly("nil"))
TAKEN_AGAIN = Figure("interrupted.again", STATE, limit=exactly("taken"))
INTERRUPTED_THEN = Figure("interrupted.then", STATE)
REQUIRED = Figure("require.{how}", STATE)


def _both(scenario: Scenario) -> tuple[LfsRuntime, LfsRuntime]:
    return cast(tuple[LfsRuntime, LfsRuntime], scenario.both)


def _application() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((fixtures_dir() / "lua" / "app").glob("*.lua"))}


def _probe(text: str, words: int = 0) -> dict[str, bytes]:
    listed = ",".join(f'"hx_word_{n}"' for n in range(1, words + 1))
    return {"hx_probe.lua": f"local words = {{{listed}}} return '{text}'".encode()}


def _load(scenario: Scenario, sources: Mapping[str, bytes]) -> list[bool]:
    """Have both sides hold these modules in LFS, by a reload where they do not; on which one it was done."""
    # An image holds its build time; here it says which image it is.
    mark = zlib.crc32(repr(sorted(sources.items())).encode()) & 0x3FFFFFFF
    done, image = [], b""
    for runtime in _both(scenario):
        held = runtime.run("print(node.LFS and node.LFS.time)").stdout.strip()
        done.append(held != str(mark).encode())
        if done[-1]:
            scenario.step("reloading LFS")
            image = image or build_file(sources, build_time=mark)
            if error := _reload(runtime, image):
                if "No LFS partition" in error:
                    raise Unsuitable("the firmware has no LFS partition")
                raise AssertionError(f"the firmware refused a good image: {error}")
    return done


def _without_application(scenario: Scenario) -> None:
    """The same in LFS whatever it held, and none of it of the application: its strings make a file's cheaper."""
    _load(scenario, _probe("other"))


def _reload(runtime: LfsRuntime, image: bytes) -> str:
    runtime.soft_reset()
    runtime.put(IMAGE, image)
    runtime.soft_reset()
    return runtime.reload_lfs(IMAGE)


def _files(scenario: Scenario, names: list[str]) -> None:
    sources = _application()
    for runtime in _both(scenario):
        there = set(runtime.listdir())
        for name in names:
            if f"hx_{name}.lua" not in there:
                runtime.put(f"hx_{name}.lua", sources[f"{name}.lua"])


@pytest.mark.holds("store.protos")
def test_each_module_takes_less_heap_from_lfs(scenario: Scenario) -> None:
    """Twenty modules, one by one: heap of each loaded from a file, from LFS, and what the format's own sizes say."""
    sources = _application()
    names = [name.removesuffix(".lua") for name in sources]
    _files(scenario, names)
    _without_application(scenario)
    in_ram = scenario.run(Program.load_lua("lfs_modules", names=names, **{"from": "file"}), timeout=120.0)
    _load(scenario, sources)
    in_lfs = scenario.run(Program.load_lua("lfs_modules", names=names, **{"from": "lfs"}), timeout=120.0)
    held = _held(Program.load_lua("lfs_modules", names=names, **{"from": "file"}))
    saved, in_all = 0.0, ModuleCost("all", 0, 0, 0, 0, 0)
    for name in names:
        file = f"hx_{name}.lua"
        (cost,) = costs({name: compile_lua(sources[f"{name}.lua"], file).without_names()}, held=held)
        lfs, ram = in_lfs.board.value(name), in_ram.board.value(name)
        saved += ram - lfs
        in_all = in_all.plus(cost)
        scenario.take(FROM_LFS.of(name), lfs, in_lfs.reference.value(name), limit=_taken(scenario, CLOSURE, 1))
        scenario.take(OF_LFS.of(name), *in_lfs.value(f"objects.{name}"))
        again = in_ram.value(f"again.{name}")
        scenario.take(CODE.of(name), *again, limit=by_source(cost.code, "B", f"prototypes and closure, {STRUCTURES}"))
        strings = [whole - code for whole, code in zip(in_ram.value(f"objects.{name}"), again, strict=True)]
        scenario.take(STRINGS.of(name), strings[0], strings[1], limit=_strings(scenario, cost.strings))
        limit = _taken(scenario, cost.saved, cost.blocks - 1, cost.strings)
        scenario.take(SAVED.of(name), ram - lfs, cost.saved, limit=limit)
    limit = _taken(scenario, in_all.saved, in_all.blocks - len(names), in_all.strings)
    scenario.take(SAVED_IN_ALL, saved, in_all.saved, limit=limit)


def _held(program: Program) -> set[bytes]:
    """Strings that are on the board while ``program`` measures: its own, the harness's, and those of the image."""
    texts = [*program.texts(), *HELPERS]
    held = {one for text in texts for one in strings_of(compile_lua(text.encode(), "hx_run.lua").without_names())}
    return held | set(read_image(build_file(_probe("other"), build_time=0)).strings)


def _taken(scenario: Scenario, size: int, blocks: int, strings: int = 0) -> Limit:
    """Heap that objects of ``size`` bytes take in ``blocks`` allocations, ``strings`` bytes of it for strings.

    To the byte where there is no allocator beside Lua's own count; a firmware of its own may have some of the strings.
    """
    if scenario.is_our_build:
        return by_source(size, "B", STRUCTURES)
    limit = between(size - strings, size + BLOCK * blocks, "B")
    return by_source(limit, "B", f"{STRUCTURES}, and up to {BLOCK} B for each of {blocks} blocks")


def _strings(scenario: Scenario, size: int) -> Limit:
    if scenario.is_our_build:
        return by_source(size, "B", f"17 B and its characters for each string that is new, {STRUCTURES}")
    return by_source(at_most(size, "B"), "B", f"17 B and its characters for each string, {STRUCTURES}")


@pytest.mark.holds("store.speed")
def test_code_in_lfs_runs_as_fast_as_in_ram(scenario: Scenario) -> None:
    """One module from a file and from LFS: the same result, in about the same time (the flash is cached)."""
    _files(scenario, ["json"])
    _load(scenario, _application())
    pair = scenario.run(Program.load_lua("lfs_speed"))
    scenario.take(SAME_RESULT, *pair.text("equal"))
    ratio = [side.value("lfs") / side.value("ram") for side in (pair.board, pair.reference)]
    scenario.take(OVER_RAM, round(ratio[0], 3), round(ratio[1], 3), samples=pair.board["lfs"].samples)


@pytest.mark.holds("store.double")
def test_an_application_that_does_not_fit_in_ram_starts_from_lfs(scenario: Scenario) -> None:
    """All twenty modules loaded and run: how many fit from files, and the heap that is left from LFS and from files."""
    sources = _application()
    names = [name.removesuffix(".lua") for name in sources]
    _files(scenario, names)
    _load(scenario, sources)
    lfs = scenario.run(Program.load_lua("lfs_start", names=names, **{"from": "lfs"}), timeout=120.0)
    _without_application(scenario)
    ram = scenario.run(Program.load_lua("lfs_start", names=names, **{"from": "file"}), timeout=120.0)
    scenario.take(ALL_FIT, *lfs.value("modules"))
    scenario.take(FIT_IN_RAM, *ram.value("modules"), limit=_fitting(scenario, ram))
    for figure, pair in ((LFS_ENDED, lfs), (RAM_ENDED, ram)):
        why = "all" if pair.board.value("modules") == MODULES else "not enough memory"
        scenario.take(figure, *pair.text("ended"), limit=exactly(why))
    scenario.take(FREE_WITH_LFS, *lfs.value("free"), limit=at_least(ram.board.value("free") + 8000, "B"))


def _fitting(scenario: Scenario, ram: Pair) -> Limit:
    """As many as the reference says where the board has its heap; another heap may take them all."""
    if scenario.is_our_build:
        return exactly(ram.reference.value("modules"), "1")
    return between(1, MODULES, "1")


@pytest.mark.holds("store.strings")
def test_strings_of_the_image_take_no_heap(scenario: Scenario) -> None:
    """Strings made at run time, half of them in the image's string table."""
    _load(scenario, _probe("words", WORDS))
    pair = scenario.run(Program.load_lua("lfs_strings"))
    saved = [side.value("not.in.image") - side.value("in.image") for side in (pair.board, pair.reference)]
    size = sum(target_layout.string(len(f"hx_new_{n}")) for n in range(1, WORDS + 1))
    scenario.take(STRINGS_SAVED, saved[0], saved[1], limit=_taken(scenario, size, WORDS))


def _look(scenario: Scenario) -> Pair:
    """What LFS holds."""
    look = Program.load_lua("lfs_look")
    return Pair(look.run(scenario.board), look.run(scenario.reference))


def _bad_images() -> dict[str, tuple[bytes, str]]:
    """Images that the loader's first pass refuses, and its words (NodeMCU ``app/lua/lflash.c``)."""
    good = build_file(_probe("bad", WORDS), build_time=7)
    image = build(_probe("bad", WORDS), build_time=7)
    relocatable = image.relocatable()

    def changed(word: int, value: int) -> bytes:
        return pack_image(relocatable[: 4 * word] + struct.pack("<I", value) + relocatable[4 * word + 4 :])

    signature = struct.unpack_from("<I", relocatable)[0]
    return {
        "short": (good[:150], "read error on LFS image file"),
        "damaged": (good[:-8] + bytes([good[-8] ^ 1]) + good[-7:], "checksum error on LFS image file"),
        "version": (changed(0, signature ^ 0x300), "Incorrect LFS header version"),
        "numbers": (changed(0, signature ^ 0x6), "Incorrect LFS build type"),
        "signature": (changed(0, signature ^ 0x5000_0000), "incorrect LFS header signature"),
        "length": (changed(1, len(relocatable) + 256), "LFS length mismatch"),
        "size": (changed(1, 0x40_0000), "LFS Image too big for configured LFS region"),
    }


@pytest.mark.holds("store.bad-image")
def test_bad_images_are_refused_and_change_nothing(scenario: Scenario) -> None:
    """Seven ways to be no image, and a file that is not there: the firmware's words, and LFS as it was."""
    _load(scenario, _probe("words", WORDS))
    for name, (image, words) in _bad_images().items():
        scenario.step(f"bad image: {name}")
        said = []
        for runtime in _both(scenario):
            runtime.put(IMAGE, image)
            said.append(runtime.reload_lfs(IMAGE))
        scenario.take(REFUSED.of(name), said[0], said[1], limit=exactly(words))
    said = [runtime.reload_lfs("hx_none.img") for runtime in _both(scenario)]
    scenario.take(REFUSED.of("missing"), said[0], said[1], limit=exactly("LFS image file not found"))
    scenario.take(LFS_KEPT, *_look(scenario).text("probe"))


@pytest.mark.holds("store.freeze-reset")
def test_a_reload_replaces_the_image(scenario: Scenario) -> None:
    """Two reloads in turn: the module is the new image's, the reason is a watchdog's, and the larger image takes no
    heap: neither its code nor its strings."""
    free = []
    for index, (text, words) in enumerate((("one", 0), ("two", WORDS))):
        scenario.step(f"reload {index + 1} of 2")
        fresh = _load(scenario, _probe(text, words))[0]
        seen = _look(scenario)
        scenario.take(MODULE.of(index + 1), *seen.text("probe"), limit=exactly(text))
        if fresh:
            watchdog = seen.board.value("reason") in (HARDWARE_WATCHDOG, SOFTWARE_WATCHDOG)
            scenario.take(WATCHDOG.of(index + 1), str(watchdog), "True")
        free.append(seen.board.value("free"))
    scenario.take(HEAP_LOST, free[0] - free[-1], 0, samples=free)


@pytest.mark.holds("store.incomplete")
def test_an_interrupted_reload_leaves_no_half_image(scenario: Scenario) -> None:
    """The power fails while LFS is written: the chip starts, holds no module, and takes the image the next time."""
    if not scenario.can_intervene:
        pytest.skip("nothing here can cut this board's power")
    if not scenario.lives_in_host_time:
        pytest.skip("the writing takes no time of the host on this board (virtual.pace)")
    board = _both(scenario)[0]
    board.soft_reset()
    board.put(IMAGE, build_file(_application(), build_time=1))
    board.soft_reset()
    program = Program.load_lua("lfs_interrupted")
    program.run_to_reset(board, intervention=Intervention(after=0.45, what="power"))
    look = Program.load_lua("lfs_look")
    scenario.take(INTERRUPTED, look.run(board).text("modules"))
    board.soft_reset()
    error = board.reload_lfs(IMAGE)
    scenario.take(TAKEN_AGAIN, error or "taken")
    names = " ".join(sorted(name.removesuffix(".lua") for name in _application()))
    scenario.take(INTERRUPTED_THEN, look.run(board).text("modules"), limit=exactly(names))


@pytest.mark.holds("store.require", "store.file-first")
def test_require_takes_a_file_before_lfs(scenario: Scenario) -> None:
    """A module that is a file and in LFS: the loaders' order decides, and the firmware's own do not look into LFS."""
    _load(scenario, _probe("lfs"))
    pair = scenario.run(Program.load_lua("lfs_require"))
    for name, expected in (
        ("plain", "file"), ("behind.both", "file"), ("behind.lfs", "lfs"), ("ahead.both", "lfs"), ("plain.lfs", "none"),
    ):  # fmt: skip
        scenario.take(REQUIRED.of(name), *pair.text(name), limit=exactly(expected))
