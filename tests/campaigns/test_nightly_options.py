"""What ``harness nightly`` refuses before anything is begun."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main

BENCH = """\
boards:
  - {id: quick, chip: esp32, runtime: micropython, virtual: {}}
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "boards.yaml").write_text(BENCH)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--night", "tonight"], "say --lab as well"),
        (["--lab", "--resume"], "goes on by itself"),
        (["--lab", "--night", "../up"], "'../up' is no name"),
        (["--lab", "--night", "n" * 61], "at most 60"),
    ],
)
def test_options_that_make_no_night(options: list[str], words: str, folder: Path) -> None:
    done = CliRunner().invoke(main, ["nightly", "reload", *options])
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert not (folder / ".harness").exists()


def test_a_night_is_not_shared_without_its_store(folder: Path) -> None:
    """Two computers that cannot hear of each other would both run everything."""
    pytest.importorskip("psycopg")
    server = f"postgresql://lab@/results?host={folder / 'nobody'}"
    done = CliRunner().invoke(main, ["nightly", "reload", "--lab", "--store", server])
    assert done.exit_code == 3, done.output
    assert "needs its store" in done.output
    assert "waiting for the VM" not in done.output, "no board was begun"
