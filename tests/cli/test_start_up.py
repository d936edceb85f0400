"""The commands open at once: what a command does not need is not imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
from click.testing import CliRunner

from harness.cli import COMMANDS, main
from harness.reference.explore.explorer import Limits

ROOT = Path(__file__).parents[2]
HEAVY = {"esptool", "pydantic", "rich", "serial", "sqlalchemy", "wasmtime", "yaml", "cryptography", "lupa", "littlefs"}


_TELL = """
import atexit, runpy, sys
atexit.register(lambda: open("modules.txt", "w").write("\\n".join(sys.modules)))
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def _imported(arguments: list[str], tmp_path: Path) -> set[str]:
    """The modules that ``python -m`` with ``arguments`` has imported at its end."""
    subprocess.run(
        [sys.executable, "-c", _TELL, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
    return set((tmp_path / "modules.txt").read_text().split())


def _heavy(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names} & HEAVY


def test_the_overview_imports_click_and_no_command(tmp_path: Path) -> None:
    names = _imported(["harness", "--help"], tmp_path)
    assert not _heavy(names)
    ours = {name for name in names if name.startswith("harness.")}
    assert ours == {
        "harness.cli",
        "harness.cli.options",
        "harness.errors",
        "harness.no_secrets",
        "harness.standard_streams",
    }


def test_the_help_of_no_command_imports_anything_heavy(tmp_path: Path) -> None:
    (tmp_path / "all_helps.py").write_text(
        "from click.testing import CliRunner\nfrom harness.cli import COMMANDS, main\n"
        "for name in COMMANDS:\n    assert CliRunner().invoke(main, [name, '--help']).exit_code == 0\n"
    )
    names = _imported(["all_helps"], tmp_path)
    assert {f"harness.cli.{name}" for name in COMMANDS} < names
    assert not _heavy(names)


def test_every_command_has_a_line_and_a_file_and_every_file_a_command() -> None:
    files = {path.stem for path in (ROOT / "harness" / "cli").glob("*.py")} - {
        "__init__",
        "options",
        "findings",
        "reference_builds",
        "steps",
    }
    assert files == set(COMMANDS)
    shown = CliRunner().invoke(main, ["--help"]).output
    for name, line in COMMANDS.items():
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.name == name
        assert command.help
        assert f"{name:11}  {line}"[:78] in shown


def test_the_bounds_that_the_explorer_names_are_its_own() -> None:
    command = main.get_command(click.Context(main), "explore")
    assert command is not None
    defaults = {option.name: option.default for option in command.params}
    assert (defaults["points"], defaults["limit"]) == (Limits.points, Limits.cost)


def test_a_pytest_session_without_a_board_imports_nothing_of_the_harness_but_its_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing():\n    pass\n")
    names = _imported(["pytest", "-q", "-p", "harness.plugin", "-p", "no:cacheprovider", "."], tmp_path)
    assert {name for name in names if name.split(".")[0] == "harness"} == {"harness", "harness.plugin"}
    assert not _heavy(names)


def test_a_run_on_sqlite_does_not_load_another_database(tmp_path: Path) -> None:
    (tmp_path / "one_run.py").write_text(
        "from pathlib import Path\nfrom harness.results.store import Store\n"
        "store = Store(Path('r.sqlite'))\nstore.start_run('x')\nstore.close()\n"
    )
    names = _imported(["one_run"], tmp_path)
    assert "sqlalchemy.dialects.sqlite" in names
    assert not {name for name in names if name.startswith(("sqlalchemy.dialects.postgresql", "psycopg"))}
