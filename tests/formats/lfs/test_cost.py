"""What modules take in RAM, with the target's sizes."""

from __future__ import annotations

from harness.formats.lfs.compile import compile_lua
from harness.formats.lfs.read import read_image
from harness.reference.nodemcu.lfs_build import build
from harness.reference.nodemcu.lfs_cost import costs


def test_the_cost_is_that_of_the_objects_on_the_target() -> None:
    # GETGLOBAL, RETURN, RETURN; one constant; one group of lines. Strings: "name" and "@a.lua".
    (cost,) = costs({"a": compile_lua(b"return name", "a.lua")})
    assert cost.prototypes == 72 + 3 * 4 + 12 + 2
    assert cost.strings == (16 + 4 + 1) + (16 + 6 + 1)
    assert (cost.closure, cost.from_lfs) == (20, 20)
    assert cost.saved == cost.prototypes + cost.strings


def test_numbers_of_integer_firmware_are_smaller() -> None:
    proto = compile_lua(b"return 70000, 80000", "a.lua", integer=True)
    (small,), (large,) = costs({"a": proto}, integer=True), costs({"a": proto})
    assert large.prototypes - small.prototypes == 2 * 4


def test_functions_in_functions_count() -> None:
    (outer,) = costs({"a": compile_lua(b"return function() return function() end end", "a.lua")})
    assert outer.functions == 3
    assert outer.prototypes > 3 * 72


def test_a_string_of_several_modules_counts_once() -> None:
    first, second = costs({"a": compile_lua(b"x = 1", "a.lua"), "b": compile_lua(b"x = 1", "b.lua")})
    assert first.strings - second.strings == 16 + 1 + 1


def test_an_image_costs_what_its_modules_cost() -> None:
    sources = {"a.lua": b"local x = 1 return function() return x end", "b.lua": b"return 'text'"}
    direct = costs({name[0]: compile_lua(source, name) for name, source in sources.items()})
    assert costs(read_image(build(sources).relocatable()).modules) == direct


def test_a_string_that_something_has_already_takes_nothing() -> None:
    proto = compile_lua(b"return first, second, __index", "a.lua")
    (free,), (held,) = costs({"a": proto}), costs({"a": proto}, held=[b"second"])
    assert free.strings == sum(16 + 1 + len(text) for text in ("first", "second", "@a.lua"))  # the firmware has __index
    assert (free.strings - held.strings, free.blocks - held.blocks) == (16 + 7, 1)
    assert (free.code, free.code) == (held.code, free.in_ram - free.strings)


def test_blocks_are_counted_with_their_vectors() -> None:
    (cost,) = costs({"a": compile_lua(b"return 1", "a.lua")})
    # The closure, the prototype with constants, code and lines, and the source's name.
    assert cost.blocks == 1 + 4 + 1
