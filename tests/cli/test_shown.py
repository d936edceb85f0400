"""One way leads to the terminal, and nothing that others have written has an effect there."""

from __future__ import annotations

import ast
import io
from pathlib import Path

import pytest
from click.testing import CliRunner
from rich.table import Table
from rich.text import Text

import harness
from harness.cli import COMMANDS, main
from harness.shown import Terminal, plain, say

#: A title, a colour, a move up, C1's CSI, a right-to-left override, a zero-width space, markup, a lone surrogate.
HOSTILE = "a\x1b]0;title\x07\x1b[31m\x1b[2A\x9b2J\u202egpj.\u200b[bold]b[/bold]\udc80\r"

#: Modules that print what no person reads, or data in which everything is escaped (ASCII JSON).
_OWN_OUTPUT = {
    "shown.py",
    "chips/__main__.py",  # its own tables
    "inventory/schema.py",  # its own schema
    "virtual/serve.py",  # one word for its starter
    "virtual/dfu_util.py",  # stands in for a program of its own: what that one prints
    "labgrid/keeper.py",  # JSON for its starter
    "campaigns/board_process.py",  # one number for a benchmark
    "campaigns/qualify/planned_scenarios.py",  # JSON for its starter
    "results/report/json_report.py",
    "reference/engine/vm_cache.py",  # a path of the user's own
}


def _harmless(said: str) -> bool:
    return all(c.isprintable() or c in "\n\t" for c in said)


def test_nothing_but_the_terminals_own_styles_comes_out() -> None:
    out = io.StringIO()
    terminal = Terminal(file=out, width=200)
    table = Table(HOSTILE)
    table.add_row(HOSTILE)
    table.add_row("x[bold]y[/bold]")
    for thing in (HOSTILE, Text(HOSTILE, style="red"), table):
        terminal.print(thing)
    assert _harmless(out.getvalue())
    assert out.getvalue().count("[bold]b[/bold]") >= 2
    assert "x[bold]y[/bold]" in out.getvalue()
    coloured = io.StringIO()
    Terminal(file=coloured, force_terminal=True, color_system="standard").print(Text(HOSTILE, style="green"))
    assert _harmless(coloured.getvalue().replace("\x1b[32m", "").replace("\x1b[0m", ""))
    assert "\x1b[32m" in coloured.getvalue()


def test_plain_keeps_lines_and_letters(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain("grün\n日本") == "grün\n日本"
    assert plain("x" * 10, 4) == "xxx…"
    say(HOSTILE)
    assert _harmless(capsys.readouterr().out)


def _is_console(node: ast.Call) -> bool:
    if isinstance(node.func, ast.Name):
        return node.func.id in ("Console", "echo", "print")
    return isinstance(node.func, ast.Attribute) and node.func.attr in ("Console", "echo")


def test_no_module_goes_round_it() -> None:
    folder = Path(harness.__file__).parent
    found = set()
    for file in folder.rglob("*.py"):
        name = file.relative_to(folder).as_posix()
        if "/guest/" in name or "/_shipped/" in name:
            continue
        calls = (node for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Call))
        if any(_is_console(node) for node in calls):
            found.add(name)
    assert found <= _OWN_OUTPUT


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_passes_on_what_it_was_given(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name, and a file of that name with that content, as its argument: whatever it says about it is harmless."""
    monkeypatch.chdir(tmp_path)
    name = "a\x1b[31m\u202eb"
    (tmp_path / name).write_text(HOSTILE.replace("\udc80", ""))
    for arguments in ([name], ["--bench", name], ["--boards", name], [name, name], ["info", name], ["import", name]):
        result = CliRunner().invoke(main, [command, *arguments])
        assert _harmless(result.output + result.stderr), ascii(result.output + result.stderr)
        assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
