"""Which strings to preload: what modules make when they run, and what an image that holds them saves."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli.lfs import lfs
from harness.errors import UsageError
from harness.formats.lfs.read import read_image
from harness.formats.lfs.target_layout import FIXED_STRINGS
from harness.reference.nodemcu.lfs_strings import advise

MAKES = b"local t = {} for i = 1, 3 do t['made_' .. i] = ('long '):rep(i + 4) end return t"


@pytest.mark.holds("store.preload", "store.getstrings")
def test_strings_that_modules_make_are_found_and_what_they_take_is_measured() -> None:
    advice = advise({"makes.lua": MAKES, "plain.lua": b"return {held = 'in the image'}"})
    made = [b"made_%d" % i for i in (1, 2, 3)] + [b"long " * (i + 4) for i in (1, 2, 3)]
    assert advice.modules == sorted(made)
    assert advice.saved == sum(17 + len(text) for text in made)
    assert advice.firmware == list(FIXED_STRINGS)


def test_modules_that_make_none_need_none() -> None:
    advice = advise({"plain.lua": b"return {held = 'in the image'}"})
    assert (advice.modules, advice.saved) == ([], 0)


def test_a_module_that_does_not_return_is_named() -> None:
    with pytest.raises(UsageError, match="module 'busy' does not return"):
        advise({"busy.lua": b"while true do end"})


def test_the_command_writes_a_file_for_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("makes.lua").write_bytes(MAKES)
    shown = CliRunner().invoke(lfs, ["strings", "-o", "preload.txt", "makes.lua"], catch_exceptions=False)
    assert "6 strings that the modules make: 210 bytes of RAM saved, measured" in shown.output
    built = CliRunner().invoke(lfs, ["build", "-i", "preload.txt", "-o", "x.img", "makes.lua"], catch_exceptions=False)
    assert built.exit_code == 0
    assert {b"made_1", b"__index", b"not enough memory"} <= set(read_image(Path("x.img").read_bytes()).strings)
