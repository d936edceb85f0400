"""pytest takes two files of tests of one name for one, where their folders are no packages, and runs only the first."""

from __future__ import annotations

from collections import Counter
from pathlib import Path


def test_each_file_of_tests_can_be_collected_beside_all_others() -> None:
    files = [file for file in Path(__file__).parent.rglob("test_*.py") if not (file.parent / "__init__.py").exists()]
    assert len(files) > 100
    assert [name for name, count in Counter(file.name for file in files).items() if count > 1] == []
