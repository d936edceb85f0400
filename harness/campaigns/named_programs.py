"""The programs that a suite names in its source, looked up before a board is touched."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from harness.errors import UsageError
from harness.paths import shown_path
from harness.runtimes.program import Program, find_program


def missing_programs(suite: Path) -> list[str]:
    """``file:line: what is wrong`` for each ``Program.load("name")`` in ``suite`` whose program there is not.

    What is only tried (in a ``try``, in ``pytest.raises``), and a name that is no literal, turns out when it runs.
    """
    try:
        tree = ast.parse(suite.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return []  # told by pytest
    if not _uses_our_programs(tree):
        return []
    problems = []
    for call, way, name in _named(tree):
        try:
            if way == "load":
                find_program(name, str(suite))
            else:
                Program.load_lua(name)
        except UsageError as problem:
            hint = f"; {problem.hint}" if problem.hint else ""
            problems.append(f"{shown_path(suite)}:{call.lineno}: {problem.message}{hint}")
    return problems


def _uses_our_programs(tree: ast.Module) -> bool:
    """Whether its ``Program`` is that of the harness."""
    return any(
        isinstance(node, ast.ImportFrom)
        and (node.module or "").partition(".")[0] == "harness"
        and any(alias.name == "Program" and alias.asname is None for alias in node.names)
        for node in ast.walk(tree)
    )


def _named(node: ast.AST) -> Iterator[tuple[ast.Call, str, str]]:
    for inner in ast.iter_child_nodes(node):
        if isinstance(inner, ast.Try) or (isinstance(inner, ast.With) and "raises" in ast.dump(inner.items[0])):
            continue
        if isinstance(inner, ast.Call) and inner.args:
            function, name = inner.func, inner.args[0]
            if (
                isinstance(function, ast.Attribute)
                and function.attr in ("load", "load_lua")
                and isinstance(function.value, ast.Name)
                and function.value.id == "Program"
                and isinstance(name, ast.Constant)
                and isinstance(name.value, str)
            ):
                yield inner, function.attr, name.value
        yield from _named(inner)
