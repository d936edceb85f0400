"""Generated sources: another reader accepts their images, and what is taken back out runs as the source does."""

from __future__ import annotations

import re

import pytest
from lupa import lua51

from harness.errors import UsageError
from harness.formats.lfs.compile import compile_lua
from harness.formats.lfs.read import read_image
from harness.reference.nodemcu.lfs_build import build_file
from tests.formats.lfs.generated_lua import damaged, lua_source
from tests.formats.lfs.independent_reader import IndependentImage
from tests.formats.lfs.lua_sources import run
from tests.formats.lfs.test_image import as_plain


@pytest.mark.holds("store.host")
@pytest.mark.parametrize("dozen", range(14))
def test_a_generated_module_runs_as_its_source(dozen: int) -> None:
    for seed in range(12 * dozen, 12 * dozen + 12):
        source = lua_source(seed)
        container = build_file({"m.lua": source}, build_time=1)
        other = IndependentImage(container)
        ours = read_image(container)
        assert other.modules()[b"m"] == as_plain(ours.modules["m"]), seed
        assert other.used == set(other.strings), f"strings of nobody: seed {seed}"
        expected = run(source, b"@m.lua")
        assert expected.startswith(b"true"), f"the source itself fails: seed {seed}"
        assert run(ours.chunk("m"), b"taken back") == expected, seed


@pytest.mark.parametrize("dozen", range(8))
def test_a_generated_module_for_integer_firmware_is_an_image(dozen: int) -> None:
    for seed in range(12 * dozen, 12 * dozen + 12):
        container = build_file({"m.lua": lua_source(seed, integer=True)}, integer=True, build_time=1)
        other = IndependentImage(container, integer=True)
        assert other.modules()[b"m"] == as_plain(read_image(container).modules["m"]), seed


@pytest.mark.parametrize(("count", "breaks"), [(50, 1), (25550, 1), (25551, 40), (27000, 1), (45000, 40)])
def test_a_constructor_of_many_items(count: int, breaks: int) -> None:
    # From the 512th batch of 50 on, SETLIST has its number in a word of its own.
    items = "".join("1," + "\n" * (at % (count // breaks) == 0) for at in range(count))
    source = b"local t = {" + items.encode() + b"} return #t, t[1], t[" + str(count).encode() + b"], t[25551]"
    container = build_file({"m.lua": source}, build_time=1)
    other = IndependentImage(container).modules()[b"m"]
    stock = IndependentStockLines(source)
    assert other["code"] == stock.code
    assert other["lines"] == stock.lines
    assert run(read_image(container).chunk("m"), b"taken back") == run(source, b"@m.lua")


class IndependentStockLines:
    """Instructions and lines of a source's main function as the host's ``string.dump`` has them."""

    def __init__(self, source: bytes) -> None:
        lua = lua51.LuaRuntime(encoding=None)
        dump: bytes = lua.execute(b"local s = ... return string.dump(assert(loadstring(s, '@m.lua')))", source)
        at = 12 + 8 + int.from_bytes(dump[12:20], "little") + 8 + 4
        count = int.from_bytes(dump[at : at + 4], "little")
        words = memoryview(dump[at + 4 : at + 4 + 4 * count]).cast("I")
        self.code = list(words)
        # From the end: no upvalues, the local `t` (size, name, two places), the lines.
        end = len(dump) - 4 - (8 + 2 + 8) - 4
        self.lines = list(memoryview(dump[end - 4 * count : end]).cast("I"))


@pytest.mark.parametrize("integer", [False, True])
@pytest.mark.parametrize("part", range(6))
def test_a_damaged_source_is_refused_as_lua_refuses_it(part: int, integer: bool) -> None:
    load = lua51.LuaRuntime(encoding=None).eval(b"function(s) return select(2, loadstring(s, '@m.lua')) end")
    refused = 0
    for seed in range(50 * part, 50 * part + 50):
        source = damaged(seed, integer=integer)
        problem = load(source)
        try:
            compile_lua(source, "m.lua", integer=integer)
            assert problem is None, seed
        except UsageError as refusal:
            refused += 1
            only_here = re.search("more than 50 local|malformed number", refusal.message)
            line = int(refusal.message.split(":")[1])
            if problem is None:
                assert only_here, seed
            elif not only_here:
                assert refusal.message == problem.decode("utf-8", "replace"), seed
            else:
                assert line <= int(problem.split(b":")[1]), seed
    assert refused > 10


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("local {49}\nlocal x, y\n= 1, 2", "3: main function has more than 50 local variables"),
        ("local {49}\nlocal x,\ny\n\n= 1, 2", "5: main function has more than 50 local variables"),
        ("local {50}\nlocal x", "2: main function has more than 50 local variables"),
        ("local {50}\nlocal x -- a\n-- b\n", "4: main function has more than 50 local variables"),
        ("local {48} for i\n=\n1, 2 do end", "2: main function has more than 50 local variables"),
        ("local {46}\nfor k, v\nin pairs(t) do end", "3: main function has more than 50 local variables"),
        ("local {46}\nfor k in pairs(t) do end", None),
        ("\nfunction\nf({47}, ...) local {3} end", "3: function at line 2 has more than 50 local variables"),
        ("\nfunction f({47}, ...) local {2} end", None),
        ("\nfunction o:f({49}) local x\nend", "3: function at line 2 has more than 50 local variables"),
        ("\nlocal function\nf\n({50}) local x\nend", "5: function at line 4 has more than 50 local variables"),
        ("\nlocal f = function\n({50}) local x = 1\nend", "3: function at line 3 has more than 50 local variables"),
        ("do local {50} end do local {50} end if x then local {50} else local {50} end", None),
        ("while x do local {50} end repeat local {50} until x local {50}", None),
        ("local {49} local function f() end local {1}", "1: main function has more than 50 local variables"),
        ("local {49} local a = function() local {50} end", None),
        ("local {50}\nx x\nlocal y", "2: '=' expected near 'x'"),
        ("local {50}\nlocal y\nx x", "3: main function has more than 50 local variables"),
    ],
)
def test_the_limit_of_locals_is_found_where_upstream_finds_it(source: str, message: str | None) -> None:
    # Lines as luac.cross of commit 36cbf9f names them.
    text = re.sub(r"\{(\d+)\}", lambda m: ", ".join(f"n{i}" for i in range(int(m[1]))), source).encode()
    if message is None:
        compile_lua(text, "a.lua")
    else:
        with pytest.raises(UsageError, match="^a.lua:" + message):
            compile_lua(text, "a.lua")
