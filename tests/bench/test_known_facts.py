"""What a board said is kept for people, and never trusted."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.bench.known_facts import keep, known, known_store
from harness.cli import main
from harness.runtimes.abilities import Abilities
from harness.runtimes.interface import Facts

FACTS = Facts("micropython", "v1.26.1", "a board\x1b[31m", 4, "A", 100_000, 0x806)
BENCH = "boards:\n- id: one\n  chip: esp32\n  runtime: micropython\n  virtual: {}\n"


def test_it_is_shown_by_boards_v_without_escapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boards.yaml").write_text(BENCH)
    before = CliRunner().invoke(main, ["boards", "-v"])
    assert "one: not asked yet" in before.output
    keep(tmp_path / ".harness", "one", FACTS, Abilities(base="", no_files="OSError 19", ctrl_c=False))
    shown = CliRunner().invoke(main, ["boards", "-v"])
    assert shown.exit_code == 0
    assert "files: none: OSError 19" in shown.output
    assert "Ctrl-C ends a busy loop: no" in shown.output
    assert "\x1b" not in shown.output
    assert "files:" not in CliRunner().invoke(main, ["boards"]).output


@pytest.mark.parametrize("content", ["", "{", "[]", '{"at": "x", "lines": []}', '{"at": 1}', "[" * 100_000])
def test_a_damaged_file_is_no_knowledge(tmp_path: Path, content: str) -> None:
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "one.json").write_text(content)
    assert known(tmp_path, "one") is None


@pytest.mark.parametrize(
    "lfs", ["null", "[]", "{}", '{"state": {"base": "x"}}', '{"state": 1, "own": 1, "problem": 1, "hint": 1}']
)
def test_a_damaged_store_is_no_knowledge_of_one_and_the_rest_stays(tmp_path: Path, lfs: str) -> None:
    (tmp_path / "facts").mkdir()
    (tmp_path / "facts" / "one.json").write_text(f'{{"at": 1, "lines": ["a line"], "lfs": {lfs}}}')
    assert known_store(tmp_path, "one") is None
    assert known(tmp_path, "one") == (1.0, ["a line"])


def test_a_folder_that_cannot_be_written_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "facts").write_text("in the way")
    keep(tmp_path, "one", FACTS, Abilities())
    assert known(tmp_path, "one") is None
