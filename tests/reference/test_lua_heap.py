"""The heap of a Lua state in the target's sizes, held against sizes worked out by hand and by the LFS cost model."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats.lfs import lineinfo, target_layout
from harness.formats.lfs.compile import compile_lua
from harness.reference.nodemcu.lfs_cost import costs
from harness.reference.nodemcu.lua_heap import FLOAT, INTEGER, Sizes, packed_lines
from harness.reference.nodemcu.lua_reference import LuaReference

APP = sorted((Path(__file__).parents[2] / "fixtures" / "lua" / "app").glob("*.lua"))
KEPT = """
local slot = {0}
local function settled() collectgarbage() collectgarbage() return node.heap() end
local function kept(make) slot[1] = 0 local a = settled() slot[1] = make() return a - settled() end
"""


@pytest.fixture(scope="module")
def vm() -> LuaReference:
    return LuaReference()


def measured(vm: LuaReference, make: str) -> list[int]:
    result = vm.run(f"{KEPT} print(kept(function() {make} end))")
    assert result.stderr == b""
    return [int(word) for word in result.stdout.split()]


@pytest.mark.parametrize(
    ("make", "size"),
    [
        ("return {}", 32),
        ("return {1, 2, 3, 4}", 32 + 4 * 12),
        ("local t = {} t[1] = 1 t[2] = 1 t[3] = 1 return t", 32 + 4 * 12),
        ("return {x = 1}", 32 + 28),
        ("local t = {} for i = 1, 3 do t['x' .. i] = true end return t", 32 + 4 * 28 + 3 * (16 + 3)),
        ("return ('y'):rep(100)", 16 + 101),
        ("return coroutine.running() or false", 0),
        ("return newproxy()", 24),
    ],
)
def test_an_object_has_the_targets_size(vm: LuaReference, make: str, size: int) -> None:
    assert measured(vm, make) == [size]


@pytest.mark.holds("store.closure")
def test_a_closure_takes_its_header_and_its_upvalues_and_shares_its_prototype(vm: LuaReference) -> None:
    one = "local function make() local n = 0 return function() n = n + 1 end end"
    (single,) = measured(vm, f"{one} return make()")
    (double,) = measured(vm, f"{one} return {{make(), make()}}")
    # The prototype belongs to the program in both; the table has an array of two.
    assert single == 20 + 4 + 24
    assert double == 2 * single + 32 + 2 * 12


def test_a_thread_takes_its_stack(vm: LuaReference) -> None:
    (size,) = measured(vm, "return coroutine.create(print)")
    assert size == FLOAT.thread + 12 * 45 + 24 * 8  # Lua's first stack: 40 slots and 5 to spare, 8 calls


@pytest.mark.holds("store.gc")
def test_garbage_counts_until_it_is_collected(vm: LuaReference) -> None:
    result = vm.run(
        "collectgarbage() collectgarbage() collectgarbage('stop') local a = node.heap() "
        "do local s = ('z'):rep(5000) end local b = node.heap() "
        "collectgarbage('restart') collectgarbage() print(a - b, a - node.heap())"
    )
    with_garbage, without = map(int, result.stdout.split())
    assert with_garbage == 16 + 5001 and without <= 0


def test_names_of_locals_are_not_kept_and_a_librarys_name_is_once(vm: LuaReference) -> None:
    short, long = (measured(vm, f"return loadstring('local {name} = 1')") for name in ("a", "a" * 60))
    assert long == short  # the source name is the program's own constant in both
    (first,) = measured(vm, "return 'toBase64'")
    assert first == 0  # the program's own constant already
    (used,) = measured(vm, "return loadstring('return bme.setup', '=x')")
    (again,) = measured(vm, "return loadstring('return gpio.trig', '=x')")
    assert again - used == (16 + 5) * 2 - (16 + 4 + 16 + 6)


@pytest.mark.parametrize("path", APP, ids=lambda path: path.stem)
def test_the_second_of_a_module_takes_its_code_to_the_byte(vm: LuaReference, path: Path) -> None:
    """Two ways to the same figure: the host state's memory, and the compiled functions of an LFS image. All strings of
    the second one are there."""
    source = path.read_bytes()
    vm.put("module.lua", source)
    (one,) = measured(vm, "return loadfile('module.lua')")
    (both,) = measured(vm, "return {(loadfile('module.lua')), (loadfile('module.lua'))}")
    (expected,) = costs({"module": compile_lua(source, "module.lua").without_names()})
    assert both - one == expected.code + target_layout.table(array=2)
    # Strings that something else holds already are not paid for: at most all of them.
    assert expected.code <= one <= expected.in_ram


def test_words_of_the_language_are_strings_and_names_of_metamethods_are_there(vm: LuaReference) -> None:
    """NodeMCU's lexer keeps no reserved words (``llex.c``); names of metamethods are there at the start (``ltm.c``)."""
    (word,) = measured(vm, "return loadstring(\"return 'while', 'until'\", '=x')")
    (name,) = measured(vm, "return loadstring(\"return '__div', '__unm'\", '=x')")
    assert word - name == 2 * target_layout.string(5)


@given(st.lists(st.integers(1, 20_000), max_size=400))
@settings(max_examples=200)
def test_packed_lines_take_what_the_packer_makes(lines: list[int]) -> None:
    assert packed_lines(lines) == (len(lineinfo.pack(lines)) + 1 if lines else 0)


@given(st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 300)), max_size=8))
@settings(max_examples=100)
def test_runs_of_one_line_are_split_as_the_packer_splits_them(runs: list[tuple[int, int]]) -> None:
    lines = [line for line, count in runs for _ in range(count)]
    assert packed_lines(lines) == (len(lineinfo.pack(lines)) + 1 if lines else 0)


def test_integer_firmware_has_smaller_values() -> None:
    assert (FLOAT.value, FLOAT.node, FLOAT.upvalue) == (12, 28, 24)
    assert (INTEGER.value, INTEGER.node, INTEGER.upvalue) == (8, 20, 20)


@pytest.mark.parametrize(("sizes", "integer"), [(FLOAT, False), (INTEGER, True)])
def test_the_model_and_the_structures_agree(sizes: Sizes, integer: bool) -> None:
    """Two lists of sizes: the heap model's, and those added up from the fields of the firmware's structures."""
    assert sizes.value == target_layout.value(integer=integer)
    assert sizes.node == target_layout.table(nodes=1, integer=integer) - target_layout.table(integer=integer)
    assert sizes.upvalue == target_layout.upvalue(integer=integer)
    assert (sizes.table, sizes.closure) == (target_layout.table(), target_layout.lua_closure())
    assert (sizes.string + 1, sizes.userdata) == (target_layout.string(0), target_layout.userdata())
    assert (sizes.proto, sizes.local) == (target_layout.prototype(), target_layout.local_name())
