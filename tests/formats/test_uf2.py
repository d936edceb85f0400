"""UF2 files: whole ones are taken for a chip that nobody knows, truncated and damaged ones are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.formats import uf2
from harness.formats.inspect_image import require_for


@given(st.binary(min_size=1, max_size=2000), st.data())
def test_a_whole_file_is_taken_and_one_that_was_cut_is_not(content: bytes, data: st.DataObject) -> None:
    file = uf2.build(content)
    assert uf2.problem(file) == ""
    cut = data.draw(st.integers(1, len(file) - 1))
    assert "truncated" in uf2.problem(file[:cut])


@given(st.binary(min_size=1, max_size=600), st.data())
def test_a_block_that_lost_its_signs_is_told(content: bytes, data: st.DataObject) -> None:
    file = bytearray(uf2.build(content))
    block = data.draw(st.integers(0, len(file) // uf2.BLOCK - 1))
    file[block * uf2.BLOCK + data.draw(st.sampled_from((0, 4, 511)))] ^= 0xFF
    assert uf2.problem(bytes(file)) == f"its block at byte {block * uf2.BLOCK} is damaged"


@given(st.binary(max_size=1500))
def test_anything_at_all_is_answered_in_words(data: bytes) -> None:
    assert isinstance(uf2.problem(data), str)


def test_files_for_two_families_in_one() -> None:
    assert uf2.problem(uf2.build(b"a" * 300) + uf2.build(b"b" * 900)) == ""


@pytest.mark.parametrize("data", [uf2.build(b"x" * 300), b"\x7fELF", b":020000", b"raw"])
def test_a_chip_that_nobody_knows_gets_any_firmware(data: bytes) -> None:
    assert require_for("generic", 0, data, None, name="f").name == "f"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"<!doctype html>", "expected firmware, found an HTML or XML page"),
        (b"PK\x03\x04", "found a ZIP archive"),
        (uf2.build(b"x" * 900)[:1024], "2 of 4 blocks are there"),
    ],
)
def test_what_is_no_firmware_or_cut_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        require_for("generic", 0, data, None, name="f")
