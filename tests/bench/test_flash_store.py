"""An image in the Lua Flash Store that new firmware does not find is told of, outside of the suites."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from harness.bench.attach import AttachedBoard, Options, attach
from harness.bench.flash_store import KeptStore, found_before, lines, look_at
from harness.bench.known_facts import known_store
from harness.cli import main
from harness.formats.lfs.region import FoundImage, find_image
from harness.inventory.load import load_bench
from harness.reference.nodemcu.lfs_build import build, build_file
from harness.runtimes.interface import LfsRuntime, LfsState
from harness.virtual.nodemcu.nodemcu_firmware import LFS_OFFSET, nodemcu_image

BENCH = """
boards:
  - id: lua
    chip: esp8266
    runtime: nodemcu
    virtual: {flash_size: 4MB}
    firmware: {path: firmware.bin}
    capabilities: [lfs]
"""
ELSEWHERE = 0xA0000
SOURCES = {"greeting.lua": b"return 'from flash'"}
MODULE = "print(node.LFS.get('greeting') and node.LFS.get('greeting')())"
STATE = LfsState(LFS_OFFSET, 0x402C0000, 0x20000, 4096, 1_700_000_000, "float")


def firmware(folder: Path, *, lfs_offset: int = LFS_OFFSET, lfs_size: int = 0x20000) -> None:
    (folder / "boards.yaml").write_text(BENCH)
    (folder / "firmware.bin").write_bytes(nodemcu_image(lfs_offset=lfs_offset, lfs_size=lfs_size))


def ready(folder: Path, told: list[tuple[str, str]], *, flash: bool = True) -> AttachedBoard:
    (board,) = load_bench(folder / "boards.yaml").boards
    options = Options(folder / ".harness", flash=flash)
    return attach(board, options, lambda *_: None, lambda kind, text: told.append((kind, text)))


def load_image(attached: AttachedBoard, name: str) -> None:
    assert isinstance(attached.runtime, LfsRuntime)
    attached.runtime.put(name, build_file(SOURCES, build_time=1_700_000_000))
    assert attached.runtime.reload_lfs(name) == ""


def lfs_words(told: list[tuple[str, str]]) -> list[str]:
    return [text for kind, text in told if kind == "lfs"]


@pytest.mark.holds("store.new-firmware")
def test_new_firmware_that_loses_the_image_is_told_until_one_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the run that writes it, by runs that write nothing, by ``boards -v`` and by ``doctor``."""
    told: list[tuple[str, str]] = []
    firmware(tmp_path)
    attached = ready(tmp_path, told)
    load_image(attached, "app.img")
    attached.close()
    assert lfs_words(told) == []

    firmware(tmp_path, lfs_offset=ELSEWHERE)
    attached = ready(tmp_path, told)
    assert attached.runtime.run(MODULE).stdout == b"nil\r\n"
    attached.close()
    (words,) = lfs_words(told)
    assert words.startswith("expected the LFS image that was there (")
    assert "at 0x0c0000" in words and "region is at 0x0a0000" in words
    assert "harness lfs build -m 131072" in words and "-a 0x402a0000" in words

    told.clear()
    ready(tmp_path, told, flash=False).close()
    assert lfs_words(told) == [words]
    monkeypatch.chdir(tmp_path)
    assert "LFS: expected the LFS image that was there" in " ".join(
        CliRunner().invoke(main, ["boards", "-v"]).output.split()
    )
    assert "lua: expected the LFS image" in " ".join(CliRunner().invoke(main, ["doctor"]).output.split())

    flashed = CliRunner().invoke(main, ["flash", "--boards", "lua"]).output
    assert "none is loaded: this firmware's region is at 0x0a0000" in " ".join(flashed.split())

    told.clear()
    attached = ready(tmp_path, told)
    load_image(attached, "app.img")
    assert attached.runtime.run(MODULE).stdout == b"from flash\r\n"
    attached.close()
    told.clear()
    ready(tmp_path, told).close()
    assert lfs_words(told) == []
    shown = CliRunner().invoke(main, ["boards", "-v"]).output
    assert "at 0x0a0000, float, built 2023-11-14, in a region of 131072 B" in " ".join(shown.split())


def test_an_image_of_the_harness_is_missed_by_nobody(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    firmware(tmp_path)
    attached = ready(tmp_path, told)
    load_image(attached, "hx_lfs.img")
    attached.close()
    kept = known_store(tmp_path / ".harness", "lua")
    assert kept is not None and kept.own and kept.state.used
    firmware(tmp_path, lfs_offset=ELSEWHERE)
    ready(tmp_path, told).close()
    assert lfs_words(told) == []


def test_firmware_without_a_region_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []
    firmware(tmp_path)
    attached = ready(tmp_path, told)
    load_image(attached, "app.img")
    used = attached.runtime.run("print(node.info('lfs').lfs_used)").stdout.decode().strip()
    attached.close()
    firmware(tmp_path, lfs_size=0)
    ready(tmp_path, told).close()
    assert [f"({used} B at 0x0c0000" in words and "has no LFS region" in words for words in lfs_words(told)] == [True]


def test_a_board_that_is_written_without_a_stub_is_not_read(tmp_path: Path) -> None:
    """The ESP8266's ROM alone reads no flash; what was kept tells of the image then."""
    told: list[tuple[str, str]] = []
    firmware(tmp_path)
    bench = tmp_path / "boards.yaml"
    bench.write_text(BENCH + "    flash: {stub: false}\n")
    attached = ready(tmp_path, told)
    load_image(attached, "app.img")
    attached.close()
    ready(tmp_path, told).close()
    firmware(tmp_path, lfs_offset=ELSEWHERE)
    bench.write_text(BENCH + "    flash: {stub: false}\n")
    ready(tmp_path, told).close()
    assert ["at 0x0a0000" in words for words in lfs_words(told)] == [True]


@pytest.mark.parametrize(
    ("now", "said", "words"),
    [
        (LfsState(LFS_OFFSET, 0, 0x20000, 0, 0, "integer"), "", "computes with integer numbers"),
        (LfsState(LFS_OFFSET, 0, 2048, 0, 0, "float"), "", "region has 2048 B"),
        (LfsState(LFS_OFFSET, 0, 2048, 4096, 0, "float"), "", "at most 2048 B"),
        (LfsState(LFS_OFFSET, 0, 0, 0, 0, "float"), "", "no LFS region"),
        (LfsState(LFS_OFFSET, 0, 0x20000, 0, 0, "float"), "Flash size check failed: 0x1", "for another address"),
        (LfsState(LFS_OFFSET, 0, 0x20000, 0, 0, "float"), "", ""),
    ],
)
def test_what_became_of_the_image_is_said(now: LfsState, said: str, words: str) -> None:
    kept = look_at(KeptStore(STATE), now, said)
    assert words in kept.problem if words else not kept.problem
    assert bool(kept.hint) == bool(kept.problem)
    assert ("--integer" in kept.hint) == (now.numbers == "integer")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Flash sig not correct: 0xfafaa152 vs 0xfafaa154", "for integer firmware"),
        ("Flash sig not correct: 0xfafaa15c vs 0xfafaa154", "cut off"),
        ("Flash sig not correct: 0xfafaa254 vs 0xfafaa154", "another format"),
        ("Flash sig not correct: 0x12345678 vs 0xfafaa154", "no image"),
        ("Flash sig not correct: x vs y vs z", ""),
        ("No LFS image loaded", ""),
        ("", ""),
    ],
)
def test_the_start_of_an_unknown_board_tells_of_an_image_that_does_not_fit(said: str, words: str) -> None:
    kept = look_at(None, LfsState(LFS_OFFSET, 0, 0x20000, 0, 0, "float"), said)
    assert words in kept.problem if words else not kept.problem


def test_an_erased_store_is_told_when_the_firmware_was_written_and_not_when_somebody_emptied_it() -> None:
    empty = LfsState(LFS_OFFSET, 0, 0x20000, 0, 0, "float")
    assert "since the firmware was written" in look_at(KeptStore(STATE), empty, "", written=True).problem
    emptied = look_at(KeptStore(STATE), empty, "")
    assert not emptied.problem and lines(emptied) == ["LFS: empty, in a region of 131072 B"]


def test_what_the_flash_held_counts_more_than_what_was_known() -> None:
    found = FoundImage(LFS_OFFSET, 0x20000, 512, integer=True)
    assert found_before(KeptStore(STATE), None) == KeptStore(STATE)
    assert found_before(KeptStore(STATE, own=True), FoundImage(STATE.base, 0x20000, STATE.used, False)).own  # type: ignore[union-attr]
    newer = found_before(KeptStore(STATE, own=True), found)
    assert newer is not None and (newer.state.used, newer.state.numbers, newer.own) == (512, "integer", False)


def test_the_flash_of_a_board_tells_where_its_image_lies() -> None:
    flash = bytearray(nodemcu_image().ljust(1 << 20, b"\xff"))

    def read(at: int, size: int) -> bytes:
        return bytes(flash[at : at + size])

    assert find_image(read) == FoundImage(LFS_OFFSET, 0x20000, 0, True)
    image = build(SOURCES, build_time=7).absolute(0x402C0000)
    flash[LFS_OFFSET : LFS_OFFSET + len(image)] = image
    assert find_image(read) == FoundImage(LFS_OFFSET, 0x20000, len(image), False)
    struct.pack_into("<B", flash, LFS_OFFSET, flash[LFS_OFFSET] | 8)
    assert find_image(read) == FoundImage(LFS_OFFSET, 0x20000, 0, False)
    assert find_image(lambda _at, size: b"\xff" * size) is None


@given(st.binary(max_size=2048))
def test_no_flash_content_is_too_strange_to_be_looked_at(content: bytes) -> None:
    found = find_image(
        lambda at, size: (content + bytes(size))[:size] if at == 0x10000 else content[:size].ljust(size, b"\0")
    )
    assert found is None or found.size
