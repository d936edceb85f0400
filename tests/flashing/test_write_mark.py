"""A write that was cut off is found, told and made good by the next run."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.bench.attach import Options, attach
from harness.bench.virtual_device import virtual_spec
from harness.flashing.mark import WriteMark
from harness.inventory.load import load_bench
from harness.virtual.bench import start

BENCH = """
boards:
  - id: board
    chip: {chip}
    runtime: micropython
    virtual: {{pace: fast}}
    firmware: {{build: virtual}}
    console: {{rts: {rts}}}
"""

#: Flashes, and kills itself with SIGKILL in the middle of the step that is named.
KILLED = """
import os, signal, sys
from pathlib import Path
from harness.bench.attach import Options, attach
from harness.inventory.load import load_bench
folder, step = Path(sys.argv[1]), sys.argv[2]
(board,) = load_bench(folder / "boards.yaml").boards
def report(text, done, total):
    if text == step and done * 3 >= total:
        os.kill(os.getpid(), signal.SIGKILL)
attach(board, Options(folder), report)
"""


@pytest.mark.parametrize(("chip", "step"), [("esp32", "write"), ("stm32f405", "write")])
def test_a_write_that_was_killed_is_told_and_made_good_by_the_next_run(chip: str, step: str, tmp_path: Path) -> None:
    (tmp_path / "boards.yaml").write_text(BENCH.format(chip=chip, rts=str(chip.startswith("stm32")).lower()))
    (board,) = load_bench(tmp_path / "boards.yaml").boards
    with start(virtual_spec(board, tmp_path)):
        killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), step], capture_output=True, timeout=60)
        assert killed.returncode == -signal.SIGKILL, killed.stderr[-1000:]
        told: list[str] = []
        attached = attach(board, Options(tmp_path), lambda text, *_: told.append(text))
        try:
            assert attached.runtime.run("print(6 * 7)").stdout == b"42\r\n"
            assert attached.flashed is not None
            (warning,) = attached.flashed.warnings
            assert "an earlier write of virtual firmware" in warning
            assert f"was cut off at step '{step}'" in warning
            assert any(text.endswith("comparing and writing again") for text in told)
            assert attached.flashed.written > 0
        finally:
            attached.close()
        again = attach(board, Options(tmp_path), lambda *_: None)
        assert again.flashed is not None
        assert (again.flashed.written, again.flashed.warnings) == (0, [])
        again.close()


def test_the_mark_stands_before_the_step_that_changes_the_flash_is_reported(tmp_path: Path) -> None:
    mark = WriteMark(tmp_path / "flashing", "board")
    seen: list[tuple[str, bool]] = []
    progress = mark.watched("a.bin", lambda step, *_: seen.append((step, bool(mark.found()))))
    for step in ("connect", "compare", "erase", "write"):
        progress(step, 0, 0)
    assert seen == [("connect", False), ("compare", False), ("erase", True), ("write", True)]
    mark.clear()
    assert mark.found() == ""


@pytest.mark.parametrize("note", [b"", b"{", b"[]", b'{"what": 1}', b"\xff" * 9000, b"[" * 4000])
def test_a_damaged_mark_still_tells_that_a_write_was_cut_off(note: bytes, tmp_path: Path) -> None:
    (tmp_path / "board.json").write_bytes(note)
    assert "an earlier write was cut off" in WriteMark(tmp_path, "board").found()


def test_what_a_mark_says_is_made_printable_and_short(tmp_path: Path) -> None:
    mark = WriteMark(tmp_path, "board")
    mark.watched("evil\x1b[2J" * 1000, lambda *_: None)("write", 1, 3)
    assert "\x1b" not in mark.found()
    assert len(mark.found()) < 400
    assert "1 of 3" in mark.found()


def test_a_folder_that_cannot_be_written_does_not_stop_a_flashing(tmp_path: Path) -> None:
    (tmp_path / "flashing").write_text("a file where the folder should be")
    seen: list[str] = []
    mark = WriteMark(tmp_path / "flashing", "board")
    mark.watched("a", lambda step, *_: seen.append(step))("write", 0, 0)
    mark.clear()
    assert seen == ["write"]
