"""A board without auto-reset at a real terminal: the command asks for its buttons, waits, and goes on."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from harness.virtual.bench import running

BENCH = """
boards:
  - id: b
    chip: esp32
    runtime: micropython
    virtual: {pace: fast, faults: [{kind: lines-stuck}]}
    firmware: {build: virtual}
    flash: {before: manual}
    reset: {method: none}
"""
SUITE = """
from harness.judging.figures import Figure
from harness.judging.limits import exactly
from harness.kinds import COUNT

FIGURE = Figure("figure", COUNT)


def test_it_answers(scenario):
    scenario.board.run("print(6*7)", timeout=10.0)
    scenario.take(FIGURE, 1, limit=exactly(1))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "test_own.py").write_text(SUITE)
    return tmp_path


@pytest.mark.parametrize("arguments", [("flash",), ("run", "own")], ids=["flash", "run"])
def test_both_buttons_are_asked_for_at_a_terminal(folder: Path, arguments: tuple[str, ...]) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "COLUMNS": "160", "LINES": "40", "TERM": "xterm"}
    command = [sys.executable, "-m", "harness", *arguments]
    child = subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    said, asked = "", []
    try:
        while select.select([ours], [], [], 120)[0]:
            try:
                said += os.read(ours, 65536).decode("utf-8", "replace")
            except OSError:  # it has ended
                break
            for words, boot in (("hold BOOT (GPIO0)", True), ("press EN once to start it", False)):
                if words in said and words not in asked:
                    asked.append(words)
                    running(folder / ".harness" / "virtual")["b"].press_reset(boot=boot)
        assert child.wait(60) == 0, said[-2000:]
    finally:
        child.kill()
        child.wait()
        os.close(ours)
    assert asked == ["hold BOOT (GPIO0)", "press EN once to start it"]


def test_without_a_terminal_it_is_said_at_once(folder: Path) -> None:
    command = [sys.executable, "-m", "harness", "run", "own"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL)
    assert done.returncode == 3
    assert re.search(r"nobody\s+is\s+at\s+a\s+terminal", done.stdout)
    assert "hold BOOT (GPIO0), press EN once" not in done.stdout
