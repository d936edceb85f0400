"""``harness lfs`` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from harness.cli import main
from harness.formats.lfs.read import read_image
from tests.formats.lfs.lua_sources import APP


def harness(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["lfs", *map(str, arguments)])


def test_build_then_inspect(tmp_path: Path) -> None:
    out = tmp_path / "lfs.img"
    built = harness("build", "-o", out, "--time", 1700000000, *APP)
    assert built.exit_code == 0, built.output
    inspected = json.loads(harness("inspect", out, "--json").stdout)
    assert inspected["time"] == 1700000000
    assert inspected["file_bytes"] == out.stat().st_size < inspected["flash_bytes"]
    modules = inspected["modules"]
    assert [module["name"] for module in modules] == [file.stem for file in APP]
    assert all(m["ram_saved"] == m["ram_from_file"] - m["ram_from_lfs"] > 0 for m in modules)
    table = harness("inspect", out, "--strings").stdout
    assert all(file.stem in table for file in APP)
    assert "'CONNACK'" not in table
    assert "'unacceptable protocol version'" in table


def test_the_same_build_time_gives_the_same_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harness("build", "-o", tmp_path / "a", "--time", 5, APP[0])
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "5")
    harness("build", "-o", tmp_path / "b", APP[0])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_raw_and_absolute_images_are_the_same_modules(tmp_path: Path) -> None:
    kinds: tuple[tuple[object, ...], ...] = ((), ("--raw",), ("-a", "0x40280000"))
    for number, options in enumerate(kinds):
        assert harness("build", "-o", tmp_path / str(number), *options, *APP[:3]).exit_code == 0
    images = [read_image((tmp_path / str(number)).read_bytes()) for number in range(len(kinds))]
    assert images[0].modules == images[1].modules == images[2].modules
    assert images[2].base == 0x40280000


def test_included_strings_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "strings").write_text("__index\n\nattempt to\n")
    harness("build", "-o", tmp_path / "x", "-i", tmp_path / "strings", APP[0])
    assert {b"__index", b"attempt to"} <= set(read_image((tmp_path / "x").read_bytes()).strings)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-m", "5000"], "not a multiple of 4096"),
        (["-m", "4096"], "more than the LFS region's 4096"),
        (["-m", "much"], "'much' is no number"),
        (["-a", "0x1000"], "absolute image cannot lie at 0x1000"),
        (["-i", "nowhere.txt"], "cannot read 'nowhere.txt'"),
        (["missing.lua"], "cannot read 'missing.lua'"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_two(options: list[str], message: str, tmp_path: Path) -> None:
    result = harness("build", "-o", tmp_path / "x", *options, *APP)
    assert result.exit_code == 2
    assert message in result.stderr.replace("\n", " ")
    assert not (tmp_path / "x").exists()


def test_a_syntax_error_has_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "bad.lua").write_text("local a = 1\na = = 2\n")
    result = harness("build", "-o", tmp_path / "x", tmp_path / "bad.lua")
    assert result.exit_code == 2
    assert "bad.lua:2: unexpected symbol near '='" in result.stderr


def test_inspect_says_what_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x7fELF" + bytes(100))
    result = harness("inspect", tmp_path / "x")
    assert result.exit_code == 2
    assert "no LFS image of Lua 5.1" in result.stderr


def test_modules_of_one_name_are_warned_of(tmp_path: Path) -> None:
    (tmp_path / "a.one.lua").write_text("return 1")
    (tmp_path / "a.two.lua").write_text("return 2")
    result = harness("build", "-o", tmp_path / "x", tmp_path / "a.one.lua", tmp_path / "a.two.lua")
    assert result.exit_code == 0
    assert "several modules 'a'" in result.stderr
