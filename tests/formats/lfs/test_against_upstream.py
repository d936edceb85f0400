"""Byte for byte against the firmware's own compiler, where one was built.

HARNESS_LUAC_CROSS names NodeMCU's luac.cross (float), HARNESS_LUAC_CROSS_INT the one for integer firmware.
"""

from __future__ import annotations

import gzip
import os
import random
import subprocess
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.formats.lfs.chunk import write_lc
from harness.formats.lfs.compile import compile_lua
from harness.formats.lfs.read import read_image
from harness.formats.lfs.tokens import tokens_of
from harness.reference.nodemcu.lfs_build import build, read_sources
from tests.formats.lfs.generated_lua import lua_source
from tests.formats.lfs.lua_sources import APP, FILES
from tests.formats.lfs.test_image import DIGESTS, digest

FLOAT, INTEGER = os.environ.get("HARNESS_LUAC_CROSS", ""), os.environ.get("HARNESS_LUAC_CROSS_INT", "")

if not FLOAT and not INTEGER:
    pytest.skip("HARNESS_LUAC_CROSS names no luac.cross", allow_module_level=True)

needs_float = pytest.mark.skipif(not FLOAT, reason="HARNESS_LUAC_CROSS names no luac.cross")
needs_integer = pytest.mark.skipif(not INTEGER, reason="HARNESS_LUAC_CROSS_INT names no luac.cross.int")


def upstream(files: list[Path], out: Path, program: str, *options: str) -> bytes | None:
    """What upstream's compiler writes; None if it refuses the source."""
    done = subprocess.run([program, "-o", str(out), *options, *map(str, files)], capture_output=True, check=False)
    return out.read_bytes() if done.returncode == 0 else None


def same(files: list[Path], out: Path, program: str, *, integer: bool = False) -> None:
    expected = upstream(files, out, program, "-f")
    assert expected is not None
    theirs = gzip.decompress(expected)
    time = read_image(theirs).time
    ours = build(read_sources(files), integer=integer, build_time=time).relocatable()
    assert ours == theirs


@pytest.mark.holds("store.same-image")
@needs_float
@pytest.mark.parametrize("file", FILES + APP, ids=lambda file: file.stem)
def test_the_image_of_one_module(file: Path, tmp_path: Path) -> None:
    same([file], tmp_path / "x.img", FLOAT)


@needs_float
@pytest.mark.parametrize("file", FILES + APP, ids=lambda file: file.stem)
def test_the_recorded_digests_are_of_upstreams_images(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(file.parent)
    same([Path(file.name)], tmp_path / "x.img", FLOAT)
    assert DIGESTS[file.name] == digest(file)


@pytest.mark.holds("store.same-image", "store.host")
@needs_float
def test_the_image_of_many_modules(tmp_path: Path) -> None:
    same(APP, tmp_path / "x.img", FLOAT)
    same((FILES + APP)[:50], tmp_path / "y.img", FLOAT)


@pytest.mark.holds("store.absolute")
@needs_float
def test_an_absolute_image(tmp_path: Path) -> None:
    expected = upstream(APP, tmp_path / "x.img", FLOAT, "-a", "0x40280000")
    assert expected is not None
    image = build(read_sources(APP), build_time=read_image(expected).time)
    assert image.absolute(0x40280000) == expected


@needs_float
@pytest.mark.parametrize("file", FILES + APP, ids=lambda file: file.stem)
def test_a_compiled_chunk(file: Path, tmp_path: Path) -> None:
    assert write_lc(compile_lua(file.read_bytes(), str(file))) == upstream([file], tmp_path / "x.lc", FLOAT)


@pytest.mark.holds("store.compiled")
@needs_float
@pytest.mark.parametrize("options", [(), ("-s",)], ids=["lines", "stripped"])
def test_an_image_of_compiled_chunks(options: tuple[str, ...], tmp_path: Path) -> None:
    chunks = []
    for file in APP:
        chunks.append(tmp_path / (file.stem + ".lc"))
        assert upstream([file], chunks[-1], FLOAT, *options) is not None
    same(chunks, tmp_path / "x.img", FLOAT)


@needs_float
@pytest.mark.parametrize("file", [f for f in FILES + APP if f.stem != "shebang"], ids=lambda file: file.stem)
def test_other_line_breaks_between_the_same_tokens(file: Path, tmp_path: Path) -> None:
    choose = random.Random(file.stem)
    tokens = tokens_of(file.read_bytes())
    scattered = tmp_path / "scattered.lua"
    for density in (0.2, 0.8):
        parts = []
        for token in tokens:
            breaks = token.text != b"(" and choose.random() < density
            parts += [b"\n" * choose.choice([1, 1, 1, 2, 40, 70, 130, 9000]) if breaks else b" ", token.text]
        scattered.write_bytes(b"".join(parts))
        same([scattered], tmp_path / "x.img", FLOAT)


@needs_float
def test_both_refuse_more_than_fifty_locals(tmp_path: Path) -> None:
    source = tmp_path / "a.lua"
    for body in ("local v{} = 1\n", "local v{}\n"):
        for count in (50, 51):
            source.write_text("".join(body.format(i) for i in range(count)))
            refused = upstream([source], tmp_path / "a.lc", FLOAT) is None
            try:
                compile_lua(source.read_bytes(), "a.lua")
                assert not refused
            except UsageError:
                assert refused
            assert refused == (count == 51)


@pytest.mark.holds("store.integer")
@needs_integer
@pytest.mark.parametrize("file", FILES + APP, ids=lambda file: file.stem)
def test_the_image_for_integer_firmware(file: Path, tmp_path: Path) -> None:
    try:
        compile_lua(file.read_bytes(), file.name, integer=True)
    except UsageError as problem:
        pytest.skip(problem.message)
    same([file], tmp_path / "x.img", INTEGER, integer=True)


@needs_float
@pytest.mark.parametrize("seed", range(0, 200, 2))
def test_a_generated_source(seed: int, tmp_path: Path) -> None:
    source = tmp_path / "m.lua"
    source.write_bytes(lua_source(seed))
    same([source], tmp_path / "x.img", FLOAT)


@needs_integer
@pytest.mark.parametrize("seed", range(1, 200, 2))
def test_a_generated_source_for_integer_firmware(seed: int, tmp_path: Path) -> None:
    source = tmp_path / "m.lua"
    source.write_bytes(lua_source(seed, integer=True))
    same([source], tmp_path / "x.img", INTEGER, integer=True)
