"""Line information, chunks and the container under generated input."""

from __future__ import annotations

import gzip
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.formats.lfs.chunk import LocVar, Proto, read_chunk, write_lc, write_stock
from harness.formats.lfs.compile import compile_lua
from harness.formats.lfs.container import LoaderRefusal, pack_image, unpack_image
from harness.formats.lfs.lfs_image import build_image
from harness.formats.lfs.lineinfo import LinePacker, pack, unpack
from harness.formats.lfs.traversal import in_table_order, string_hash
from tests.formats.lfs.lua_sources import APP

_lines = st.lists(st.one_of(st.integers(1, 300), st.integers(1, 1 << 20)), max_size=300)


@given(_lines)
@settings(max_examples=60, deadline=None)
def test_packed_lines_say_what_went_in(lines: list[int]) -> None:
    assert unpack(pack(lines), len(lines)) == lines


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=80))
@settings(max_examples=60, deadline=None)
def test_corrected_lines_count_when_the_deltas_fit_one_byte(events: list[tuple[int, int]]) -> None:
    packer = LinePacker()
    for emitted, corrected in events:
        packer.emit(emitted)
        packer.correct(corrected)
    assert unpack(packer.packed(), len(events)) == [corrected for _, corrected in events]


def test_a_correction_opens_a_group_even_on_the_line_before() -> None:
    packer = LinePacker()
    packer.emit(1)
    packer.emit(3)
    packer.correct(1)
    assert packer.packed() == b"\x01\xc0\x01"
    assert pack([1, 1]) == b"\x02"


def test_a_long_delta_is_taken_back_as_the_firmware_does() -> None:
    packer = LinePacker()
    packer.emit(1)
    packer.emit(131)  # stored in two bytes, 128 = 0 + (2 << 6), and the firmware takes back 2 << 7
    packer.correct(1)
    assert packer.packed() == b"\x01\xbe\x81\x01"
    assert unpack(packer.packed(), 2) == [1, 129]


@pytest.mark.parametrize(
    "packed", [b"\x80", b"\x7f", b"\x01\x00", b"\x02", b"\x01\x01\x01", b"\x80\xff\xff\xff\xff\xff\xff\x01"]
)
def test_damaged_lines_are_refused(packed: bytes) -> None:
    with pytest.raises(ValueError, match="line information"):
        unpack(packed, 1)


_strings = st.binary(max_size=40)
_constants = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False), _strings)


def _protos(children: st.SearchStrategy[list[Proto]]) -> st.SearchStrategy[Proto]:
    byte, word = st.integers(0, 255), st.integers(0, (1 << 31) - 1)

    @st.composite
    def proto(draw: st.DrawFn) -> Proto:
        code = draw(st.lists(st.integers(0, (1 << 32) - 1), min_size=1, max_size=8))
        lines = draw(st.one_of(st.none(), st.lists(st.integers(1, 9999), min_size=len(code), max_size=len(code))))
        return Proto(
            source=draw(_strings),
            line_defined=draw(word),
            last_line_defined=draw(word),
            upvalue_count=draw(byte),
            parameters=draw(byte),
            is_vararg=draw(byte),
            max_stack=draw(byte),
            code=code,
            constants=draw(st.lists(_constants, max_size=6)),
            protos=draw(children),
            packed_lines=pack(lines) if lines else b"",
            locals=draw(st.lists(st.builds(LocVar, _strings, word, word), max_size=3)),
            upvalues=draw(st.lists(_strings, max_size=3)),
        )

    return proto()


_trees = _protos(st.lists(_protos(st.just([])), max_size=3))


@given(_trees)
@settings(max_examples=50, deadline=None)
def test_a_chunk_says_what_went_in(proto: Proto) -> None:
    assert read_chunk(write_lc(proto), "x.lc") == proto
    assert read_chunk(write_stock(proto), "x.luac") == proto


@given(_trees, st.data())
@settings(max_examples=50, deadline=None)
def test_a_damaged_chunk_is_an_error_of_the_user_or_another_chunk(proto: Proto, data: st.DataObject) -> None:
    chunk = bytearray(write_lc(proto))
    at = data.draw(st.integers(0, len(chunk) - 1))
    chunk[at] ^= data.draw(st.integers(1, 255))
    try:
        read_chunk(bytes(chunk), "x.lc")
    except UsageError:
        return


@given(_trees)
@settings(max_examples=30, deadline=None)
def test_a_cut_chunk_is_refused(proto: Proto) -> None:
    chunk = write_lc(proto)
    for size in {0, 3, 12, len(chunk) // 2, len(chunk) - 1}:
        with pytest.raises(UsageError):
            read_chunk(chunk[:size], "x.lc")


def test_a_chunk_of_another_lua_is_named() -> None:
    with pytest.raises(UsageError, match=r"compiled by Lua 5\.3, expected 5\.1"):
        read_chunk(b"\x1bLua\x53\x00\x19\x93\r\n\x1a\n", "x.lc")
    with pytest.raises(UsageError, match="another kind of machine"):
        read_chunk(b"\x1bLua\x51\x00\x00\x04\x04\x04\x08\x00", "x.lc")


@given(st.lists(st.binary(max_size=6), max_size=200))
@settings(max_examples=60, deadline=None)
def test_a_traversal_meets_each_key_once(keys: list[bytes]) -> None:
    order = in_table_order(keys)
    assert sorted(order) == sorted(set(keys))


def test_a_hash_leaves_out_characters_of_long_strings() -> None:
    assert string_hash(b"x" * 64) == string_hash(b"yx" + b"x" * 62)
    assert string_hash(b"x" * 31) != string_hash(b"y" + b"x" * 30)


@given(
    st.one_of(
        st.binary(min_size=300, max_size=3000),
        st.builds(lambda b, n: b * n, st.binary(min_size=1), st.integers(300, 900)),
    )
)
@settings(max_examples=30, deadline=None)
def test_what_is_packed_is_a_gzip_file_of_it(data: bytes) -> None:
    packed = pack_image(data)
    assert gzip.decompress(packed) == data
    assert len(packed) > 200


def _image() -> bytes:
    return build_image([compile_lua(file.read_bytes(), file.name) for file in APP], time=1).relocatable()


IMAGE = _image()


def test_the_loader_gets_back_what_was_packed() -> None:
    assert unpack_image(pack_image(IMAGE)) == IMAGE


def test_a_match_beyond_sixteen_kilobytes_is_refused() -> None:
    noise = bytes(zlib.crc32(bytes((i & 255, i >> 8))) & 255 for i in range(20000))
    data = IMAGE[:2100] + noise + noise
    wide = zlib.compressobj(9, zlib.DEFLATED, 31)
    with pytest.raises(LoaderRefusal, match="invalid dictionary offset"):
        unpack_image(_with_length(wide.compress(data) + wide.flush(), len(IMAGE)))
    assert gzip.decompress(pack_image(data)) == data


def _with_length(container: bytes, length: int) -> bytes:
    return container[:-4] + length.to_bytes(4, "little")


def _fixed_block(*symbols: tuple[int, int]) -> bytes:
    bits = "1" + "10"
    for value, size in symbols:
        bits += format(value, f"0{size}b")
    bits += "0000000"
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8][::-1], 2) for i in range(0, len(bits), 8))


def test_a_match_that_reaches_the_first_byte_is_refused() -> None:
    # Three literals 'a' and a match of three at distance 3, in the fixed code; padded to the smallest file.
    literal, match = (0x30 + 0x61, 8), [(1, 7), (2, 5)]
    pad = [(0x30 + 0x62, 8)] * 200

    def container(before: int) -> bytes:
        body = _fixed_block(*[literal] * before, *match, *pad)
        out = b"a" * (before + 3) + b"b" * 200
        return (
            b"\x1f\x8b\x08\0\0\0\0\0\4\3"
            + body
            + zlib.crc32(out).to_bytes(4, "little")
            + len(out).to_bytes(4, "little")
        )

    assert gzip.decompress(container(3)) == b"a" * 6 + b"b" * 200
    with pytest.raises(LoaderRefusal, match="invalid dictionary offset"):
        unpack_image(container(3))
    with pytest.raises(LoaderRefusal, match="Incorrect LFS build type"):  # the match is allowed, the content is not
        unpack_image(container(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image[:1] + b"\xa2" + image[2:], "Incorrect LFS header version"),
        (lambda image: bytes([image[0] ^ 4]) + image[1:], "Incorrect LFS build type"),
        (lambda image: image[:3] + b"\xfb" + image[4:], "incorrect LFS header signature"),
        (lambda image: image + b"\0\0\0\0", "LFS length mismatch"),
    ],
)
def test_the_loader_says_what_is_wrong_with_an_image(change: object, message: str) -> None:
    assert callable(change)
    with pytest.raises(LoaderRefusal, match=message):
        unpack_image(pack_image(change(IMAGE)))


@pytest.mark.holds("store.size", "store.integer")
def test_the_loader_knows_its_region_and_its_build() -> None:
    packed = pack_image(IMAGE)
    with pytest.raises(LoaderRefusal, match="too big for configured LFS region"):
        unpack_image(packed, region_size=0x8000)
    with pytest.raises(LoaderRefusal, match="Incorrect LFS build type"):
        unpack_image(packed, integer=True)
    with pytest.raises(LoaderRefusal, match="read error"):
        unpack_image(packed[:200])
    with pytest.raises(LoaderRefusal, match="checksum error"):
        unpack_image(packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:])


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_no_damage_to_a_file_goes_unnoticed(data: st.DataObject) -> None:
    packed = bytearray(SMALL)
    at = data.draw(st.integers(10, len(packed) - 1))
    packed[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        assert unpack_image(bytes(packed)) == gzip.decompress(SMALL)
    except LoaderRefusal:
        return


SMALL = pack_image(build_image([compile_lua(APP[0].read_bytes(), "a.lua")], time=1).relocatable())
