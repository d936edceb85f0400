"""Images as another reader of the format sees them, and the modules taken back out of them."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from lupa import lua51

from harness.errors import UsageError
from harness.formats.lfs.chunk import Proto, write_stock
from harness.formats.lfs.compile import compile_lua
from harness.formats.lfs.container import pack_image, unpack_image
from harness.formats.lfs.lfs_image import build_image, module_name
from harness.formats.lfs.lineinfo import unpack
from harness.formats.lfs.read import read_image
from harness.reference.nodemcu.lfs_build import build, build_file
from tests.formats.lfs.independent_reader import IndependentImage
from tests.formats.lfs.lua_sources import APP, FILES, run

DIGESTS: dict[str, str] = json.loads((Path(__file__).parent / "digests.json").read_text())


def relocate(relocatable: bytes, base: int) -> bytes:
    """What the loader's second pass writes to flash that is mapped at ``base``: the image with its addresses.

    ``relocatable`` is what :func:`unpack_image` returned.
    """
    count = int.from_bytes(relocatable[4:8], "little") // 4
    words = list(struct.unpack_from(f"<{count}I", relocatable))
    flags = struct.unpack_from(f"<{(count + 31) // 32}I", relocatable, 4 * count)
    for at in range(count):
        if flags[at >> 5] >> (at & 31) & 1:
            words[at] = (4 * words[at] + base) & 0xFFFFFFFF
    return struct.pack(f"<{count}I", *words)


def as_plain(proto: Proto) -> dict[str, Any]:
    flags = (proto.upvalue_count, proto.parameters, proto.is_vararg, proto.max_stack)
    return {
        "source": proto.source,
        "line": proto.line_defined,
        "last": proto.last_line_defined,
        "flags": bytes(flags),
        "p": [as_plain(child) for child in proto.protos],
        "k": proto.constants,
        "code": proto.code,
        "lines": unpack(proto.packed_lines, len(proto.code)) if proto.packed_lines else [],
        "locvars": [(local.name, local.start_pc) for local in proto.locals],
        "upvalues": proto.upvalues,
    }


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_another_reader_accepts_the_image_and_finds_the_same_function(file: Path) -> None:
    container = build_file({file.name: file.read_bytes()}, build_time=1)
    other = IndependentImage(container)
    ours = read_image(container)
    assert list(other.modules()) == [file.stem.encode()]
    assert other.modules()[file.stem.encode()] == as_plain(ours.modules[file.stem])
    assert other.used == set(other.strings), "strings of nobody"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_module_taken_back_out_runs_as_its_source_does(file: Path) -> None:
    source = file.read_bytes()
    expected = run(source.replace(b"#!", b"--", 1) if source.startswith(b"#") else source, b"@" + file.name.encode())
    image = read_image(build_file({file.name: source}, build_time=1))
    assert run(image.chunk(file.stem), b"taken back") == expected
    assert expected.startswith(b"true"), "the source itself fails"


def digest(file: Path) -> str:
    """Of the image of one file, its build time 0."""
    return hashlib.sha256(build({file.name: file.read_bytes()}, build_time=0).relocatable()).hexdigest()


@pytest.mark.parametrize("file", FILES + APP, ids=lambda file: file.stem)
def test_the_image_is_the_one_that_upstreams_compiler_was_seen_to_write(file: Path) -> None:
    # The digests are checked against that compiler itself by test_against_upstream.py, where it is there.
    assert digest(file) == DIGESTS[file.name]


def test_all_sources_fit_one_image_and_share_their_strings() -> None:
    sources = {file.name: file.read_bytes() for file in FILES}
    container = build_file(sources, build_time=1_700_000_000)
    other = IndependentImage(container)
    image = read_image(container)
    assert [name.decode() for name in other.modules()] == list(image.modules) == [file.stem for file in FILES]
    assert image.time == other.main["k"][-1] == 1_700_000_000
    alone = sum(len(read_image(build_file({name: source})).strings) for name, source in sources.items())
    assert len(image.strings) < alone


@pytest.mark.holds("store.index")
def test_the_index_answers_with_the_module_or_with_time_and_names() -> None:
    image = read_image(build_file({"one.lua": b"return 11", "two.lua": b"return 22"}, build_time=77))
    ask = (
        b"local index = assert(loadstring(...)) local t, names = index() "
        b"return index('one')(), index('two')(), t, names[1], names[2], #names"
    )
    lua = lua51.LuaRuntime(encoding=None)
    assert lua.execute(ask, write_stock(image.index)) == (11, 22, 77, b"one", b"two", 2)


@pytest.mark.holds("store.absolute")
def test_an_absolute_image_is_the_relocatable_one_moved() -> None:
    sources = {file.name: file.read_bytes() for file in APP}
    image = build(sources, build_time=1)
    moved = read_image(image.absolute(0x40280000))
    still = read_image(image.relocatable())
    assert moved.base == 0x40280000
    assert still.base == 0
    assert (moved.modules, moved.strings) == (still.modules, still.strings)


@pytest.mark.holds("store.old-firmware")
def test_no_word_of_an_image_points_out_of_it() -> None:
    """So new firmware can read it where its region stays, or moves and the image is loaded again."""
    image = build({file.name: file.read_bytes() for file in APP}, build_time=1)
    low, high = 0x40210000, 0x402A0000
    one, other = (
        [
            word
            for (word,) in struct.iter_unpack("<I", image.absolute(base).ljust(-(-len(image.absolute(base)) // 4) * 4))
        ]
        for base in (low, high)
    )
    moved = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    assert len(moved) > 100
    assert all(b - a == high - low and low <= a < low + 4 * len(one) for a, b in moved)


def test_what_the_loader_writes_is_the_absolute_image_but_for_its_mark() -> None:
    image = build({file.name: file.read_bytes() for file in APP}, build_time=1)
    written = relocate(unpack_image(pack_image(image.relocatable())), 0x40290000)
    absolute = image.absolute(0x40290000)
    assert written[4:] == absolute[4:]
    assert absolute[0] - written[0] == 1
    assert read_image(written).base == 0x40290000


def test_a_function_held_twice_is_refused() -> None:
    image = build({"a.lua": b"return function() end, function() end"})
    index = image.words[2]
    module = image.words[image.words[index + 4]]
    functions = image.words[module + 4]
    image.words[functions + 1] = image.words[functions]
    with pytest.raises(UsageError, match="is in two others"):
        read_image(image.relocatable())


@pytest.mark.parametrize("address", [0, 0x40210002, 0x40400000, 0x402FFFFF + 0x20000])
def test_an_absolute_image_lies_in_mapped_flash(address: int) -> None:
    with pytest.raises(UsageError, match="absolute image cannot lie"):
        build({"a.lua": b""}).absolute(address)


def test_an_integer_image_holds_32_bit_numbers() -> None:
    source = b"return 7 / 2, 0xFFFFFFFF, 1 - 3, x - 9 / 4 * 2"
    container = build_file({"a.lua": source}, integer=True, build_time=5)
    other = IndependentImage(container, integer=True)
    assert other.modules()[b"a"]["k"] == [3, -1, -2, b"x", 4]
    assert read_image(container).integer


def test_a_syntax_error_names_file_and_line() -> None:
    with pytest.raises(UsageError, match=r"^dir/b\.lua:3: '=' expected near 'y'"):
        compile_lua(b"local x\n\nx y", "dir/b.lua")


def test_the_board_allows_fifty_locals_and_stock_lua_more() -> None:
    def locals_of(n: int) -> bytes:
        return "\n".join(f"local v{i} = {i}" for i in range(n)).encode()

    compile_lua(locals_of(50), "a.lua")
    with pytest.raises(UsageError, match=r"^a\.lua:51: .* more than 50 local variables .* 'v50'"):
        compile_lua(locals_of(51), "a.lua")
    compile_lua(b"do " + locals_of(30) + b" end do " + locals_of(30) + b" end", "a.lua")
    names = ",".join(f"v{i}" for i in range(51)).encode()
    with pytest.raises(UsageError, match="more than 50 local variables"):
        compile_lua(b"local " + names, "a.lua")


@pytest.mark.holds("store.fifty", "store.size")
def test_too_many_modules_and_too_large_images_are_refused() -> None:
    small = compile_lua(b"return 1", "a.lua")
    build_image([small] * 50, time=1)
    with pytest.raises(UsageError, match="51 modules"):
        build_image([small] * 51, time=1)
    large = compile_lua(b"return '" + b"x" * 4096 + b"'", "a.lua")
    with pytest.raises(UsageError, match=r"more than the LFS region's 4096"):
        build_image([large], time=1, max_size=4096)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        (b"@mod.lua", b"mod"),
        (b"@a/b/c.d.lua", b"c"),
        (b"@..hidden.lua", b"hidden"),
        (b"@a\\b.lua", b"b"),
        (b"@dir/...", b"dir/..."),
    ],
)
def test_a_module_is_named_after_its_file(source: bytes, name: bytes) -> None:
    assert module_name(source) == name


@pytest.mark.holds("store.include")
def test_included_strings_are_in_the_table_once() -> None:
    with_them = read_image(
        build({"a.lua": b"return print"}, include_strings=[b"__index", b"print", b"__index"]).relocatable()
    )
    without = read_image(build({"a.lua": b"return print"}).relocatable())
    assert set(with_them.strings) - set(without.strings) == {b"__index"}
    assert len(with_them.strings) == len(without.strings) + 1


@pytest.mark.holds("store.little-endian")
def test_the_same_input_and_time_give_the_same_file() -> None:
    sources = {file.name: file.read_bytes() for file in APP}
    assert build_file(sources, build_time=9) == build_file(sources, build_time=9)


@pytest.mark.parametrize("at", [0, 4, 8, 12, 16, 20, 40])
def test_a_damaged_image_is_refused_and_not_misread(at: int) -> None:
    data = bytearray(build({"a.lua": b"local t = {} return t.name, 5"}).relocatable())
    data[at : at + 4] = b"\xff\xff\xff\x7f"
    with pytest.raises(UsageError):
        read_image(bytes(data))


def test_an_interrupted_reload_is_recognised() -> None:
    data = bytearray(build({"a.lua": b"return 1"}).absolute(0x40280000))
    data[0] |= 8
    with pytest.raises(UsageError, match="reload was interrupted"):
        read_image(bytes(data))


def test_flash_content_after_the_image_does_not_matter() -> None:
    data = build({"a.lua": b"return 1"}).absolute(0x40280000)
    assert list(read_image(data + b"\xff" * 4096).modules) == ["a"]


def test_the_smallest_image_is_no_read_error_for_the_loader() -> None:
    assert len(pack_image(build({"a.lua": b""}, build_time=1).relocatable())) > 200


@pytest.mark.holds("store.lua53")
@pytest.mark.parametrize("start", [b"\x1bLua\x53\x0b\x19\x93\r\n\x1a\n", b"\x50\xa2\xfa\xfa"])
def test_an_image_of_lua_53_is_called_that(start: bytes) -> None:
    with pytest.raises(UsageError, match=r"Lua 5\.3 firmware.*neither reads nor builds"):
        read_image(start + bytes(200))
