"""Imports between rooms point one way, and the lint step says so when one does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def _lint(tree: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _LINT, "--config", "pyproject.toml", "--no-cache"],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_rooms_as_they_are(tree: Path) -> None:
    done = _lint(tree)
    assert done.returncode == 0, done.stdout
    assert "1 kept, 0 broken" in done.stdout


def test_an_import_that_points_the_other_way_is_told(tree: Path) -> None:
    with (tree / "harness" / "link" / "session.py").open("a") as file:
        file.write("\nfrom harness.cli import main as _main\n")
    done = _lint(tree)
    assert done.returncode == 1
    assert "harness.link.session -> harness.cli" in done.stdout


def test_a_room_that_the_contract_does_not_know_is_told(tree: Path) -> None:
    (tree / "harness" / "attic").mkdir()
    (tree / "harness" / "attic" / "__init__.py").write_text('"""Not in the contract."""\n')
    done = _lint(tree)
    assert done.returncode == 1
    assert "attic" in done.stdout + done.stderr
