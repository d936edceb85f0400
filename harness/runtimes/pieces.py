"""A program for a VM that has too little heap to compile it at once, or lacks what every newer one has.

The raw REPL keeps a whole program as text, then as a parse tree, before a byte of it runs. Sent statement by
statement, and classes method by method, the largest piece decides instead of the sum. Comments and docstrings
stay on the host. The statements are the same ones in the same order, in the same ``__main__``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from harness.paths import fixtures_dir
from harness.runtimes.interface import Facts

#: Below this heap, in bytes, programs go out in pieces. Any ESP or STM32 that the harness knows has more.
SMALL_HEAP = 24 * 1024


def parts_of(source: str, facts: Facts, *, user: str | None = None) -> list[str]:
    """What to execute one after the other in place of ``source``: just that, on most VMs.

    With ``user``, the program that comes after it, methods that nothing there asks for are left out.
    """
    if facts.heap_total >= SMALL_HEAP and facts.extra.get("crc32") != "no":
        return [source]
    tree = ast.parse(source)
    if user is not None:
        _prune(tree, _attributes(ast.parse(user)))
    return list(_statements(tree, facts.extra.get("crc32") != "no"))


def statements(source: str, *, has_crc32: bool = True) -> list[str]:
    """The statements of ``source``, to be executed one after the other; none when it is not Python to the host."""
    try:
        return list(_statements(ast.parse(source), has_crc32))
    except (SyntaxError, ValueError):
        return []


def _attributes(tree: ast.AST) -> set[str]:
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def _prune(tree: ast.Module, used: set[str]) -> None:
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        methods = {part.name: part for part in node.body if isinstance(part, ast.FunctionDef)}
        kept: set[str] = set()
        while new := {name for name in methods if name in used or name.startswith("__")} - kept:
            kept |= new
            used = used.union(*(_attributes(methods[name]) for name in new))
        node.body = [part for part in node.body if not isinstance(part, ast.FunctionDef) or part.name in kept]


def _statements(tree: ast.Module, has_crc32: bool) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module == "binascii" and not has_crc32:
            yield from (ast.unparse(part) for part in ast.parse(_crc32().read_text("utf-8")).body)
        elif isinstance(node, ast.ClassDef):
            yield from _class(node)
        else:
            yield ast.unparse(_bare(node))


def _class(node: ast.ClassDef) -> Iterator[str]:
    methods = [part for part in node.body if isinstance(part, ast.FunctionDef) and not part.decorator_list]
    rest: list[ast.stmt] = [part for part in node.body if part not in methods and not _is_text(part)]
    node.body = rest or [ast.Pass()]
    yield ast.unparse(node)
    for method in methods:
        name = method.name
        yield f"{ast.unparse(_bare(method))}\n{node.name}.{name} = {name}\ndel {name}"


def _bare(node: ast.stmt) -> ast.stmt:
    """``node`` without docstrings."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.FunctionDef) and len(inner.body) > 1 and _is_text(inner.body[0]):
            del inner.body[0]
    return node


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _crc32() -> Path:
    return fixtures_dir() / "agent" / "crc32.py"


#: How the names of modules begin that the suites put on a board themselves.
OWN_MODULES = ("hx_", "uevent")


def needs_of(source: str) -> tuple[str, ...]:
    """The modules, and what of each, that a program uses: ``("gc", "machine.Timer", "sys.path")``.

    What stands in a ``try`` that catches ImportError is not needed.
    """
    tree = ast.parse(source)
    optional = {inner for node in ast.walk(tree) if _guards_imports(node) for inner in ast.walk(node)}
    modules: dict[str, str] = {}
    found: set[str] = set()
    for node in ast.walk(tree):
        if node in optional:
            continue
        if isinstance(node, ast.Import):
            modules.update((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            found.add(f"{modules[node.value.id]}.{node.attr}")
    names = sorted(found | set(modules.values()))
    return tuple(name for name in names if not name.startswith(OWN_MODULES))


def _guards_imports(node: ast.AST) -> bool:
    return isinstance(node, ast.Try) and any("ImportError" in ast.dump(h.type) for h in node.handlers if h.type)
