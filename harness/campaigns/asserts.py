"""Whether a scenario that took no figure has judged anything: a plain ``assert``, or ``pytest.raises``.

Read off its source, so that it is the same under ``pytest`` and ``harness run``, whatever pytest is set to.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

_JUDGES = ("raises", "fail")


def asserts(function: Callable[..., Any]) -> bool:
    """Whether ``function``, or a function of its file that it calls, asserts something."""
    try:
        known = _functions(Path(inspect.getfile(function)))
    except (OSError, TypeError, SyntaxError):
        return False
    seen: set[str] = set()
    left = [function.__name__]
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        for one in known.get(name, ()):
            for node in ast.walk(one):
                if isinstance(node, ast.Assert):
                    return True
                if isinstance(node, ast.Call):
                    called = _called(node.func)
                    if called in _JUDGES:
                        return True
                    left.append(called)
    return False


def _called(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


@functools.lru_cache(maxsize=64)
def _functions(file: Path) -> dict[str, list[ast.AST]]:
    found: dict[str, list[ast.AST]] = {}
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found.setdefault(node.name, []).append(node)
    return found
