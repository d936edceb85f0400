"""Which test programs are found."""

from pathlib import Path

import pytest

from harness.campaigns.conformance.conformance_programs import collect
from harness.errors import UsageError


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")


def test_programs_are_found_below_a_folder_in_order_and_with_their_expectation(tmp_path: Path) -> None:
    make(tmp_path, "b.py", "a/z.py", "a/z.py.exp", "a/a.py", "note.txt", ".git/x.py", "a/__pycache__/y.py")
    found = collect([tmp_path])
    assert [program.name for program in found] == ["b.py", "a/a.py", "a/z.py"]
    assert [program.expected is not None for program in found] == [False, False, True]


def test_a_program_named_twice_runs_once(tmp_path: Path) -> None:
    make(tmp_path, "a.py", "b.py")
    found = collect([tmp_path / "b.py", tmp_path])
    assert [program.path.name for program in found] == ["b.py", "a.py"]


def test_a_link_that_leads_in_a_circle_is_not_followed(tmp_path: Path) -> None:
    make(tmp_path, "sub/a.py")
    (tmp_path / "sub" / "again").symlink_to(tmp_path)
    assert [program.name for program in collect([tmp_path])] == ["sub/a.py"]


@pytest.mark.parametrize("name", ["nothing", "empty"])
def test_no_program_is_an_error_that_says_where_was_looked(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=name):
        collect([tmp_path / name])
