"""The commands and outputs that docs/interleaving.md shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main

_DOC = Path(__file__).parents[2] / "docs" / "interleaving.md"


def documented() -> list[tuple[str, str]]:
    """Each command's words after ``harness explore``, and what it is said to print."""
    return re.findall(r"\$ harness explore ([^\n]+)\n(.*?)\n\n", _DOC.read_text(), re.DOTALL)


def printed(monkeypatch: pytest.MonkeyPatch, command: str) -> list[str]:
    """What the command prints now, as :func:`words`."""
    monkeypatch.setenv("COLUMNS", "120")
    return words(CliRunner().invoke(main, ["explore", *command.split()]).stdout)


def words(text: str) -> list[str]:
    """Words and order; how many points there are moves with every change of the build."""
    return re.sub(r"\b\d[\d.]*\b", "N", " ".join(text.split())).split()
