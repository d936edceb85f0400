"""From an empty folder to a scenario of one's own, by the words of docs/own-suites.md."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import main
from harness.errors import UsageError
from harness.runtimes.program import Program

PAGE = (Path(__file__).parents[2] / "docs" / "own-suites.md").read_text("utf-8")


def run(folder: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", module, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_the_first_scenario_of_ones_own_is_green_at_once(tmp_path: Path) -> None:
    assert run(tmp_path, "harness", "init", "--virtual").returncode == 0
    assert run(tmp_path, "harness", "new", "suite", "mine").returncode == 0
    done = run(tmp_path, "harness", "run", "mine", "--boards", "vesp32", "--json", "out.json")
    assert done.returncode == 0, done.stdout + done.stderr
    (scenario,) = json.loads((tmp_path / "out.json").read_text())["boards"][0]["scenarios"]
    assert [m["name"] for m in scenario["measurements"]] == ["mine.heap", "mine.time"]
    assert run(tmp_path, "pytest", "mine", "--boards", "vesp32", "--no-flash", "-q").returncode == 0
    again = run(tmp_path, "harness", "new", "suite", "mine")
    assert (again.returncode, "already" in again.stderr) == (2, True)


def test_the_page_shows_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["new", "suite", "mine"]).exit_code == 0
    program, suite, *_ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert program in Path("mine/mine.py").read_text()
    written = Path("mine/test_mine.py").read_text()
    for line in suite.splitlines():
        assert line in written


@pytest.mark.parametrize("name", ["My", "a b", "../a", "class", "1a", "reload"])
def test_names_that_are_none_for_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(main, ["new", "suite", name]).exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_found_beside_its_suite_first(tmp_path: Path) -> None:
    def load(name: str) -> str:
        """What a suite in ``tmp_path`` gets."""
        suite: dict[str, object] = {"__file__": str(tmp_path / "test_it.py"), "Program": Program}
        exec(compile(f"found = Program.load({name!r}).source", "test_it.py", "exec"), suite)
        return str(suite["found"])

    (tmp_path / "programs").mkdir()
    (tmp_path / "programs" / "allocations.py").write_text("mine = 1\n")
    assert load("allocations") == "mine = 1\n"
    (tmp_path / "allocations.py").write_text("beside = 1\n")
    assert load("allocations") == "beside = 1\n"
    with pytest.raises(UsageError, match=r"no program 'alocations.py'") as told:
        load("alocations")
    assert "allocations" in told.value.hint
